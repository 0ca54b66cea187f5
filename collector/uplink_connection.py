"""One connection of an uplink to its broker: what it says, and what the broker acknowledged.

When it is lost another one is made, which begins anew; nothing is queued in between.
"""

import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from collector.address import MqttAddress
from collector.uplink_wire import collector_topic

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 15
CONNECT_SECONDS = 10.0

_QOS = 1


class Connection:
    """One connection to the broker, from `open` to `close`; what it knew ends with it."""

    def __init__(
        self,
        broker: MqttAddress,
        name: str,
        wake: threading.Event,
        hear: Callable[[str, bytes], None],
        *,
        is_v5: bool,
    ) -> None:
        self.acknowledged: deque[tuple[int, int]] = deque()
        self.failure: str | None = None
        self.receive_maximum = 65_535
        self._broker = broker
        self._name = name
        self._wake = wake
        self._hear = hear
        self._answered = threading.Event()
        self._lost = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            f"ridethrough-uplink-{name}",
            clean_session=None if is_v5 else True,
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,  # a new connection begins with the oldest message
        )
        self._client.max_inflight_messages_set(0)  # ours is the bound
        self._is_v5 = is_v5

    @property
    def is_lost(self) -> bool:
        """The connection has ended."""
        return self._lost.is_set()

    def open(self, tls: ssl.SSLContext | None) -> bool:
        """Connect; false when the broker refuses, raises OSError when it cannot be reached."""
        client, secret = self._client, self._broker.credentials
        if secret.user:
            client.username_pw_set(secret.user, secret.password or None)
        if self._broker.tls:
            client.tls_set_context(tls or ssl.create_default_context())
        client.will_set(self._topic("availability"), b"offline", qos=_QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.connect_timeout = CONNECT_SECONDS
        clean: Any = True if self._is_v5 else mqtt.MQTT_CLEAN_START_FIRST_ONLY
        client.connect(self._broker.host, self._broker.port, KEEPALIVE_SECONDS, clean_start=clean)
        client.loop_start()
        if not self._answered.wait(CONNECT_SECONDS):
            self.failure = "does not answer"
        return self.failure is None

    def publish(self, topic: str, payload: bytes) -> int | None:
        """Send with QoS 1; return the message's number, None when the connection is lost."""
        sent = self._client.publish(topic, payload, qos=_QOS)
        if sent.rc != mqtt.MQTT_ERR_SUCCESS:
            self.lose("is lost")
            return None
        return sent.mid

    def say(self, topic: str, payload: str) -> None:
        """Send with QoS 0: now or never."""
        self._client.publish(topic, payload, qos=0)

    def lose(self, why: str) -> None:
        """Give the connection up."""
        self.failure = self.failure or why
        self._lost.set()
        self._wake.set()

    def close(self) -> None:
        """Take leave, if anybody is there to hear it, and end the thread."""
        if self._client.is_connected():
            left = self._client.publish(
                self._topic("availability"), b"offline", qos=_QOS, retain=True
            )
            try:
                left.wait_for_publish(1.0)
            except (RuntimeError, ValueError):
                log.debug("the broker was gone before we took leave")
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, kind: str) -> str:
        return collector_topic(self._name, kind)

    def _on_connect(
        self,
        client: mqtt.Client,
        _: object,
        __: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.lose(f"refuses us: {reason}")
        else:
            # One is for our availability.
            self.receive_maximum = max(1, getattr(properties, "ReceiveMaximum", 65_535) - 1)
            client.publish(self._topic("availability"), b"online", qos=_QOS, retain=True)
            client.subscribe([(self._topic("clock"), 0), (self._topic("devices"), 0)])
        self._answered.set()

    def _on_message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        try:
            self._hear(kind, bytes(message.payload))
        except Exception:  # the loop's edge: raising would end the network thread
            log.exception("what the center says under %s cannot be taken in", kind)

    def _on_disconnect(
        self,
        _: mqtt.Client,
        __: object,
        ___: mqtt.DisconnectFlags,
        reason: ReasonCode,
        ____: Properties | None,
    ) -> None:
        self.lose(f"is lost: {reason}")
        self._answered.set()

    def _on_publish(
        self, _: mqtt.Client, __: object, mid: int, reason: ReasonCode, ___: Properties
    ) -> None:
        # Under a lock of the library's: only noted here, and taken in by the sending thread.
        self.acknowledged.append((mid, reason.value))
        self._wake.set()
