"""One careful poll of one agent: what to ask next after each answer, refusal and silence.

Its deadline, and what its end is called, is `collector.readers.snmp`'s; sockets are
`snmp_session`'s. What a poll shows about how the card wants to be asked goes out as `Seen`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gufo.snmp import SnmpAuthError, SnmpError
from gufo.snmp._fast import GetIter
from gufo.snmp.user import KeyExpansion

from collector.address import SnmpAddress
from collector.patience import MODEST_OBJECTS, Seen
from collector.raw import (
    CardMemory,
    Failure,
    Habits,
    RawReply,
    RawValue,
    ReadFailed,
    Ref,
    Scalar,
    Walk,
)
from collector.readers import snmp_ber
from collector.readers.snmp_session import KEPT, Garbled, ReportHeard, Session
from collector.readers.snmp_usm import (
    DECRYPTION_ERROR,
    NOT_IN_WINDOW,
    UNKNOWN_ENGINE,
    meaning,
    other_expansion,
)

OBJECT_ID = "1.3.6.1.2.1.1.2.0"

_ASK_AGAIN_SECONDS = 86_400.0
_DOUBT_SECONDS = 3_600.0
"""How long an absence lasts that an error or silence only suggests."""
_MOST_ROWS = 64
"""Rows of a table that are read; an alarm table of more is a card gone wrong."""
_MOST_STEPS = 2 * _MOST_ROWS
_REPETITIONS = 10  # larger ones are refused or answered short by many cards
_MOST_RESYNCS = 2  # once for time or engine, once for the other way to lengthen keys
_BLIND_TRIES = 2
_MOST_BLIND_TRIES = 2 * _REPETITIONS
_TOO_BIG, _NO_SUCH_NAME = 1, 2


@dataclass(slots=True)
class Poll:
    """The state of one poll: its session, what came, what is known to be absent.

    `patience` is what one request may take, in seconds.
    """

    address: SnmpAddress
    memory: CardMemory
    habits: Habits
    began_at: float
    patience: float
    session: Session | None = None
    values: dict[Ref, RawValue] = field(default_factory=dict)
    absent: dict[Ref, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    failure: ReadFailed | None = None
    asked: int = 0
    answered_size: int = 0
    lost_size: int = 0
    too_big: int = 0
    is_hurried: bool = False
    is_late: bool = False
    resyncs: int = 0
    steps_left: int = 0
    is_discovered: bool = False

    @property
    def has_stumbled(self) -> bool:
        """Whether anything was out of the ordinary that a settled card does not need."""
        return (
            self.lost_size > 0
            or self.too_big > 0
            or bool(self.problems or self.absent or self.memory.aliases)
        )

    async def open(self, host: str) -> None:
        """Take the kept session of version 3, or open one and find out its engine."""
        if self.address.version != "3":
            self.session = Session(self.address, host)
            return
        self.session = KEPT.take(self.address, host)
        if self.session is None:
            await self._discover(host)

    async def _discover(self, host: str) -> None:
        kept = self.memory.expansion
        session = Session(self.address, host, None if kept is None else KeyExpansion(kept))
        self.memory.engine_id = await session.discover(self.patience)
        self.session, self.is_discovered = session, True

    def close(self) -> None:
        """Let the session go; one of version 3 is kept for the next poll while it works."""
        session, self.session = self.session, None
        if session is None or self.address.version != "3":
            return
        header = session.header
        if header is not None:
            self.memory.boots = header.boots
        if self.values or self.absent:
            KEPT.keep(self.address, session)

    async def run(self, wanted: Sequence[Ref]) -> None:
        """Ask for the plain objects in requests of a size that works, then for the tables."""
        walks = [ref for ref in wanted if isinstance(ref, Walk)]
        plain = {ref: self.memory.aliases.get(ref, ref) for ref in wanted if isinstance(ref, str)}
        counters = {ref.counter for ref in walks if ref.counter is not None}
        plain |= {oid: oid for oid in counters if oid not in self.memory.absent}
        oids = {oid: ref for ref, oid in plain.items()}
        await self._ask([*oids], oids)
        for walk in walks:
            count = None if walk.counter is None else self.values.get(walk.counter)
            if count == 0:
                self.values[walk] = ()
            else:
                await self._walk(walk, count if isinstance(count, int) else None)

    async def _ask(self, oids: list[str], names: dict[str, str]) -> None:
        """Ask until each object has answered, is known to be absent, or cannot be read."""
        size = self.memory.request_size or min(self.habits.varbinds, MODEST_OBJECTS)
        queue = [oids[at : at + size] for at in range(0, len(oids), size)]
        while queue:
            chunk = queue.pop(0)
            lost = self.lost_size, self.too_big
            got = await self._get(chunk)
            if got is None or (self.lost_size, self.too_big) != lost:
                queue = self._halved(chunk, queue, names)
                continue
            self.values.update((names[oid], value) for oid, value in got.items() if oid in names)
            said = self._said_absent(oid for oid in chunk if oid not in got)
            self._note_absent([names[oid] for oid in said], _ASK_AGAIN_SECONDS)
            left = [oid for oid in chunk if oid not in got and oid not in said]
            if got and 0 < len(left) < len(chunk):
                # A short answer may be cut off: what is left is absent only if left out again.
                queue.insert(0, left)
            elif left and (absent := self._named_absent(left)) is not None:
                self._note_absent([names[absent]], _ASK_AGAIN_SECONDS)
                queue[:0] = [rest] if (rest := [oid for oid in left if oid != absent]) else []
            elif left and await self._lacks_all(left):
                self._note_absent([names[oid] for oid in left], _ASK_AGAIN_SECONDS)
            elif len(left) == 1:
                self._note_absent([names[left[0]]], _DOUBT_SECONDS)
            elif left:
                half = (len(left) + 1) // 2
                queue[:0] = [left[:half], left[half:]]

    def _halved(
        self, chunk: list[str], queue: list[list[str]], names: dict[str, str]
    ) -> list[list[str]]:
        """Return what is left to ask in requests of half the size: the others would fail too."""
        if len(chunk) == 1:
            self._note_absent([names[chunk[0]]], _DOUBT_SECONDS)
            self.problems.append(f"{names[chunk[0]]}: asked alone, no usable answer")
            return queue
        half = (len(chunk) + 1) // 2
        return [
            part[at : at + half] for part in (chunk, *queue) for at in range(0, len(part), half)
        ]

    async def _get(self, chunk: list[str]) -> dict[str, RawValue] | None:
        """Return what one request brings; None when the request was lost or garbled.

        An error in the answer (too big, no such name) brings an empty mapping, as do values that
        are null or not there. Raises when nothing suggests that asking for less would help.
        """
        if self.asked and self.habits.gap_seconds:
            await asyncio.sleep(self.habits.gap_seconds)
        self.asked += 1
        try:
            got = await self._got(chunk)
        except TimeoutError:
            # Poor cards drop a request whose answer would be too long for them.
            if not self.values and len(chunk) == 1:
                raise
            self.lost_size = min(self.lost_size or len(chunk), len(chunk))
            self.is_hurried |= self.answered_size >= len(chunk)
        except (SnmpError, Garbled) as problem:
            if isinstance(problem, SnmpAuthError):
                raise
            if not self.values and not await self._speaks():
                raise
        else:
            if len(chunk) > 1 and not got and self._error() == _TOO_BIG:
                self.too_big = min(self.too_big or len(chunk), len(chunk))
            elif got:
                self.answered_size = max(self.answered_size, len(chunk))
            return got
        return None

    async def _got(self, chunk: list[str]) -> dict[str, RawValue]:
        """Ask once; of version 3, agree on engine, time and keys again where they went wrong."""
        while True:
            session = self._opened()
            try:
                return await session.get_many(chunk, self.patience)
            except ReportHeard as heard:
                if not await self._resynced(session, heard.report):
                    self.is_discovered = False
                    raise refused(self.address, heard.report) from heard
            except SnmpAuthError as problem:
                self.is_discovered = False
                raise refused(self.address, None) from problem
            except TimeoutError:
                # Another unit may stand there now; its predecessor's engine it need not answer.
                is_kept = self.address.version == "3" and not self.is_discovered
                if not is_kept or self.values or self.resyncs >= _MOST_RESYNCS:
                    raise
                self.resyncs += 1
                await self._discover(session.host)

    async def _resynced(self, session: Session, report: str) -> bool:
        """Do what a report calls for; return whether asking again makes sense."""
        self.resyncs += 1
        if self.resyncs > _MOST_RESYNCS:
            return False
        if report == NOT_IN_WINDOW:
            return True
        if report == UNKNOWN_ENGINE or not self.is_discovered:
            # Another unit may stand there now; not every agent says so by the right report.
            await self._discover(session.host)
            return True
        other = other_expansion(self.address, session.expansion)
        if report != DECRYPTION_ERROR or other is None or self.memory.expansion == other.value:
            return False
        before, self.memory.expansion = self.memory.expansion, other.value
        if before is not None:
            self.memory.expansion = None
            return False
        await self._discover(session.host)
        return True

    async def _speaks(self) -> bool:
        """Tell whether the agent answers the simplest question properly."""
        with suppress(TimeoutError, SnmpError, Garbled):
            await self._opened().get_many([OBJECT_ID], self.patience)
            return True
        return False

    def _opened(self) -> Session:
        if self.session is None:
            raise RuntimeError("the session is opened before it is used")
        return self.session

    def _error(self) -> int:
        """Return the error status of the newest answer, 0 where it cannot be seen (version 3)."""
        answer = self._answer()
        return 0 if answer is None else answer.error_status

    def _answer(self) -> snmp_ber.Answer | None:
        if self.address.version == "3":
            return None
        with suppress(snmp_ber.BerInvalid):
            return snmp_ber.answer_of(self._opened().heard)
        return None

    def _said_absent(self, left: Iterable[str]) -> set[str]:
        """Return the objects of which an answer of version 2c says itself that they are not there.

        Nothing else about them has to be asked; what an answer leaves out may be cut off.
        """
        answer = self._answer()
        if answer is None or answer.error_status:
            return set()
        return {one.oid for one in answer.varbinds if one.is_exception}.intersection(left)

    def _named_absent(self, left: list[str]) -> str | None:
        """Return the object that an answer of version 1 names as the one that is not there."""
        answer = self._answer()
        if answer is None or answer.error_status != _NO_SUCH_NAME:
            return None
        at = answer.error_index
        return left[at - 1] if 1 <= at <= len(left) == len(answer.varbinds) else None

    async def _lacks_all(self, oids: list[str]) -> bool:
        """Tell whether an empty answer means that all are absent rather than an error.

        Asked before an object known to be there, that one comes back alone if so. Version 1
        has only the error, so there the halves tell.
        """
        if self.address.version == "1":
            return False
        witness = next((ref for ref in self.values if isinstance(ref, str)), OBJECT_ID)
        witness = self.memory.aliases.get(witness, witness)
        got = await self._get([*oids, witness])
        return bool(got) and set(got or ()) == {witness}

    def _note_absent(self, refs: Iterable[Ref], seconds: float) -> None:
        self.absent.update((ref, self.began_at + seconds) for ref in refs)

    async def _walk(self, walk: Walk, count: int | None) -> None:
        rows = await self.rows(walk.column)
        if rows is None:
            self.problems.append(f"table {walk.column}: no usable answer")
        elif rows or count is not None:
            self.values[walk] = tuple(value for _, value in rows)
        else:
            # Neither counter nor rows: the card has no such table, which is not "no alarm".
            self._note_absent([walk], _ASK_AGAIN_SECONDS)

    async def rows(self, column: str) -> list[tuple[str, Scalar]] | None:
        """Return the rows of a column, a bounded number; None when the table cannot be read."""
        if self.habits.bulk and not self.memory.no_bulk and self.address.version != "1":
            rows = await self._stepped(column, bulk=True)
            if rows is not None:
                return rows
            self.memory.no_bulk = True
        return await self._stepped(column, bulk=False)

    async def has_any(self, tree: str) -> bool:
        """Tell by one question whether anything may stand below an object identifier."""
        self.steps_left = _MOST_STEPS
        try:
            return bool(await self._next(GetIter(tree), tree))
        except SnmpAuthError:
            raise
        except (TimeoutError, SnmpError, Garbled, ReportHeard):
            return True  # a card that bears no such question may bear another

    async def _stepped(self, column: str, *, bulk: bool) -> list[tuple[str, Scalar]] | None:
        """Walk a column; it ends at its last row, where it turns in a circle, or at the bound."""
        rows: dict[str, Scalar] = {}
        cursor = GetIter(column, _REPETITIONS) if bulk else GetIter(column)
        self.steps_left = _MOST_STEPS
        try:
            while self.steps_left > 0:
                more = await (self._bulk if bulk else self._next)(cursor, column)
                for oid, value in more:
                    if oid in rows or not oid.startswith(f"{column}."):
                        return list(rows.items())
                    rows[oid] = value
                    if len(rows) >= _MOST_ROWS:
                        self.problems.append(
                            f"table {column}: only its first {_MOST_ROWS} rows read"
                        )
                        return list(rows.items())
                if not more:
                    break
        except SnmpAuthError:
            raise
        except (TimeoutError, SnmpError, Garbled, ReportHeard):
            return None
        return list(rows.items())

    async def _bulk(self, cursor: GetIter, column: str) -> list[tuple[str, Scalar]]:
        """Return the next rows with a value; a page of nothing but NULL is passed row by row.

        The library says None of such a page and leaves its cursor before it, other than at the end.
        """
        self.steps_left -= 1
        got = await self._opened().next_rows(cursor, self.patience)
        if got is None:
            return await self._next(cursor, column, blind_tries=_MOST_BLIND_TRIES)
        return [row for row in got if row is not None]

    async def _next(
        self, cursor: GetIter, column: str, blind_tries: int = _BLIND_TRIES
    ) -> list[tuple[str, Scalar]]:
        """Return the next row with a value; rows that are NULL, as of absent phases, are passed.

        The library takes a NULL for the end, but its cursor stands behind it. What came can be
        looked at, save in version 3, where some more tries must do.
        """
        for again in range(_MOST_ROWS):
            if self.steps_left <= 0:
                break
            self.steps_left -= 1
            row = await self._opened().next_row(cursor, self.patience)
            if row is not None:
                return [row]
            answer = self._answer()
            if answer is None:
                is_over = self.address.version != "3" or again >= blind_tries
            else:
                is_over = answer.error_status != 0 or not any(
                    one.is_null and one.oid.startswith(f"{column}.") for one in answer.varbinds
                )
            if is_over:
                break
        return []

    def place(self, cells: Sequence[str], column: str, rows: Sequence[tuple[str, Scalar]]) -> int:
        """Remember which row of a column holds which phase; return how many were found."""
        found = 0
        for line, cell in enumerate(cells, start=1):
            for oid, value in rows:
                arcs = [arc for arc in oid[len(column) + 1 :].split(".") if arc != "0"]
                if arcs and arcs[0] == str(line) and oid != cell and value is not None:
                    self.memory.aliases[cell] = oid
                    self.memory.absent.pop(cell, None)
                    found += 1
                    break
        return found

    def trouble(self, kind: Failure, detail: str) -> None:
        """Keep the failure and name it among the problems."""
        self.failure = ReadFailed(kind, detail)
        self.problems.append(detail)

    def reply(self, wanted: Sequence[Ref]) -> RawReply:
        """Return what came and remember what was learned; raise when nothing came."""
        self.close()
        if self.failure is not None and not self.values and not self.absent:
            raise self.failure
        if self.values:
            memory = self.memory
            memory.seen.update(self.values)
            for ref, until in self.absent.items():
                memory.learn_absent([ref], until)
            memory.strikes = int(self.lost_size > 0 or self.too_big > 0)
        asked = set(wanted)
        return RawReply(
            {ref: value for ref, value in self.values.items() if ref in asked},
            frozenset(ref for ref in self.absent if ref in asked),
            tuple(self.problems),
            self._seen(),
        )

    def _seen(self) -> Seen | None:
        # What was lost only tells of the size where something smaller was answered.
        lost = self.lost_size if 0 < self.answered_size < self.lost_size else 0
        seen = Seen(
            lost_at=lost,
            too_big_at=self.too_big,
            hurried=self.is_hurried and not lost,
            slow=self.is_late and bool(self.values),
            bulk_failed=self.memory.no_bulk and self.habits.bulk,
        )
        return None if seen == Seen() else seen


def refused(address: SnmpAddress, report: str | None) -> ReadFailed:
    """Return the failure of a card that answered, and answered no."""
    return ReadFailed(Failure.AUTH, f"{address.public} refuses: {meaning(report)}")
