"""The ear for traps: hears them, finds whose they are, has those devices polled and counts them.

A trap never becomes a reading: it is a hint that makes the device's collector poll at once.
Receiving is `collector.readers.traps`, meaning `collector.traps`, polling `collector.poll`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from collector.address import SnmpAddress, parse_address
from collector.arrival import Arrival, Offer
from collector.credentials import parse_credentials
from collector.raw import ReadFailed
from collector.readers.resolve import Resolver
from collector.readers.traps import TrapCounters, TrapReceiver
from collector.store import KnownDevice
from collector.traps import Gathered, Heard, Sender, Senders

log = logging.getLogger(__name__)

RELOAD_SECONDS = 10.0
WRITE_SECONDS = 1.0
"""How long notifications of one kind are put together before they are written."""

_LOOK_UP_SECONDS = 2.0
_OFFER_SECONDS = 0.05


class TrapEar:
    """Listens on a UDP port from `run` until `stop`, for the devices that `load` returns.

    `poke` is called with the ids of devices that may have news, in the loop's thread; it must not
    block. What was heard goes to `offer`, a row's worth a second.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Sequence[KnownDevice]],
        unseal: Callable[[bytes], str],
        offer: Offer,
        poke: Callable[[list[int]], None],
        now: Callable[[], datetime],
        host: str = "0.0.0.0",  # noqa: S104 - traps come from anywhere
        port: int = 162,
    ) -> None:
        self.counters = TrapCounters()
        self.port = port
        self._load = load
        self._unseal = unseal
        self._offer = offer
        self._poke = poke
        self._now = now
        self._host = host
        self._senders = Senders()
        self._gathered = Gathered()
        self._resolver = Resolver()
        self._keys: dict[int, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set; raise OSError when the port cannot be had."""
        receiver = TrapReceiver(self._heard, started_at=self._now())
        self.counters = receiver.counters
        self.port = await receiver.open(self._host, self.port)
        log.info("listening for traps on %s:%d", self._host, self.port)
        thread = ThreadPoolExecutor(1, thread_name_prefix="trap-devices")
        learning = asyncio.create_task(self._learn(receiver, thread))
        try:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), WRITE_SECONDS)
                except TimeoutError:
                    await self._write()
        finally:
            learning.cancel()
            await asyncio.gather(learning, return_exceptions=True)
            thread.shutdown(wait=False, cancel_futures=True)
            await receiver.close()
            await self._write()

    def _heard(self, heard: Heard) -> None:
        device_ids = self._senders.behind(heard)
        self._gathered.add(device_ids[0] if len(device_ids) == 1 else None, heard)
        if device_ids:
            self._poke(device_ids)

    async def _write(self) -> None:
        at = self._now()
        for device_id, trap in self._gathered.take():
            arrival = Arrival(
                device_key=self._keys.get(device_id or 0, ""),
                received_at=at,
                source="trap",
                device_id=device_id,
                trap=trap,
            )
            while not self._offer(arrival):  # noqa: ASYNC110 - the queue belongs to a thread
                await asyncio.sleep(_OFFER_SECONDS)

    async def _learn(self, receiver: TrapReceiver, thread: ThreadPoolExecutor) -> None:
        """Take over the devices as they are known, again and again."""
        loop = asyncio.get_running_loop()
        failed = False
        while True:
            try:
                devices = await loop.run_in_executor(thread, self._load)
                await self._take_over(receiver, devices)
            except Exception:  # the loop's edge: the database may be away
                if not failed:
                    log.exception("the senders of traps cannot be loaded; the known ones stay")
                failed = True
            else:
                failed = False
            await asyncio.sleep(RELOAD_SECONDS)

    async def _take_over(self, receiver: TrapReceiver, devices: Sequence[KnownDevice]) -> None:
        addresses: list[SnmpAddress] = []
        senders: list[Sender] = []
        for device in devices:
            address = self._address(device)
            if address is None:
                continue
            addresses.append(address)
            with suppress(ReadFailed, TimeoutError):  # a name unknown for now: the next time
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    host = await self._resolver.address_of(address.host)
                senders.append(Sender(device.device_id, host, address.port))
        self._keys = {device.device_id: device.key for device in devices}
        self._senders = Senders(senders)
        receiver.know(addresses)

    def _address(self, device: KnownDevice) -> SnmpAddress | None:
        """Return where a device is; None for one that sends no traps or is recorded wrongly."""
        if device.protocol != "snmp":
            return None
        try:
            sealed = device.sealed_credentials
            secret = None if sealed is None else parse_credentials(self._unseal(sealed))
            address = parse_address(device.address, secret)
        except ValueError:
            return None  # the poll loop tells of it
        return address if isinstance(address, SnmpAddress) else None
