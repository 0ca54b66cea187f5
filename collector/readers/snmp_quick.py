"""The quick way to ask cards that are settled: those that answered everything the last time.

All of them are asked through a few sockets, without a session, a task or a timer each: that is
what most of a poll cost. Whatever is not as it was is left to the careful reader,
`collector.readers.snmp`. Not for version 3, nor for host names and IPv6.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address
from math import inf
from typing import NamedTuple, TypeGuard

from collector.address import Address, SnmpAddress
from collector.raw import CardMemory, Habits, RawReply, RawValue, Ref, Walk
from collector.readers.snmp_wire import (
    LARGEST_ANSWER_BYTES,
    Layout,
    Question,
    number_for,
    number_of,
)


class Unheard(Enum):
    """What came instead of all that was asked for."""

    SILENCE = "silence"
    ODD = "odd"
    """An answer, but not the usual one."""


Told = Mapping[Ref, RawValue] | Unheard
Heard = Callable[[Told], None]

_SOCKETS = 16
_BUFFER_BYTES = 1 << 20
_ANSWER_TAKES_BYTES = 4_096  # of a socket's buffer, as the kernel counts
_SLOT_SECONDS = 0.05
_TRIES = 2  # a datagram may get lost
_READ_AT_ONCE = 64
_VERSIONS = ("1", "2c")


class Questions(NamedTuple):
    """What a settled card is asked: requests, what their objects are named, tables, counters.

    A table is not read: it is empty while its counter says so. `counters` are asked for that alone.
    """

    requests: tuple[Question, ...]
    names: tuple[Ref, ...]
    walks: tuple[Walk, ...]
    counters: tuple[Ref, ...]


class SettledCard:
    """A card that can be asked the quick way, and how its last answers were laid out."""

    __slots__ = ("layouts", "patience", "questions", "until", "where")

    def __init__(
        self, where: tuple[str, int], questions: Questions, *, patience: float, until: float
    ) -> None:
        self.where = where
        self.questions = questions
        self.patience = patience
        self.until = until
        self.layouts: list[Layout | None] = [None] * len(questions.requests)


def settled_card(
    address: Address,
    refs: Sequence[Ref],
    reply: RawReply,
    *,
    memory: CardMemory,
    habits: Habits,
    patience: float,
) -> SettledCard | None:
    """Return how to ask a card that gave this reply the quick way; None: only with care.

    Left out is what it is known to lack, until that is to be asked again. `patience` is how many
    seconds an answer may take; then it is asked a second time.
    """
    if not _is_plain(address) or reply.problems or reply.missing or memory.strikes:
        return None
    wanted = tuple(ref for ref in refs if ref not in memory.absent)
    if any(reply.values.get(ref) is None for ref in wanted) or any(
        reply.values[ref] != () for ref in wanted if isinstance(ref, Walk)
    ):
        return None
    questions = _questions(
        address.version,
        address.credentials.user,
        wanted,
        tuple(memory.aliases.items()),
        memory.request_size or habits.varbinds,
    )
    return SettledCard(
        (address.host, address.port), questions, patience=patience, until=memory.forget_at
    )


def knocking(address: Address, oid: str, *, patience: float) -> SettledCard | None:
    """Return how to ask a card nothing but whether it answers; None: only with care."""
    if not _is_plain(address):
        return None
    questions = _questions(address.version, address.credentials.user, (oid,), (), 1)
    return SettledCard((address.host, address.port), questions, patience=patience, until=inf)


@lru_cache(maxsize=4096)
def _questions(
    version: str,
    community: str,
    refs: tuple[Ref, ...],
    aliases: tuple[tuple[str, str], ...],
    size: int,
) -> Questions:
    """Put the requests together; the cards of a family share them, poll after poll."""
    plain = [ref for ref in refs if isinstance(ref, str)]
    walks = tuple(ref for ref in refs if isinstance(ref, Walk))
    counters = sorted({walk.counter for walk in walks if walk.counter is not None} - {*plain})
    names = [*plain, *counters]
    instead = dict(aliases)
    oids = [instead.get(name, name) for name in names]
    requests = tuple(
        Question(version, community, oids[at : at + size]) for at in range(0, len(oids), size)
    )
    return Questions(requests, tuple(names), walks, tuple(counters))


def _is_plain(address: Address) -> TypeGuard[SnmpAddress]:
    if not isinstance(address, SnmpAddress) or address.version not in _VERSIONS:
        return False
    try:
        IPv4Address(address.host)
    except ValueError:
        return False
    return True


class _Asked:
    """A card that is being asked, the request under way, and what came so far."""

    __slots__ = ("at", "card", "heard", "socket", "tries", "values")

    def __init__(self, card: SettledCard, heard: Heard, through: "_Socket") -> None:
        self.card = card
        self.heard = heard
        self.socket = through
        self.at = 0
        self.tries = 1
        self.values: list[RawValue] = []


class _Socket:
    """One of the shared sockets, and how many answers it waits for."""

    __slots__ = ("open_requests", "room", "socket")

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.room = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.room //= _ANSWER_TAKES_BYTES
        self.open_requests = 0


class Exchange:
    """Asks settled cards, as many at once as the sockets' buffers surely hold answers of.

    To be used in the thread of the running loop, from the first `ask` to `close`. Each request is
    sent up to `tries` times.
    """

    def __init__(self, *, tries: int = _TRIES) -> None:
        self._tries = tries
        self._sockets: list[_Socket] = []
        self._room = 0
        self._turn = 0
        self._asked: dict[int, _Asked] = {}
        self._slots: dict[int, list[int]] = {}
        self._swept = 0
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """How many cards are being asked."""
        return len(self._asked)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return bool(self._sockets) and len(self._asked) >= self._room

    def ask(self, card: SettledCard, heard: Heard) -> bool:
        """Ask a card and tell `heard` what it says; False, asking nothing, while there is no room.

        `heard` is called once, later, whatever happens.
        """
        if not self._sockets:
            self._open()
        self._turn = (self._turn + 1) % len(self._sockets)
        through = self._sockets[self._turn]
        if through.open_requests >= through.room:
            through = min(self._sockets, key=lambda one: one.open_requests)
            if through.open_requests >= through.room:
                return False
        through.open_requests += 1
        self._send(_Asked(card, heard, through))
        return True

    def close(self) -> None:
        """Close the sockets; cards that are being asked are told nothing any more."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.socket)
            one.socket.close()
        if self._sweep is not None:
            self._sweep.cancel()
        self._sockets, self._asked, self._slots = [], {}, {}

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._sockets = [_Socket() for _ in range(_SOCKETS)]
        self._room = sum(one.room for one in self._sockets)
        for one in self._sockets:
            loop.add_reader(one.socket, self._receive, one)

    def _send(self, asked: _Asked) -> None:
        card = asked.card
        number = number_for(random.getrandbits(30))
        while number in self._asked:
            number = number_for(random.getrandbits(30))
        self._asked[number] = asked
        # What cannot be sent gets no answer, and is noticed as if it had been lost on its way.
        with suppress(OSError):
            asked.socket.socket.sendto(
                card.questions.requests[asked.at].datagram(number), card.where
            )
        loop = asyncio.get_running_loop()
        slot = int((loop.time() + card.patience) / _SLOT_SECONDS) + 1
        self._slots.setdefault(slot, []).append(number)
        if self._sweep is None:
            self._swept = int(loop.time() / _SLOT_SECONDS)
            self._sweep = loop.call_later(_SLOT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Ask again what was not answered in time, and tell of cards that are silent then too."""
        loop = asyncio.get_running_loop()
        now = int(loop.time() / _SLOT_SECONDS)
        self._sweep = None
        for slot in range(self._swept + 1, now + 1):
            for number in self._slots.pop(slot, ()):
                asked = self._asked.pop(number, None)
                if asked is None:
                    continue
                if asked.tries < self._tries:
                    asked.tries += 1
                    self._send(asked)
                else:
                    self._end(asked, Unheard.SILENCE)
        self._swept = now
        if self._slots and self._sweep is None:
            self._sweep = loop.call_later(_SLOT_SECONDS, self._give_up)

    def _receive(self, through: _Socket) -> None:
        for _ in range(_READ_AT_ONCE):
            try:
                answer, sender = through.socket.recvfrom(LARGEST_ANSWER_BYTES)
            except OSError:
                return
            number = number_of(answer)
            asked = self._asked.get(number)
            if asked is not None and sender == asked.card.where and through is asked.socket:
                del self._asked[number]
                self._take(asked, answer)

    def _take(self, asked: _Asked, answer: bytes) -> None:
        """Take in the answer to one request and go on with the next, if there is one."""
        card, at = asked.card, asked.at
        questions = card.questions
        layout = card.layouts[at]
        values = None if layout is None else layout.values(answer)
        if values is None:
            layout = card.layouts[at] = questions.requests[at].layout_of(answer)
            values = None if layout is None else layout.values(answer)
        if values is None:
            self._end(asked, Unheard.ODD)
            return
        asked.at += 1
        if len(questions.requests) == 1:
            self._end(asked, values)
            return
        asked.values.extend(values)
        if asked.at < len(questions.requests):
            self._send(asked)
        else:
            self._end(asked, asked.values)

    def _end(self, asked: _Asked, values: Sequence[RawValue] | Unheard) -> None:
        asked.socket.open_requests -= 1
        questions = asked.card.questions
        if isinstance(values, Unheard):
            asked.heard(values)
            return
        told: dict[Ref, RawValue] = dict(zip(questions.names, values, strict=True))
        asked.heard(_with_empty_tables(questions, told) if questions.walks else told)


def _with_empty_tables(questions: Questions, told: dict[Ref, RawValue]) -> Told:
    """Replace counters of 0 by empty tables; a table that is not surely empty is read with care."""
    for walk in questions.walks:
        if walk.counter is None or told[walk.counter] != 0:
            return Unheard.ODD
        told[walk] = ()
    for counter in questions.counters:
        del told[counter]
    return told
