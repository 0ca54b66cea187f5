"""Listen to a broker: messages become arrivals, acknowledged after their commit.

Here live the connection, the subscriptions and back-pressure. What is listened for, and what a
message means, is an `Ear`'s, such as `collector.ear`; storing is ingest's.

The session outlives the process: the client id is fixed and the broker keeps what arrives
meanwhile, in order. A message is acknowledged only by `Arrival.acknowledge`, so what was not
committed comes again after a reconnect; ingest takes a repeated reading for what it is. While
ingest's queue is full the network thread waits in its callback: the broker then holds back, at
the Receive Maximum with MQTT 5, at its own limit or TCP's with 3.1.1.
"""

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collector.address import AddressInvalid, MqttAddress, parse_address
from collector.arrival import Arrival, Offer
from collector.readers.mqtt import Message
from collector.store import BEAT_SECONDS
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

_QUEUE_FULL_SECONDS = 0.05
_TEND_SECONDS = 0.1
_FILTERS_A_PACKET = 100
_QOS = 1

Say = Callable[[str, bytes], None]
"""Publishes a message (topic, payload) with QoS 0, if there is a connection."""


class EarStopped(Exception):
    """The ear was told to stop while it waited; the message is not acknowledged."""


class Ear(Protocol):
    """What a listener listens for, and what it makes of it.

    `hear` and `tend` never run at the same time; the others may run beside them.
    """

    def start(self) -> None:
        """Make ready before the first message."""

    def stop(self) -> None:
        """Let a waiting `hear` raise EarStopped."""

    def refresh(self) -> None:
        """Learn anew what to listen for, when that is due; called ten times a second."""

    def filters(self) -> frozenset[str]:
        """Return the topic filters wanted now; the same object while nothing changed."""

    def qos(self, wanted: str) -> int:  # noqa: ARG002 - most ears want all alike
        """Return the quality of service for a filter: 1, or 0 for what nobody need keep."""
        return _QOS

    def hear(self, message: Message) -> Sequence[Arrival] | None:
        """Return what a message brings; it is acknowledged after all of it is committed.

        An empty sequence acknowledges it at once; with None the ear keeps `message.acknowledge`
        and puts it into a later arrival. May wait for what it needs to know.
        """

    def tend(self, say: Say) -> Sequence[Arrival]:
        """Return arrivals that became due as time passed; called ten times a second."""


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

    `url` is mqtt://USER:PASSWORD@HOST:PORT or mqtts://…; `version` 5, or 3 for MQTT 3.1.1; `tls`
    is how the broker proves itself and we to it. `on_alive` is called every 10 s while the broker
    delivers to us. `leftovers` are filters that an earlier life may have left in the session: those
    not wanted any more are given up. Stop the listener before ingest: what is not acknowledged by
    then comes again.
    """

    def __init__(
        self,
        url: str,
        *,
        ear: Ear,
        offer: Offer,
        now: Callable[[], datetime],
        client_id: str,
        version: int = 5,
        on_alive: Callable[[], None] | None = None,
        receive_maximum: int = RECEIVE_MAXIMUM,
        tls: ssl.SSLContext | None = None,
        leftovers: Iterable[str] = (),
    ) -> None:
        self.counters = ListenCounters()
        self._broker = _broker_at(url)
        self._ear = ear
        self._offer = offer
        self._now = now
        self._is_v5 = version == 5
        self._on_alive = on_alive
        self._receive_maximum = receive_maximum
        self._leftovers = frozenset(leftovers)
        self._hearing = threading.Lock()
        self._lock = threading.Lock()
        self._generation = 0
        self._has_connection = False
        self._is_subscribed = False
        self._has_subscribed_before = False
        self._wanted: frozenset[str] | None = None
        self._subscribed: set[str] = set()
        self._asked: dict[int, tuple[str, ...]] = {}
        self._failure_told = False
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._client = self._made_client(client_id, tls)

    @property
    def is_connected(self) -> bool:
        """The broker has accepted us and our subscriptions, and has not gone since."""
        return self._is_subscribed

    def start(self) -> None:
        """Connect in the background, again and again until it succeeds."""
        self._ear.start()
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
        self._run("listener-tend", self._tend)
        if self._on_alive is not None:
            self._run("listener-beat", partial(self._beat, self._on_alive))

    def stop(self) -> None:
        """Take leave of the broker, which keeps the session, and end the threads."""
        self._stopping.set()
        self._ear.stop()
        self._client.disconnect()
        self._client.loop_stop()
        while self._threads:
            self._threads.pop().join()
        self._note_gone()

    def _run(self, name: str, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

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
            self._asked.clear()

    def _on_connect(
        self,
        _: mqtt.Client,
        __: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        ___: Properties | None,
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
            if not (flags.session_present and self._has_subscribed_before):
                # Else the subscriptions stand and nothing retained is new.
                self._subscribed = set(self._leftovers if flags.session_present else ())
        self._subscribe()

    def _subscribe(self) -> None:
        """Ask the broker for what the ear wants and is not subscribed to; give up the rest."""
        wanted = self._ear.filters()
        with self._lock:
            if not self._has_connection:
                return
            self._wanted = wanted
            is_first = not self._has_subscribed_before
            asked = {one for some in self._asked.values() for one in some}
            # In our first session, what an earlier life subscribed to is asked again, so that the
            # broker tells what is retained.
            known = asked if is_first else self._subscribed | asked
            for some in _packets(wanted - known):
                mid = self._sent(some)
                if mid is not None:
                    self._asked[mid] = some
            for some in _packets(self._subscribed - wanted):
                self._client.unsubscribe(list(some))
            self._subscribed &= wanted
            is_done = not self._asked and not self._is_subscribed
            if is_done:
                self._is_subscribed = self._has_subscribed_before = True
        if is_done:
            self._tell_connected()

    def _sent(self, filters: tuple[str, ...]) -> int | None:
        wanted = [(one, self._ear.qos(one)) for one in filters]
        if self._is_v5:
            return self._client.subscribe([(one, SubscribeOptions(qos=q)) for one, q in wanted])[1]
        return self._client.subscribe(wanted)[1]

    def _on_subscribe(
        self,
        _: mqtt.Client,
        __: object,
        mid: int,
        reasons: Sequence[ReasonCode],
        ___: Properties | None,
    ) -> None:
        with self._lock:
            asked = self._asked.pop(mid, ())
            refused = [one for one, why in zip(asked, reasons, strict=False) if why.is_failure]
            self._subscribed.update(asked)  # the refused too: asked again with the next session
            is_done = not self._asked and not self._is_subscribed and len(refused) < len(asked)
            if is_done:
                self._is_subscribed = self._has_subscribed_before = True
        if refused:
            shown = ", ".join(refused[:3]) + (" …" if len(refused) > 3 else "")
            self._tell_failure(f"lets us not subscribe to {shown}")
        elif is_done:
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
        acknowledge: Callable[[], None] | None = None
        if message.qos:
            # Bound to this connection: in a new session the same number is another message.
            acknowledge = partial(self._acknowledge, self._generation, message.mid, message.qos)
        with self._hearing:
            try:
                arrivals = self._ear.hear(self._heard(message, acknowledge))
            except EarStopped:
                return
            except Exception as error:  # the loop's edge: raising would end the network thread
                self.counters.errors += 1
                log.exception("a message of %d bytes cannot be handled", len(message.payload))
                arrivals = (_broken(error, self._now()),)
            if arrivals is None:
                return
            if not arrivals:
                if acknowledge is not None:
                    acknowledge()
                return
            if acknowledge is not None and len(arrivals) > 1:
                acknowledge = _AfterAll(len(arrivals), acknowledge)
            for arrival in arrivals:
                self._hand_over(
                    arrival if acknowledge is None else replace(arrival, acknowledge=acknowledge)
                )

    def _heard(self, message: mqtt.MQTTMessage, acknowledge: Callable[[], None] | None) -> Message:
        try:
            name = message.topic
        except UnicodeDecodeError:
            name = "(no UTF-8)"
        return Message(name, bytes(message.payload), self._now(), message.retain, acknowledge)

    def _tend(self) -> None:
        """Let the ear learn, give what became due, and follow what it wants."""
        failed = False
        while not self._stopping.wait(_TEND_SECONDS):
            try:
                self._ear.refresh()
                with self._hearing:
                    for arrival in self._ear.tend(self._say):
                        self._hand_over(arrival)
                if self._ear.filters() is not self._wanted:
                    self._subscribe()
            except EarStopped:
                return
            except Exception:  # the loop's edge
                self.counters.errors += 1
                if not failed:
                    log.exception("the listener cannot be tended")
                failed = True
            else:
                failed = False

    def _say(self, topic: str, payload: bytes) -> None:
        if self.is_connected:
            self._client.publish(topic, payload, qos=0)

    def _hand_over(self, arrival: Arrival) -> None:
        self.counters.readings += arrival.reading is not None
        for rejection in arrival.rejections:
            self.counters.rejections[rejection.reason] += 1
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


class _AfterAll:
    """Acknowledges a message that brought several arrivals when the last of them is committed."""

    def __init__(self, count: int, acknowledge: Callable[[], None]) -> None:
        self._left = count
        self._acknowledge = acknowledge
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._acknowledge()


def _packets(filters: Iterable[str]) -> list[tuple[str, ...]]:
    """Return filters in order, so many as are asked for at once."""
    ordered = sorted(filters)
    return [
        tuple(ordered[at : at + _FILTERS_A_PACKET])
        for at in range(0, len(ordered), _FILTERS_A_PACKET)
    ]


def _broken(error: Exception, at: datetime) -> Arrival:
    """Return what quarantines a message that a fault of ours kept from being understood."""
    detail = f"{type(error).__name__}: {error}"
    return Arrival(
        device_key="",
        received_at=at,
        source="mqtt",
        rejections=(Rejection(None, "", "error", detail),),
    )


def _broker_at(url: str) -> MqttAddress:
    """Return the broker of an URL without a topic; raise AddressInvalid."""
    address: Any = parse_address(f"{url.rstrip('/')}/+")
    if not isinstance(address, MqttAddress):
        raise AddressInvalid("a broker is mqtt://HOST:PORT or mqtts://HOST:PORT")
    return address
