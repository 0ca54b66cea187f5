"""The ear for devices that publish: whose message it is, and what it brings.

Here live the devices known, and what is remembered of each between messages. What a message of
the product's own convention means is `collector.readers.mqtt`; the connection is `listen`.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence

from collector.arrival import Arrival
from collector.listen import EarStopped, Say
from collector.profile import profiles
from collector.readers.mqtt import FILTERS, Message, Session, parse_topic, understand
from collector.store import KnownDevice

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 60.0
_REFRESH_ON_MISS_SECONDS = 5.0
_LOAD_AGAIN_SECONDS = 1.0
_STRANGER_AGAIN_SECONDS = 3_600.0
_MOST_STRANGERS = 10_000
_CONVENTION = frozenset(FILTERS)


class DeviceEar:
    """Hears the devices that `load` returns; it is asked at most every 5 s.

    `strangers` counts messages of unknown devices; each is quarantined once an hour.
    """

    def __init__(self, *, load: Callable[[], Sequence[KnownDevice]]) -> None:
        self.strangers: Counter[str] = Counter()
        self._load = load
        self._devices: Mapping[str, KnownDevice] = {}
        self._refresh_at = self._refresh_on_miss_at = 0.0
        self._load_failed = False
        self._loading = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._told: OrderedDict[str, float] = OrderedDict()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Read the profiles before the first message rather than while it waits."""
        self._stopping.clear()
        profiles()

    def stop(self) -> None:
        """Let a message that waits for the devices be left alone."""
        self._stopping.set()

    def refresh(self) -> None:
        """Load the devices when it is time."""
        if time.monotonic() >= self._refresh_at:
            self._loads()

    def filters(self) -> frozenset[str]:
        """Return the filters of the convention."""
        return _CONVENTION

    def tend(self, say: Say) -> Sequence[Arrival]:  # noqa: ARG002 - an ear's form
        """Return nothing: nothing is held back."""
        return ()

    def hear(self, message: Message) -> Sequence[Arrival]:
        """Return what a message brings, nothing for a stranger's who was told of lately."""
        topic = parse_topic(message.topic)
        key = "" if topic is None else topic.device_key
        device = self._device(key)
        if device is None and not self._is_news(message.topic if topic is None else key):
            self.strangers["unknown_device" if topic else "unknown_topic"] += 1
            return ()
        session = self._sessions.get(key)
        if session is None:
            session = Session()
            if device is not None:
                session.last_at, session.is_offline = device.observed_at, device.is_offline
                self._sessions[key] = session
        return (understand(message, device, session),)

    def _is_news(self, stranger: str) -> bool:
        """Tell whether an unknown device has not been quarantined within the hour."""
        now = time.monotonic()
        if now < self._told.get(stranger, 0.0):
            return False
        self._told[stranger] = now + _STRANGER_AGAIN_SECONDS
        self._told.move_to_end(stranger)
        if len(self._told) > _MOST_STRANGERS:
            self._told.popitem(last=False)
        return True

    def _device(self, key: str) -> KnownDevice | None:
        """Return the device of a key; wait while it cannot be told who the devices are."""
        known = self._devices.get(key)
        if known is not None:
            return known
        while not self._stopping.is_set():
            if time.monotonic() < self._refresh_on_miss_at or self._loads():
                return self._devices.get(key)
            self._stopping.wait(_LOAD_AGAIN_SECONDS)
        raise EarStopped

    def _loads(self) -> bool:
        with self._loading:
            now = time.monotonic()
            self._refresh_at = now + _REFRESH_ON_MISS_SECONDS  # until it has succeeded
            try:
                devices = {device.key: device for device in self._load()}
            except Exception:  # the loop's edge: the last good list is kept
                if not self._load_failed:
                    log.exception("the devices cannot be loaded; %d are known", len(self._devices))
                self._load_failed = True
                return False
            self._devices, self._load_failed = devices, False
            self._refresh_at = now + _REFRESH_SECONDS
            self._refresh_on_miss_at = now + _REFRESH_ON_MISS_SECONDS
        # A device's session goes with it; the network thread may add one meanwhile.
        for key in [key for key in tuple(self._sessions) if key not in devices]:
            self._sessions.pop(key, None)
        return True
