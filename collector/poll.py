"""Poll devices that are asked, SNMP and Modbus: one loop for the whole fleet.

Here live the schedule's execution, the bound on polls under way, and the devices as the database
knows them. One device's poll is `collector.polled`, when it is due `collector.schedule`; storing
is ingest's.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial

from collector import readers
from collector.arrival import Arrival, Offer
from collector.poll_tools import DeviceMisrecorded, Meet, PollCounters, Read, Tools
from collector.polled import PolledDevice
from collector.probe import meet
from collector.profile import profiles
from collector.raw import ReadFailed
from collector.readers import modbus_line, snmp
from collector.readers.snmp_quick import Exchange, SettledCard, Told, Unheard
from collector.schedule import first_wait, next_due, rhythm
from collector.store import KnownDevice
from collector.turns import SteadyClock

log = logging.getLogger(__name__)

RELOAD_SECONDS = 10.0
"""How often the devices are loaded anew."""
JOIN_SECONDS = 5.0
"""Devices that join a running loop are polled first within this."""

_LOAD_SECONDS = 30.0
_DOUBTFUL_SHARE = 2  # at most one in so many careful polls is of a device that may not answer
_STOP_PAUSE_SECONDS = 0.02
_QUEUE_FULL_SECONDS = 0.05
_SLACK_SECONDS = 0.01  # polls due within it start together: fewer timers, fewer wake-ups


class PollLoop:
    """Polls all devices that `load` returns, each in its own rhythm, from `run` until `stop`.

    `load` is called in a thread every 10 s; when it fails, the devices stay as they were. `unseal`
    opens sealed credentials. What was read goes to `offer`; while that refuses, the poll waits and
    keeps its place among the `in_flight`, so a slow ingest slows polling and loses nothing.

    Cards that are settled are asked through the `exchange`, which has a bound of its own; without
    one, each is asked with care. At most `in_flight` are, half of them new or silent ones.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Sequence[KnownDevice]],
        unseal: Callable[[bytes], str],
        offer: Offer,
        now: Callable[[], datetime],
        in_flight: int = 200,
        read: Read = readers.read,
        first_meet: Meet = meet,
        exchange: Exchange | None = None,
    ) -> None:
        self.counters = PollCounters()
        self._load = load
        self._offer = offer
        self._in_flight = in_flight
        lives = snmp.answers_discovery if read is readers.read else None
        clock = SteadyClock(now)
        self._tools = Tools(read, first_meet, unseal, clock, self.counters, lives)
        self._fleet: dict[int, PolledDevice] = {}
        self._heap: list[tuple[float, int, PolledDevice]] = []
        self._pushed = 0
        self._exchange = exchange
        self._running: set[PolledDevice] = set()
        self._known: deque[PolledDevice] = deque()
        self._doubtful: deque[PolledDevice] = deque()
        self._doubtful_running = 0
        self._handing: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._load_failed = False
        self._has_loaded = False
        self._moved = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set, then let the polls under way end."""
        # Its own thread: the default ones may all be waiting for a name server.
        thread = ThreadPoolExecutor(1, thread_name_prefix="poll-devices")
        profiles()  # read before the first poll rather than while others wait
        lines = ExitStack()
        lines.enter_context(modbus_line.lines_kept())
        try:
            while not stop.is_set():
                await self._reload(thread)
                await self._rest(stop)
        finally:
            self._is_stopping = True
            thread.shutdown(wait=False, cancel_futures=True)
            if self._timer is not None:
                self._timer.cancel()
            await self._end_running()
            lines.close()

    async def _rest(self, stop: asyncio.Event) -> None:
        """Wait until the devices are to be loaded anew, or `stop` is set."""
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._moved.wait())]
        await asyncio.wait(waits, timeout=RELOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._moved.clear()

    def let_go(self, is_ours: Callable[[KnownDevice], bool]) -> None:
        """Poll no more what is another's now, and load anew at once; in the loop's thread."""
        for device_id, polled in tuple(self._fleet.items()):
            if not is_ours(polled.device):
                self._fleet.pop(device_id).leave(self._tools)
        self.counters.devices = len(self._fleet)
        self._moved.set()

    def poke(self, device_id: int) -> None:
        """Poll a device at once, since it may have news; to be called in the loop's thread.

        However often it is poked, it is not polled for it more often than a unit on battery. What
        comes meanwhile makes one more poll, since a card may speak before its values say the same.
        """
        polled = self._fleet.get(device_id)
        if polled is None or self._is_stopping:
            return
        self.counters.pokes += 1
        if polled.is_under_way:
            polled.is_poked = True
        elif polled.hasten(asyncio.get_running_loop().time()):
            self._push(polled, polled.due)
            self._dispatch()

    async def poll_once(self, device: KnownDevice) -> Arrival:
        """Poll one device now, out of turn, and hand over what came; raise ReadFailed."""
        polled = self._fleet.get(device.device_id)
        if polled is None:
            polled = PolledDevice(device, 0.0, device.is_on_battery)
            self._fleet[device.device_id] = polled
        arrival = await polled.poll(self._tools)
        await self._hand_over(arrival)
        return arrival

    async def _end_running(self) -> None:
        loop = asyncio.get_running_loop()
        patience = max((one.device.deadline_seconds for one in self._fleet.values()), default=0.0)
        until = loop.time() + patience
        if self._exchange is not None:
            while self._exchange.under_way and loop.time() < until:  # noqa: ASYNC110 - few, briefly
                await asyncio.sleep(_STOP_PAUSE_SECONDS)
            self._exchange.close()
        tasks = {polled.task for polled in self._running if polled.task is not None}
        tasks |= self._handing
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=max(until - loop.time(), 0.0))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _reload(self, thread: ThreadPoolExecutor) -> None:
        """Take over the devices as the database knows them now."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                devices = await loop.run_in_executor(thread, self._load)
        except Exception:
            if not self._load_failed:
                known = len(self._fleet)
                log.exception("the devices cannot be loaded; going on with the %d known", known)
            self._load_failed = True
            return
        if self._load_failed:
            log.info("the devices can be loaded again")
        self._load_failed = False
        self._take_over(devices, loop.time())

    def _take_over(self, devices: Sequence[KnownDevice], now: float) -> None:
        wanted = {device.device_id: device for device in devices if device.protocol != "mqtt"}
        for device_id in self._fleet.keys() - wanted.keys():
            self._fleet.pop(device_id).leave(self._tools)
        for device_id, device in wanted.items():
            known = self._fleet.get(device_id)
            if known is not None:
                known.change(device)
                continue
            interval = rhythm(device.poll_seconds, on_battery=device.is_on_battery)
            # One that joins later was perhaps another's, who died: it has waited long enough.
            spread = min(interval, JOIN_SECONDS) if self._has_loaded else interval
            due = now + first_wait(device_id, spread)
            polled = self._fleet[device_id] = PolledDevice(device, due, device.is_on_battery)
            self._push(polled, due)
        self._has_loaded = self._has_loaded or bool(wanted)
        self.counters.devices = len(self._fleet)
        self._dispatch()

    def _push(self, polled: PolledDevice, at: float) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, polled))

    def _dispatch(self) -> None:
        """Start what is due, as far as there is room, and set the timer to what is due next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_stopping:
            return
        loop = asyncio.get_running_loop()
        now = loop.time() + _SLACK_SECONDS
        heap = self._heap
        while heap and heap[0][0] <= now and not self._is_full:
            at, _, polled = heapq.heappop(heap)
            if polled.is_gone or polled.is_under_way or at != polled.due:
                continue  # left, or poked since: what it is due at stands elsewhere in the heap
            if not self._ask_quickly(polled, now):
                self._want_care(polled)
        self._start_careful()
        if heap and not self._is_full:
            self._timer = loop.call_at(heap[0][0], self._dispatch)

    @property
    def _is_full(self) -> bool:
        """Whether nothing more may be begun: no room in the exchange, or ingest takes nothing."""
        return bool(self._handing) or (self._exchange is not None and self._exchange.is_full)

    def _want_care(self, polled: PolledDevice) -> None:
        """Let a device wait for its careful poll; its deadline begins with the poll."""
        is_doubtful = polled.plan is None or polled.failures > 0
        (self._doubtful if is_doubtful else self._known).append(polled)
        self._start_careful()

    def _start_careful(self) -> None:
        """Begin careful polls of what waits for one: of known devices first, then of others."""
        while len(self._running) < self._in_flight and not self._is_stopping:
            if self._known:
                polled, is_doubtful = self._known.popleft(), False
            elif self._doubtful and self._doubtful_running * _DOUBTFUL_SHARE < self._in_flight:
                polled, is_doubtful = self._doubtful.popleft(), True
            else:
                break
            if polled.is_gone or polled.is_under_way:
                continue
            self._running.add(polled)
            self._doubtful_running += is_doubtful
            cycle = self._cycle(polled, is_doubtful=is_doubtful)
            polled.task = asyncio.get_running_loop().create_task(cycle)
        self.counters.in_flight = len(self._running)

    def _ask_quickly(self, polled: PolledDevice, now: float) -> bool:
        """Ask a device without care, if that can be; what it says comes to `_heard`."""
        if self._exchange is None:
            return False
        card = polled.quick_card(self._tools, now)
        if card is None:
            return False
        polled.is_asked = self._exchange.ask(card, partial(self._heard, polled, card))
        return polled.is_asked

    def _heard(self, polled: PolledDevice, card: SettledCard, told: Told) -> None:
        """Take in what a device said that was asked without care."""
        polled.is_asked = False
        is_settled = card is polled.settled
        arrival = None
        try:
            if is_settled and not isinstance(told, Unheard):
                arrival = polled.take(self._tools, told)
            elif told is Unheard.SILENCE:
                arrival = polled.note_silence(self._tools)
            else:
                if is_settled:
                    polled.wonder(asyncio.get_running_loop().time())
                self._want_care(polled)
                return
        except Exception as error:  # the loop's edge
            log.exception("polling device %s failed", polled.device.key)
            arrival = polled.fail(self._tools, "error", f"{type(error).__name__}: {error}")
        if arrival is not None and not self._offer(arrival):
            task = asyncio.get_running_loop().create_task(self._hand_over(arrival))
            self._handing.add(task)
            task.add_done_callback(self._handed)
        self._put_back(polled)

    def _handed(self, task: asyncio.Task[None]) -> None:
        self._handing.discard(task)
        if not self._handing:
            self._dispatch()

    async def _cycle(self, polled: PolledDevice, *, is_doubtful: bool) -> None:
        """Poll a device, hand over what came, and put it back into the schedule."""
        try:
            arrival = await self._polled(polled)
            if arrival is not None:
                await self._hand_over(arrival)
        finally:
            polled.task = None
            self._running.discard(polled)
            self._doubtful_running -= is_doubtful
            self._put_back(polled)

    async def _polled(self, polled: PolledDevice) -> Arrival | None:
        """Poll a device; a failure makes it back off, and the rest goes on."""
        tools = self._tools
        try:
            arrival = await polled.poll(tools)
        except ReadFailed as failure:
            return polled.fail(tools, failure.kind.value, failure.detail)
        except DeviceMisrecorded as wrong:
            return polled.fail(tools, "misrecorded", str(wrong))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the loop's edge; a panic of a library is no Exception
            if not polled.failures:
                log.exception("polling device %s failed", polled.device.key)
            return polled.fail(tools, "error", f"{type(error).__name__}: {error}")
        polled.succeed(tools)
        return arrival

    async def _hand_over(self, arrival: Arrival) -> None:
        if self._offer(arrival):
            return
        self.counters.queue_full += 1
        try:
            while not self._offer(arrival):  # noqa: ASYNC110 - the queue belongs to a thread
                await asyncio.sleep(_QUEUE_FULL_SECONDS)
        except asyncio.CancelledError:
            self.counters.dropped_at_stop += 1
            raise

    def _put_back(self, polled: PolledDevice) -> None:
        if not polled.is_gone:
            now = asyncio.get_running_loop().time()
            polled.due, skipped = next_due(polled.due, polled.wait, now)
            self.counters.skipped_ticks += skipped
            if polled.is_poked:
                polled.hasten(now)
            self._push(polled, polled.due)
        if (
            self._known
            or self._doubtful
            or self._timer is None
            or (self._heap and self._heap[0][0] < self._timer.when())
        ):
            self._dispatch()
