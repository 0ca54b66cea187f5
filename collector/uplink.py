"""The uplink of a collector away from the center: what it reads goes to a broker, by way of disk.

Arrivals are written to the spool first; from there they go out in order, at most so many without
the broker's acknowledgement, and stay on disk until it came. After a cut the connection begins
anew with the oldest message that was not acknowledged: what arrives twice, the center knows by
device and instant. Beside the messages the collector tells of its own life: a last will, and beats
that nobody queues. What a message is, is `collector.uplink_wire`'s business.
"""

import json
import logging
import sqlite3
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collector.address import AddressInvalid, MqttAddress, parse_address
from collector.arrival import Arrival
from collector.downlink import HeardList
from collector.inbox import Inbox
from collector.skew import OwnSkew
from collector.spool import Spool
from collector.uplink_connection import Connection
from collector.uplink_wire import collector_topic, encode, read_answer

log = logging.getLogger(__name__)

UNACKNOWLEDGED = 200
"""How many messages may be under way; a broker that bears less says so (MQTT 5)."""
BEAT_SECONDS = 5.0
LONGEST_RECONNECT_SECONDS = 10.0
PATIENCE_AT_STOP_SECONDS = 5.0

_CAPACITY = 10_000
_BATCH = 500
_LINGER_SECONDS = 0.2
_FORGET_AFTER = 200
_DISK_AGAIN_SECONDS = 1.0
_NOBODY_AGAIN_SECONDS = 5.0
_NO_MATCHING_SUBSCRIBERS = 16
_SKEW_NOTED_SECONDS = 0.2


@dataclass(slots=True)
class UplinkCounters:
    """What the uplink did since it started."""

    spooled: int = 0
    not_written: int = 0
    connects: int = 0
    sent: int = 0
    acknowledged: int = 0
    not_taken: int = 0


@dataclass(frozen=True, slots=True)
class Self:
    """Who a collector is to the center: its name and group, and a word for this life of it."""

    name: str
    group: str
    life: str


@dataclass(slots=True)
class _Flight:
    """What is on its way over one connection.

    `under_way` tells number and shard of each message that is not acknowledged, by the connection's
    number for it; `ordered` is what was sent, `arrived` what of it was taken, but is on disk still.
    """

    under_way: dict[int, tuple[int, str]] = field(default_factory=dict)
    ordered: deque[int] = field(default_factory=deque)
    arrived: set[int] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)

    def must_wait(self, shard: str) -> bool:
        """Tell whether it has to be seen first that somebody takes a shard's messages.

        Its first goes out alone: should nobody take it, none has overtaken it.
        """
        return shard not in self.proven and any(
            shard == other for _, other in self.under_way.values()
        )


def broker_of(url: str) -> MqttAddress:
    """Return the broker of an URL without a topic; raise AddressInvalid."""
    address = parse_address(f"{url.rstrip('/')}/+")
    if not isinstance(address, MqttAddress):
        raise AddressInvalid("a broker is mqtt://HOST:PORT or mqtts://HOST:PORT")
    return address


class Uplink:
    """Takes arrivals from any thread from `start` to `stop`, and sends them when it can.

    `now` is the wall clock, which may be wrong; `steady` never steps. `listed` is the list of
    devices, where that comes from the center.
    """

    def __init__(
        self,
        broker: MqttAddress,
        *,
        who: Self,
        spool: Spool,
        now: Callable[[], datetime],
        steady: Callable[[], float] = time.monotonic,
        version: int = 5,
        tls: ssl.SSLContext | None = None,
        unacknowledged: int = UNACKNOWLEDGED,
        listed: HeardList | None = None,
    ) -> None:
        self.counters = UplinkCounters()
        self._broker = broker
        self._who = who
        self._spool = spool
        self._now = now
        self._steady = steady
        self._is_v5 = version == 5
        self._tls = tls
        self._unacknowledged = unacknowledged
        self._listed = listed
        noted = spool.noted("skew")
        self._noted = None if noted is None else float(noted)
        self._skew = OwnSkew(remembered=self._noted)
        self._inbox = Inbox(capacity=_CAPACITY, batch=_BATCH, linger_seconds=_LINGER_SECONDS)
        self._stopping = threading.Event()
        self._written = threading.Event()
        self._wake = threading.Event()
        self._sent_up_to = 0
        self._beats = 0
        self._failure_told: str | None = None
        self._is_refused = False
        self._threads: list[threading.Thread] = []

    def offer(self, arrival: Arrival) -> bool:
        """Take an arrival; False, taking nothing, while the disk takes nothing.

        What is nobody's has no place at the center, and is not kept.
        """
        return not arrival.device_key or self._inbox.put(arrival)

    @property
    def waiting(self) -> int:
        """How many messages wait on disk for the line."""
        return len(self._spool)

    @property
    def skew(self) -> float | None:
        """By how many seconds our clock is ahead of the center's, as far as is known."""
        return self._skew.seconds(self._now(), steady=self._steady())

    def start(self) -> None:
        """Begin to write and to send, in threads."""
        self._threads = [
            threading.Thread(target=self._write, name="uplink-spool", daemon=True),
            threading.Thread(target=self._send, name="uplink", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Write what was taken, send what goes out quickly, and take leave; the rest stays."""
        self._stopping.set()
        self._inbox.close()
        self._wake.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_AT_STOP_SECONDS)

    # To disk

    def _write(self) -> None:
        while not self._stopping.is_set():
            self._write_batch(wait_seconds=0.5)
        while self._write_batch(wait_seconds=0.0):
            pass
        self._written.set()

    def _write_batch(self, *, wait_seconds: float) -> int:
        batch = self._inbox.take(wait_seconds=wait_seconds)
        if not batch:
            return 0
        messages = self._encoded(batch)
        if not self._put(messages):
            return 0
        self.counters.spooled += len(messages)
        for one in batch:
            if one.acknowledge is not None:
                one.acknowledge()
        self._wake.set()
        return len(batch)

    def _encoded(self, batch: Sequence[Arrival]) -> list[tuple[str, bytes]]:
        skew = self.skew
        messages = []
        for one in batch:
            try:
                messages.append(encode(one, collector=self._who.name, skew=skew))
            except (KeyError, TypeError, ValueError):
                self.counters.not_written += 1
                log.exception("an arrival of %s cannot be written", one.device_key)
        return messages

    def _put(self, messages: Sequence[tuple[str, bytes]]) -> bool:
        """Write to the spool, for as long as it takes; false when told to stop meanwhile."""
        is_failing = False
        while True:
            try:
                self._spool.put(messages)
            except (sqlite3.Error, OSError) as error:
                if not is_failing:
                    log.exception("the spool takes nothing")
                is_failing = True
                if self._stopping.wait(_DISK_AGAIN_SECONDS):
                    log.warning("%d messages are lost, unwritten: %s", len(messages), error)
                    return False
            else:
                if is_failing:
                    log.info("the spool takes messages again")
                return True

    # To the broker

    def _send(self) -> None:
        wait = 1.0
        while not self._stopping.is_set():
            acknowledged = self.counters.acknowledged
            connection = Connection(
                self._broker, self._who.name, self._wake, self._hear, is_v5=self._is_v5
            )
            try:
                if connection.open(self._tls):
                    self.counters.connects += 1
                    self._serve(connection)
                self._tell(connection.failure)
            except OSError as error:
                self._tell(f"cannot be reached: {error}")
            except Exception:  # the loop's edge: what waits stays on disk
                log.exception("the uplink failed")
            finally:
                connection.close()
            wait = 1.0 if self.counters.acknowledged > acknowledged else wait * 2
            wait = min(wait, LONGEST_RECONNECT_SECONDS)
            self._stopping.wait(wait)

    def _serve(self, connection: Connection) -> None:
        """Send until the connection is lost, or we stop and nothing more goes out in time."""
        if not self._is_refused:
            self._tell_up()
        self._sent_up_to = 0
        flight = _Flight()
        next_beat = give_up_at = None
        most = min(self._unacknowledged, connection.receive_maximum)
        while not connection.is_lost:
            self._wake.clear()
            now = self._steady()
            if self._stopping.is_set():
                give_up_at = give_up_at or now + PATIENCE_AT_STOP_SECONDS
                is_done = self._written.is_set() and not flight.under_way and not len(self._spool)
                if is_done or now >= give_up_at:
                    break
            if next_beat is None or now >= next_beat:
                self._beat(connection)
                next_beat = now + BEAT_SECONDS
            refused = self._collect(connection, flight)
            self._forget(flight, at_once=not flight.under_way)
            if refused is not None:
                self._is_refused = True
                self._tell(refused)
                connection.lose(refused)
                self._stopping.wait(_NOBODY_AGAIN_SECONDS)
                break
            room = most - len(flight.under_way)
            if not self._send_more(connection, flight, room):
                self._wake.wait(min(0.5, next_beat - now))
        self._forget(flight, at_once=True)

    def _send_more(self, connection: Connection, flight: "_Flight", room: int) -> bool:
        """Send what waits, as far as there is room; tell whether anything went out."""
        if room <= 0:
            return False
        before = self._sent_up_to
        for message in self._spool.after(self._sent_up_to, most=room):
            shard = message.topic.split("/")[3]
            if flight.must_wait(shard):
                break
            mid = connection.publish(message.topic, message.payload)
            if mid is None:
                return False
            flight.under_way[mid] = message.number, shard
            flight.ordered.append(message.number)
            self._sent_up_to = message.number
            self.counters.sent += 1
        return self._sent_up_to > before

    def _collect(self, connection: Connection, flight: "_Flight") -> str | None:
        """Take in acknowledgements; return why the broker did not take a message, if so."""
        while connection.acknowledged:
            mid, code = connection.acknowledged.popleft()
            number, shard = flight.under_way.pop(mid, (None, ""))
            if number is None:
                continue
            if code == _NO_MATCHING_SUBSCRIBERS:
                self.counters.not_taken += 1
                return "has nobody who takes our messages: is an ingest worker running?"
            if code >= 128:
                self.counters.not_taken += 1
                return f"refuses our messages (reason {code})"
            if self._is_refused:
                self._is_refused = False
                self._tell_up()
            self.counters.acknowledged += 1
            flight.proven.add(shard)
            flight.arrived.add(number)
        return None

    def _forget(self, flight: "_Flight", *, at_once: bool) -> None:
        """Delete from disk what arrived, up to the first that did not."""
        if not flight.arrived or not (at_once or len(flight.arrived) >= _FORGET_AFTER):
            return
        last = None
        while flight.ordered and flight.ordered[0] in flight.arrived:
            last = flight.ordered.popleft()
            flight.arrived.discard(last)
        if last is not None:
            self._spool.forget(last)

    def _tell(self, failure: str | None) -> None:
        if failure is not None and self._failure_told is None and not self._stopping.is_set():
            host, port = self._broker.host, self._broker.port
            log.warning("the uplink's broker %s:%d %s", host, port, failure)
            self._failure_told = failure

    def _tell_up(self) -> None:
        log.info("the uplink to %s:%d is up", self._broker.host, self._broker.port)
        self._failure_told = None

    # Our life

    def _beat(self, connection: Connection) -> None:
        self._beats += 1
        skew = self.skew
        document: dict[str, Any] = {
            "v": 1,
            "at": self._now().isoformat(),
            "group": self._who.group,
            "life": self._who.life,
            "number": self._beats,
            "spooled": len(self._spool),
            "dropped": self._spool.dropped,
        }
        if self._listed is not None:
            document["devices"] = self._listed.digest
        if skew is not None:
            document["skew"] = round(skew, 3)
            if self._noted is None or abs(skew - self._noted) > _SKEW_NOTED_SECONDS:
                self._spool.note("skew", repr(skew))
                self._noted = skew
        self._skew.ask(self._beats, steady=self._steady())
        connection.say(collector_topic(self._who.name, "beat"), json.dumps(document))

    def _hear(self, kind: str, payload: bytes) -> None:
        """Take in the center's answer to a beat."""
        if kind == "devices":
            if self._listed is not None:
                self._listed.take(payload)
            return
        answer = read_answer(payload)
        if answer is not None and answer.life == self._who.life:
            self._skew.hear(answer.number, answer.at, steady=self._steady())
