"""Listen to a broker: every message becomes an arrival, acknowledged after its commit.

Here live the connection, who the devices are, and back-pressure. What a message means is
`collector.readers.mqtt`; storing is ingest's.

The session outlives the process: the client id is fixed and the broker keeps what arrives
meanwhile, in order. A message is acknowledged only by `Arrival.acknowledge`, so what was not
committed comes again after a reconnect; ingest takes a repeated reading for what it is. While
ingest's queue is full the network thread waits in its callback: the broker then holds back, at
the Receive Maximum with MQTT 5, at its own limit or TCP's with 3.1.1.
"""

import logging
import ssl
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collector.address import AddressInvalid, MqttAddress, parse_address
from collector.arrival import Arrival, Offer
from collector.profile import profiles
from collector.readers.mqtt import FILTERS, Message, Session, parse_topic, understand
from collector.store import BEAT_SECONDS, KnownDevice
from rules.facts import Rejection

log = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 4_000
"""How many messages may wait for their commit: a third of a second at full speed."""
LARGEST_PACKET_BYTES = 1024 * 1024
"""With MQTT 5 the broker keeps longer ones to itself, so that none fills the memory."""
SESSION_SECONDS = 7 * 86_400
"""How long the broker keeps our session while we are away (MQTT 5)."""
KEEPALIVE_SECONDS = 60
LONGEST_RECONNECT_SECONDS = 30

_REFRESH_SECONDS = 60.0
_REFRESH_ON_MISS_SECONDS = 5.0
_QUEUE_FULL_SECONDS = 0.05
_LOAD_AGAIN_SECONDS = 1.0
_STRANGER_AGAIN_SECONDS = 3_600.0
_MOST_STRANGERS = 10_000
_QOS = 1


@dataclass(slots=True)
class ListenCounters:
    """What the listener did since it started, for metrics."""

    connects: int = 0
    messages: int = 0
    redelivered: int = 0
    readings: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    queue_full: int = 0
    errors: int = 0


class Listener:
    """Listens from `start` to `stop`; the callbacks run in its own threads.

    `url` is mqtt://USER:PASSWORD@HOST:PORT or mqtts://…; `version` 5, or 3 for MQTT 3.1.1. `load`
    returns the devices that are listened to; it is asked at most every 5 s. `on_alive` is called
    every 10 s while the broker delivers to us. Stop the listener before ingest: what is not
    acknowledged by then comes again.
    """

    def __init__(
        self,
        url: str,
        *,
        load: Callable[[], Sequence[KnownDevice]],
        offer: Offer,
        now: Callable[[], datetime],
        client_id: str,
        version: int = 5,
        on_alive: Callable[[], None] | None = None,
        receive_maximum: int = RECEIVE_MAXIMUM,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.counters = ListenCounters()
        self._broker = _broker_at(url)
        self._load = load
        self._offer = offer
        self._now = now
        self._is_v5 = version == 5
        self._on_alive = on_alive
        self._receive_maximum = receive_maximum
        self._devices: dict[str, KnownDevice] = {}
        self._refresh_at = self._refresh_on_miss_at = 0.0
        self._load_failed = False
        self._sessions: dict[str, Session] = {}
        self._strangers: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0
        self._has_connection = False
        self._is_subscribed = False
        self._has_subscribed_before = False
        self._failure_told = False
        self._stopping = threading.Event()
        self._beating: threading.Thread | None = None
        self._client = self._made_client(client_id, tls)

    @property
    def is_connected(self) -> bool:
        """The broker has accepted us and our subscriptions, and has not gone since."""
        return self._is_subscribed

    def start(self) -> None:
        """Connect in the background, again and again until it succeeds."""
        profiles()  # read before the first message rather than while it waits
        broker = self._broker
        properties = None
        if self._is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's
            properties.SessionExpiryInterval = SESSION_SECONDS
            properties.ReceiveMaximum = self._receive_maximum
            properties.MaximumPacketSize = LARGEST_PACKET_BYTES
        self._stopping.clear()
        self._client.connect_async(
            broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=False, properties=properties
        )
        self._client.loop_start()
        if self._on_alive is not None:
            self._beating = threading.Thread(
                target=self._beat, args=(self._on_alive,), name="listener-beat", daemon=True
            )
            self._beating.start()

    def stop(self) -> None:
        """Take leave of the broker, which keeps the session, and end the threads."""
        self._stopping.set()
        self._client.disconnect()
        self._client.loop_stop()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        self._note_gone()

    # The connection

    def _made_client(self, client_id: str, tls: ssl.SSLContext | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self._is_v5 else False,
            protocol=mqtt.MQTTv5 if self._is_v5 else mqtt.MQTTv311,
            manual_ack=True,
        )
        secret = self._broker.credentials
        if secret.user:
            client.username_pw_set(secret.user, secret.password or None)
        if self._broker.tls:
            client.tls_set_context(tls or ssl.create_default_context())
        client.reconnect_delay_set(1, LONGEST_RECONNECT_SECONDS)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_pre_connect(self, *_: object) -> None:
        self._note_gone()

    def _note_gone(self) -> None:
        """Make acknowledgements of the connection that ended worth nothing."""
        with self._lock:
            self._generation += 1
            self._has_connection = self._is_subscribed = False

    def _on_connect(
        self,
        client: mqtt.Client,
        _: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        __: Properties | None,
    ) -> None:
        if reason.is_failure:
            hint = ""
            if self._is_v5 and "protocol" in str(reason).lower():
                hint = "; if it speaks only MQTT 3.1.1, set RIDETHROUGH_MQTT_VERSION=3"
            self._tell_failure(f"refuses us: {reason}{hint}")
            return
        self.counters.connects += 1
        with self._lock:
            self._has_connection = True
            # In a session that goes on, the subscriptions stand and nothing retained is new.
            self._is_subscribed = flags.session_present and self._has_subscribed_before
        if self._is_subscribed:
            self._tell_connected()
        elif self._is_v5:
            client.subscribe([(one, SubscribeOptions(qos=_QOS)) for one in FILTERS])
        else:
            client.subscribe([(one, _QOS) for one in FILTERS])

    def _on_subscribe(
        self,
        _: mqtt.Client,
        __: object,
        ___: int,
        reasons: Sequence[ReasonCode],
        ____: Properties | None,
    ) -> None:
        refused = [one for one, reason in zip(FILTERS, reasons, strict=False) if reason.is_failure]
        if refused:
            self._tell_failure(f"lets us not subscribe to {', '.join(refused)}")
            return
        with self._lock:
            self._is_subscribed = self._has_subscribed_before = True
        self._tell_connected()

    def _on_connect_fail(self, *_: object) -> None:
        self._tell_failure("cannot be reached")

    def _on_disconnect(
        self,
        _: mqtt.Client,
        __: object,
        ___: mqtt.DisconnectFlags,
        reason: ReasonCode,
        ____: Properties | None,
    ) -> None:
        self._note_gone()
        if not self._stopping.is_set():
            self._tell_failure(f"is lost: {reason}")

    def _tell_connected(self) -> None:
        log.info("listening to the broker %s:%d", self._broker.host, self._broker.port)
        self._failure_told = False

    def _tell_failure(self, what: str) -> None:
        if not self._failure_told:
            log.warning("the broker %s:%d %s", self._broker.host, self._broker.port, what)
        self._failure_told = True

    def _beat(self, on_alive: Callable[[], None]) -> None:
        failed = False
        while True:
            if self.is_connected:
                try:
                    on_alive()
                except Exception:  # the loop's edge: the database may be away
                    if not failed:
                        log.exception("the listener's sign of life failed")
                    failed = True
                else:
                    failed = False
            if self._stopping.wait(BEAT_SECONDS):
                return

    # Messages

    def _on_message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        self.counters.messages += 1
        self.counters.redelivered += message.dup
        acknowledge = None
        if message.qos:
            # Bound to this connection: in a new session the same number is another message.
            acknowledge = partial(self._acknowledge, self._generation, message.mid, message.qos)
        try:
            arrival = self._understood(message)
        except _Stopping:
            return
        except Exception as error:  # the loop's edge: raising would end the network thread
            self.counters.errors += 1
            log.exception("a message of %d bytes cannot be handled", len(message.payload))
            arrival = _broken(error, self._now())
        if arrival is None:
            if acknowledge is not None:
                acknowledge()
            return
        self._hand_over(replace(arrival, acknowledge=acknowledge))

    def _understood(self, message: mqtt.MQTTMessage) -> Arrival | None:
        """Return what a message brings, None for a stranger's who was told of within the hour."""
        try:
            name = message.topic
        except UnicodeDecodeError:
            name = "(no UTF-8)"
        topic = parse_topic(name)
        key = "" if topic is None else topic.device_key
        device = self._device(key)
        if device is None and not self._is_news(name if topic is None else key):
            self.counters.rejections["unknown_device"] += 1
            return None
        session = self._sessions.get(key)
        if session is None:
            session = Session()
            if device is not None:
                session.last_at, session.is_offline = device.observed_at, device.is_offline
                self._sessions[key] = session
        arrival = understand(Message(name, bytes(message.payload), self._now()), device, session)
        self.counters.readings += arrival.reading is not None
        for rejection in arrival.rejections:
            self.counters.rejections[rejection.reason] += 1
        return arrival

    def _hand_over(self, arrival: Arrival) -> None:
        if self._offer(arrival):
            return
        self.counters.queue_full += 1
        while not self._stopping.wait(_QUEUE_FULL_SECONDS):
            if self._offer(arrival):
                return

    def _acknowledge(self, generation: int, mid: int, qos: int) -> None:
        """Acknowledge from any thread; to a connection that ended, nothing is said."""
        with self._lock:
            if generation == self._generation and self._has_connection:
                self._client.ack(mid, qos)

    def _is_news(self, stranger: str) -> bool:
        """Tell whether an unknown device has not been quarantined within the hour."""
        now = time.monotonic()
        if now < self._strangers.get(stranger, 0.0):
            return False
        self._strangers[stranger] = now + _STRANGER_AGAIN_SECONDS
        self._strangers.move_to_end(stranger)
        if len(self._strangers) > _MOST_STRANGERS:
            self._strangers.popitem(last=False)
        return True

    # The devices

    def _device(self, key: str) -> KnownDevice | None:
        """Return the device of a key; wait while it cannot be told who the devices are."""
        while not self._stopping.is_set():
            known = self._devices.get(key)
            now = time.monotonic()
            if now < (self._refresh_at if known else self._refresh_on_miss_at):
                return known
            if self._loads(now):
                return self._devices.get(key)
            if known is not None:
                return known
            self._stopping.wait(_LOAD_AGAIN_SECONDS)
        raise _Stopping

    def _loads(self, now: float) -> bool:
        self._refresh_at = now + _REFRESH_ON_MISS_SECONDS  # until it has succeeded
        try:
            devices = {device.key: device for device in self._load()}
        except Exception:  # the loop's edge: the last good list is kept
            if not self._load_failed:
                log.exception("the devices cannot be loaded; %d are known", len(self._devices))
            self._load_failed = True
            return False
        for key in self._sessions.keys() - devices.keys():
            del self._sessions[key]
        self._devices, self._load_failed = devices, False
        self._refresh_at = now + _REFRESH_SECONDS
        self._refresh_on_miss_at = now + _REFRESH_ON_MISS_SECONDS
        return True


def _broken(error: Exception, at: datetime) -> Arrival:
    """Return what quarantines a message that a fault of ours kept from being understood."""
    detail = f"{type(error).__name__}: {error}"
    return Arrival(
        device_key="",
        received_at=at,
        source="mqtt",
        rejections=(Rejection(None, "", "error", detail),),
    )


class _Stopping(Exception):
    """The listener stops; what is under way is not acknowledged and comes again."""


def _broker_at(url: str) -> MqttAddress:
    """Return the broker of an URL without a topic; raise AddressInvalid."""
    address: Any = parse_address(f"{url.rstrip('/')}/{FILTERS[0]}")
    if not isinstance(address, MqttAddress):
        raise AddressInvalid("a broker is mqtt://HOST:PORT or mqtts://HOST:PORT")
    return address
