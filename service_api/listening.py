"""The role `ingest`: which sessions at the broker this worker holds, by leases among the workers.

One session hears the units that publish, one the lives of collectors away from the center, and one
each block of shards what such collectors send. A session has a client id of its own, whoever holds
it: the broker keeps what arrives while nobody does, and puts an earlier holder out when the next
one comes. So a message is never in a session that died with its worker.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from collector.address import AddressInvalid
from collector.downlink import pack
from collector.ear import DeviceEar
from collector.ingest import Ingest
from collector.lease_holder import LeaseHolder
from collector.lease_store import Work
from collector.leases import shards_of
from collector.listen import Ear, Listener
from collector.profile import profiles
from collector.shards import SHARDS
from collector.store import WORKERS, KnownDevice, device_numbers, known_devices
from collector.tls import TlsInvalid
from collector.uplink import broker_of
from collector.uplink_ear import Directory, LivesEar, UplinkEar
from collector.uplink_lives import known_skews, note_beat, note_end
from collector.uplink_wire import Beat
from service_api.broker_tls import broker_tls
from service_api.life import Life
from service_api.metrics import WATCHED
from service_api.settings import Settings
from service_api.supervisor import Clock, DaemonFailed, Role, needed

log = logging.getLogger(__name__)

MQTT_GROUP = "mqtt"
UNITS = Work(f"collect:{MQTT_GROUP}", block=SHARDS)
"""The units that publish: heard by one worker at a time."""
UPLINKS = Work("ingest", block=8)
"""What collectors away from the center send: a session for each eight shards."""

_REACH_SECONDS = 15.0
_REACH_AGAIN_SECONDS = 10.0
_DATABASE_SECONDS = 5.0
_LIST_SECONDS = 10.0
_MOST_LISTS = 1_000


class Session:
    """Listeners that are open together, with what goes with them; closed in reverse order."""

    def __init__(self, stack: ExitStack, *listeners: Listener) -> None:
        self._stack = stack
        self._listeners = listeners

    @property
    def is_connected(self) -> bool:
        """The broker delivers to each of them."""
        return all(listener.is_connected for listener in self._listeners)

    def close(self) -> None:
        """Take leave; the broker keeps what comes."""
        self._stack.close()


class Sessions:
    """The sessions of one work that this worker holds; `open_one` opens a block's.

    While the broker cannot be reached from here, others may have them: perhaps they can.
    """

    def __init__(
        self, open_one: Callable[[int], Session], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_one = open_one
        self._clock = clock
        self._open: dict[int, Session] = {}
        self._reached_at = self._again_at = clock()

    def use(self, blocks: frozenset[int]) -> None:
        """Close what is not among the blocks, and open what is new among them."""
        closing = [self._open.pop(block) for block in sorted(self._open.keys() - blocks)]
        if closing:
            # At once: one that waits for a database out of reach must not keep the others open.
            with ThreadPoolExecutor(len(closing), thread_name_prefix="close") as threads:
                list(threads.map(Session.close, closing))
        if blocks and not self._open:
            self._reached_at = self._clock()
        for block in sorted(blocks - self._open.keys()):
            self._open[block] = self._open_one(block)

    def can_reach(self) -> bool:
        """Tell whether the broker is within reach, as far as was tried lately."""
        now = self._clock()
        sessions = tuple(self._open.values())
        if not sessions:
            return now >= self._again_at
        if any(session.is_connected for session in sessions):
            self._reached_at = now
        elif now - self._reached_at > _REACH_SECONDS:
            self._again_at = now + _REACH_AGAIN_SECONDS
            return False
        return True


class _Worker:
    """What the sessions of one worker are opened with."""

    def __init__(
        self, settings: Settings, pool: ConnectionPool, ingest: Ingest, now: Clock, share: int
    ) -> None:
        self._settings = settings
        self._share = share
        self._pool = pool
        self._ingest = ingest
        self._now = now
        self._url = needed(settings.mqtt_url, "MQTT_URL", "listening to devices that publish")
        try:
            broker_of(self._url)
            self._tls = broker_tls(settings)
        except AddressInvalid as invalid:
            raise DaemonFailed(f"RIDETHROUGH_MQTT_URL: {invalid}") from invalid
        except TlsInvalid as invalid:
            raise DaemonFailed(str(invalid)) from invalid
        self._uplinks: LeaseHolder | None = None
        self._directory = Directory(load=self._devices, load_skews=self._skews)
        self._lists: dict[str, tuple[tuple[str, bytes] | None, float]] = {}
        self._is_failing = False

    def run(self, stop: threading.Event) -> None:
        """Hold what falls to this worker until told to stop."""
        units = Sessions(self._hear_units)
        uplinks = Sessions(self._hear_uplinks)
        with Life(self._pool, WORKERS, self._now, share=self._share) as life, ExitStack() as stack:
            self._uplinks = self._holder(UPLINKS, life, self._and_learn(uplinks.use), uplinks)
            heard = self._holder(UNITS, life, units.use, units)
            self._uplinks.start()
            stack.callback(self._uplinks.stop)
            profiles()  # read before the units are to be taken over from another, not then
            heard.start()
            stack.callback(heard.stop)
            stop.wait()

    def _holder(
        self,
        work: Work,
        life: Life,
        use: Callable[[frozenset[int]], None],
        sessions: Sessions,
    ) -> LeaseHolder:
        return LeaseHolder(
            self._pool,
            work,
            collector_id=lambda: life.number,
            on_change=use,
            may_hold=sessions.can_reach,
        )

    def _and_learn(self, use: Callable[[frozenset[int]], None]) -> Callable[[frozenset[int]], None]:
        def changed(blocks: frozenset[int]) -> None:
            self._directory.forget()
            use(blocks)

        return changed

    def _hear_units(self, _: int) -> Session:
        client_id = self._settings.mqtt_client_id
        stack = ExitStack()
        # A sign of life counts while the units' own session stands.
        units = self._listener(
            DeviceEar(load=self._units, asks_for_births=self._settings.sparkplug_rebirth), client_id
        )
        lives = self._listener(
            LivesEar(note_beat=self._note_beat, note_end=self._note_end, list_of=self._list_of),
            f"{client_id}-lives",
        )
        stack.enter_context(
            Life(
                self._pool,
                MQTT_GROUP,
                self._now,
                counts=lambda: units.is_connected,
                share=self._share,
            )
        )
        stack.enter_context(_listening(lives))
        stack.enter_context(_listening(units))
        return Session(stack, units, lives)

    def _hear_uplinks(self, block: int) -> Session:
        stack = ExitStack()
        shards = shards_of(block, size=UPLINKS.block)
        listener = self._listener(
            UplinkEar(shards, self._directory), f"{self._settings.mqtt_client_id}-{shards[0]:02}"
        )
        stack.enter_context(_listening(listener))
        return Session(stack, listener)

    def _listener(self, ear: Ear, client_id: str) -> Listener:
        return Listener(
            self._url,
            ear=ear,
            offer=self._ingest.offer,
            now=self._now,
            client_id=client_id,
            version=self._settings.mqtt_version,
            tls=self._tls,
        )

    # What the ears want to know, and what they have to tell

    def _units(self) -> list[KnownDevice]:
        with self._pool.connection() as connection:
            return known_devices(connection, collector_group=MQTT_GROUP)

    def _devices(self) -> dict[str, int]:
        shards = frozenset() if self._uplinks is None else self._uplinks.shards
        with self._pool.connection() as connection:
            return device_numbers(connection, shards=shards)

    def _skews(self) -> Mapping[str, float]:
        with self._pool.connection() as connection:
            return known_skews(connection, now=self._now())

    def _list_of(self, group: str) -> tuple[str, bytes] | None:
        """Return the list of a group's devices, as it was at most some seconds ago."""
        now = time.monotonic()
        listed, until = self._lists.get(group, (None, 0.0))
        if now < until:
            return listed
        try:
            with self._pool.connection(_DATABASE_SECONDS) as connection:
                listed = pack(known_devices(connection, collector_group=group))
        except psycopg.Error:
            return listed  # the beat that brought us here could not be noted either: that is told
        if len(self._lists) >= _MOST_LISTS:
            self._lists.clear()
        self._lists[group] = listed, now + _LIST_SECONDS
        return listed

    def _note_beat(self, name: str, beat: Beat, skew: float) -> None:
        self._note(partial(note_beat, name=name, beat=beat, skew=skew, now=self._now()))

    def _note_end(self, name: str) -> None:
        self._note(partial(note_end, name=name))

    def _note(self, write: Callable[[psycopg.Connection[TupleRow]], None]) -> None:
        """Write about a collector's life; what cannot be written is heard again in seconds."""
        try:
            with self._pool.connection(_DATABASE_SECONDS) as connection:
                write(connection)
        except psycopg.Error as error:
            if not self._is_failing:
                log.warning("the lives of collectors cannot be noted: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False


@contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    with WATCHED.showing("listen", lambda: listener.counters):
        listener.start()
        try:
            yield
        finally:
            listener.stop()


def listen_role(
    settings: Settings, pool: ConnectionPool, ingest: Ingest, now: Clock, *, share: int
) -> Role:
    """Return the role that hears what units publish and collectors send.

    `share` tells processes of one daemon apart.
    """
    return Role("listen", _Worker(settings, pool, ingest, now, share).run)
