"""Reading SNMP agents, versions 1, 2c and 3: values by object identifier.

One call is one poll of one card: a socket, requests of a size the card takes, an overall deadline.
What the card lacks is remembered in its `CardMemory` and asked again after a day. What values mean
is `collector.convert`; receiving traps is elsewhere.
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from gufo.snmp import SnmpAuthError, SnmpError, SnmpVersion
from gufo.snmp.aio import SnmpSession
from gufo.snmp.user import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    DesKey,
    Md5Key,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    User,
)

from collector.address import SnmpAddress
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
from collector.readers.snmp_settled import ask_settled, is_panic

OBJECT_ID = "1.3.6.1.2.1.1.2.0"

_AUTH = {
    "md5": Md5Key,
    "sha1": Sha1Key,
    "sha224": Sha224Key,
    "sha256": Sha256Key,
    "sha384": Sha384Key,
    "sha512": Sha512Key,
}
_PRIV = {"des": DesKey, "aes128": Aes128Key, "aes192": Aes192Key, "aes256": Aes256Key}
_VERSIONS = {"1": SnmpVersion.v1, "2c": SnmpVersion.v2c, "3": SnmpVersion.v3}

_ASK_AGAIN_SECONDS = 86_400.0
_DOUBT_SECONDS = 3_600.0
"""How long an absence lasts that an error or silence only suggests."""
_MOST_ROWS = 64
"""Rows of a table that are read; an alarm table of more is a card gone wrong."""
_REPETITIONS = 10  # larger ones are refused or answered short by many cards
_PATIENCE = 0.4  # a request may take this share of the deadline, so that one loss leaves time
_LONGEST_PATIENCE_SECONDS = 1.5
_STRIKES = 2
"""Polls in a row that lose a long request before shorter ones become the habit."""


async def read(
    address: SnmpAddress,
    refs: Iterable[Ref],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> RawReply:
    """Read object identifiers and tables from one agent within `deadline` seconds.

    Returns what came before the deadline; raises ReadFailed when nothing came at all.
    """
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    refs, habits = tuple(refs), habits or Habits()
    size = memory.request_size or habits.varbinds
    patience = min(deadline * _PATIENCE, _LONGEST_PATIENCE_SECONDS)
    if memory.settled == refs:
        values = await ask_settled(address, refs, size=size, deadline=deadline, patience=patience)
        if values is not None:
            return RawReply(values)
        memory.settled = None
    memory.forget(began_at)
    wanted = [ref for ref in refs if ref not in memory.absent]
    poll = _Poll(address, memory, habits, began_at)
    await _run(poll, wanted, deadline=deadline, patience=patience)
    reply = poll.reply(wanted)
    if not poll.has_stumbled and len(reply.values) == len(refs) and _is_numeric(address.host):
        memory.settled = refs
    return reply


async def _run(poll: "_Poll", wanted: Sequence[Ref], *, deadline: float, patience: float) -> None:
    """Run a poll, with care, until its deadline; what went wrong is noted in it."""
    address = poll.address
    try:
        async with asyncio.timeout_at(poll.began_at + deadline):
            host = await _resolved(address)
            await poll.open(host, patience)
            await poll.run(wanted)
    except TimeoutError:
        poll.trouble(Failure.TIMEOUT, _late(address, deadline, answered=bool(poll.values)))
    except ConnectionRefusedError:
        poll.trouble(Failure.REFUSED, f"{address.public} refuses: nothing listens there")
    except SnmpAuthError:
        poll.trouble(Failure.AUTH, f"{address.public} refuses the user, passphrase or algorithm")
    except SnmpError as problem:
        poll.trouble(Failure.MALFORMED, f"{address.public} answers no proper SNMP ({problem})")
    except OSError as problem:
        poll.trouble(Failure.UNREACHABLE, f"{address.public} cannot be reached: {problem}")
    except BaseException as panic:
        if not is_panic(panic):
            raise
        poll.trouble(Failure.MALFORMED, f"{address.public} answers no proper SNMP (malformed)")


async def find_cells(
    address: SnmpAddress,
    columns: Mapping[str, Sequence[str]],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> int:
    """Look for table cells at odd instances and remember them as aliases; return how many.

    Only columns none of whose cells answered are walked. Some Eaton and MGE cards put `.0` or
    `.1.0` behind the index of the phase, so the first arc that is not 0 tells the phase.
    """
    loop = asyncio.get_running_loop()
    poll = _Poll(address, memory, habits or Habits(), loop.time())
    found = 0
    try:
        async with asyncio.timeout(deadline):
            host = await _resolved(address)
            await poll.open(host, min(deadline * _PATIENCE, _LONGEST_PATIENCE_SECONDS))
            for column, cells in columns.items():
                if memory.absent.keys() >= set(cells):
                    found += poll.place(cells, column, await poll.rows(column) or [])
    except (TimeoutError, SnmpError, OSError, ReadFailed):
        pass  # what was found until then is found
    except BaseException as panic:
        if not is_panic(panic):
            raise
    poll.session = None
    return found


def _late(address: SnmpAddress, deadline: float, *, answered: bool) -> str:
    if answered:
        return f"{address.public} was too slow: not everything read within {deadline:g} s"
    cause = "user" if address.version == "3" else "community"
    return f"no answer from {address.public} within {deadline:g} s (address, {cause} or firewall?)"


@lru_cache(maxsize=4096)
def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


async def _resolved(address: SnmpAddress) -> str:
    # A name is looked up in a thread, of which there are few: what needs none must not wait there.
    if _is_numeric(address.host):
        return address.host
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM
        )
    except socket.gaierror as problem:
        raise ReadFailed(
            Failure.UNREACHABLE, f"the host name {address.host!r} is unknown: {problem.strerror}"
        ) from problem
    return str(found[0][4][0])


def _user(address: SnmpAddress) -> User:
    secret = address.credentials
    auth = _AUTH[address.auth](secret.password.encode()) if address.auth else None
    priv = _PRIV[address.priv](secret.private_password.encode()) if address.priv else None
    return User(secret.user, auth_key=auth, priv_key=priv)


@dataclass(slots=True)
class _Poll:
    """The state of one poll: its session, what came, what is known to be absent."""

    address: SnmpAddress
    memory: CardMemory
    habits: Habits
    began_at: float
    session: SnmpSession | None = None
    values: dict[Ref, RawValue] = field(default_factory=dict)
    absent: dict[Ref, float] = field(default_factory=dict)
    lost: int = 0
    problems: list[str] = field(default_factory=list)
    failure: ReadFailed | None = None

    @property
    def has_stumbled(self) -> bool:
        """Whether anything was out of the ordinary that a settled card does not need."""
        return (
            self.address.version == "3"
            or self.lost > 0
            or bool(self.problems or self.absent or self.memory.aliases)
        )

    async def open(self, host: str, patience: float) -> None:
        address = self.address
        version = _VERSIONS[address.version]
        is_v3 = address.version == "3"
        self.session = SnmpSession(
            host,
            port=address.port,
            community=address.credentials.user,
            user=_user(address) if is_v3 else None,
            engine_id=self.memory.engine_id if is_v3 else None,
            version=version,
            timeout=patience,
            allow_bulk=False,
        )
        if is_v3:
            await self.session.refresh()
            self.memory.engine_id = self.session.get_engine_id()

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
                await self._walk(walk, told=count is not None)

    async def _ask(self, oids: list[str], names: dict[str, str]) -> None:
        """Ask until each object has answered, is known to be absent, or cannot be read."""
        size = self.memory.request_size or self.habits.varbinds
        queue = [oids[at : at + size] for at in range(0, len(oids), size)]
        while queue:
            chunk = queue.pop(0)
            got = await self._get(chunk)
            if got is None:
                queue[:0] = self._halved(chunk, names)
                continue
            self.values.update((names[oid], value) for oid, value in got.items() if oid in names)
            left = [oid for oid in chunk if oid not in got]
            if got and left:
                # A short answer may be cut off: what is left is absent only if left out again.
                queue.insert(0, left)
            elif left and await self._lacks_all(left):
                self._note_absent([names[oid] for oid in left], _ASK_AGAIN_SECONDS)
            elif len(left) == 1:
                self._note_absent([names[left[0]]], _DOUBT_SECONDS)
            elif left:
                queue[:0] = self._halved(left, names)

    def _halved(self, chunk: list[str], names: dict[str, str]) -> list[list[str]]:
        if len(chunk) == 1:
            self._note_absent([names[chunk[0]]], _DOUBT_SECONDS)
            self.problems.append(f"{names[chunk[0]]}: asked alone, no usable answer")
            return []
        half = (len(chunk) + 1) // 2
        return [chunk[:half], chunk[half:]]

    async def _get(self, chunk: list[str]) -> dict[str, RawValue] | None:
        """Return what one request brings; None when the request was lost or garbled.

        An error in the answer (too big, no such name) brings an empty mapping, as do values that
        are null or not there. Raises when nothing suggests that asking for less would help.
        """
        session = self._opened()
        try:
            return dict(await session.get_many(chunk))
        except SnmpAuthError:
            raise
        except TimeoutError:
            # Poor cards drop a request whose answer would be too long for them.
            if not self.values and len(chunk) == 1:
                raise
            self.lost = max(1, len(chunk) // 2)
        except SnmpError:
            if not self.values and not await self._speaks():
                raise
        return None

    async def _speaks(self) -> bool:
        """Tell whether the agent answers the simplest question properly."""
        try:
            await self._opened().get_many([OBJECT_ID])
        except (TimeoutError, SnmpError):
            return False
        return True

    def _opened(self) -> SnmpSession:
        if self.session is None:
            raise RuntimeError("the session is opened before it is used")
        return self.session

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

    async def _walk(self, walk: Walk, *, told: bool) -> None:
        rows = await self.rows(walk.column)
        if rows is None:
            self.problems.append(f"table {walk.column}: no usable answer")
        elif rows or told:
            self.values[walk] = tuple(value for _, value in rows)
        else:
            # Neither counter nor rows: the card has no such table, which is not "no alarm".
            self._note_absent([walk], _ASK_AGAIN_SECONDS)

    async def rows(self, column: str) -> list[tuple[str, Scalar]] | None:
        """Return the rows of a column, a bounded number; None when the table cannot be read."""
        if self._may_bulk():
            rows = await self._stepped(column, bulk=True)
            if rows is not None:
                return rows
            self.memory.no_bulk = True
        return await self._stepped(column, bulk=False)

    def _may_bulk(self) -> bool:
        return self.habits.bulk and not self.memory.no_bulk and self.address.version != "1"

    async def _stepped(self, column: str, *, bulk: bool) -> list[tuple[str, Scalar]] | None:
        session = self._opened()
        steps = session.getbulk(column, _REPETITIONS) if bulk else session.getnext(column)
        rows: dict[str, Scalar] = {}
        try:
            async for oid, value in steps:
                if oid in rows or not oid.startswith(f"{column}."):
                    break
                rows[oid] = value
                if len(rows) >= _MOST_ROWS:
                    self.problems.append(f"table {column}: only its first {_MOST_ROWS} rows read")
                    break
        except SnmpAuthError:
            raise
        except (TimeoutError, SnmpError):
            return None
        return list(rows.items())

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
        self.failure = ReadFailed(kind, detail)
        self.problems.append(detail)

    def reply(self, wanted: Sequence[Ref]) -> RawReply:
        """Return what came and remember what was learned; raise when nothing came."""
        self.session = None
        if self.failure is not None and not self.values and not self.absent:
            self.memory.engine_id = None
            raise self.failure
        if self.values:
            self._learn()
        asked = set(wanted)
        return RawReply(
            {ref: value for ref, value in self.values.items() if ref in asked},
            frozenset(ref for ref in self.absent if ref in asked),
            tuple(self.problems),
        )

    def _learn(self) -> None:
        memory = self.memory
        memory.seen.update(self.values)
        for ref, until in self.absent.items():
            memory.learn_absent([ref], until)
        memory.strikes = memory.strikes + 1 if self.lost else 0
        if memory.strikes >= _STRIKES:
            memory.request_size, memory.strikes = self.lost, 0
