"""Message logs: what was published, read, written and published again in its old rhythm.

A log is a text file, `NAME.jsonl`: one JSON object a line, a line that begins with `#` is a
comment.

- `topic`: without wildcards.
- `payload`: a text as it is, any other JSON value as JSON, null as an empty payload; or
  `payload_base64`: bytes.
- `after`: seconds after the line before, by default 0; or `offset`: seconds after the beginning.
- `retain`: by default false. `qos`: 0 or 1, by default 1.

Every fault is a RecordingInvalid that names the line.
"""

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_sims.mqtt_publisher import Broker, MqttLink
from device_sims.recordings import RecordingInvalid, lines_of

_KEYS = frozenset({"topic", "payload", "payload_base64", "after", "offset", "retain", "qos"})
_LARGEST_TOPIC = 65_535
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """One recorded MQTT message; `offset` is in seconds after the beginning."""

    offset: float
    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


def read_messages(path: Path) -> list[Message]:
    """Read a message log, in the order of its times."""
    messages: list[Message] = []
    at = 0.0
    for number, line in lines_of(path):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise RecordingInvalid(number, f"not JSON: {problem}") from problem
        message = _message(item, number, at)
        at = message.offset
        messages.append(message)
    if not messages:
        raise RecordingInvalid(1, "the recording holds no message")
    return sorted(messages, key=lambda message: message.offset)


def write_messages(path: Path, messages: Iterable[Message]) -> None:
    """Write a message log that `read_messages` reads to the same; times to the millisecond."""
    lines = []
    at = 0.0
    for message in sorted(messages, key=lambda message: message.offset):
        item: dict[str, object] = {"after": round(message.offset - at, 3), "topic": message.topic}
        at += round(message.offset - at, 3)
        try:
            item["payload"] = message.payload.decode()
        except UnicodeDecodeError:
            item["payload_base64"] = base64.b64encode(message.payload).decode()
        if message.retain:
            item["retain"] = True
        if message.qos != 1:
            item["qos"] = message.qos
        lines.append(json.dumps(item, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


async def publish_messages(
    messages: Sequence[Message], broker: Broker, *, speed: float = 1.0, again: bool = False
) -> None:
    """Publish messages at `speed` times their rhythm; with `again`, over and over.

    Raises LinkLost when the broker is not there or goes.
    """
    loop = asyncio.get_running_loop()
    async with MqttLink(f"replay-{os.getpid()}", broker) as link:
        while True:
            start = loop.time()
            for message in messages:
                await asyncio.sleep(max(start + message.offset / speed - loop.time(), 0.0))
                await link.publish(
                    message.topic, message.payload, retain=message.retain, qos=message.qos
                )
            if not again:
                return
            await asyncio.sleep(_PAUSE_SECONDS / speed)


def _message(item: object, number: int, before: float) -> Message:
    if not isinstance(item, dict) or "topic" not in item:
        raise RecordingInvalid(number, "a line is an object with topic, payload and after")
    unknown = sorted(item.keys() - _KEYS)
    if unknown:
        raise RecordingInvalid(number, f"unknown key {unknown[0]!r}")
    topic, qos, retain = item["topic"], item.get("qos", 1), item.get("retain", False)
    if not isinstance(topic, str) or not topic or {"+", "#", "\0"} & set(topic):
        raise RecordingInvalid(number, "topic is a text without wildcards")
    if len(topic.encode("utf-8", "replace")) > _LARGEST_TOPIC:
        raise RecordingInvalid(number, "topic is longer than 65535 bytes")
    if isinstance(qos, bool) or qos not in (0, 1):
        raise RecordingInvalid(number, "qos is 0 or 1")
    if not isinstance(retain, bool):
        raise RecordingInvalid(number, "retain is true or false")
    return Message(_offset(item, number, before), topic, _payload(item, number), retain, qos)


def _offset(item: Mapping[str, object], number: int, before: float) -> float:
    if "after" in item and "offset" in item:
        raise RecordingInvalid(number, "give after or offset, not both")
    name = "offset" if "offset" in item else "after"
    seconds = item.get(name, 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise RecordingInvalid(number, f"{name} is a number of seconds, not negative")
    if seconds > 86_400 * 366:
        raise RecordingInvalid(number, f"{name} is more than a year")
    return float(seconds) if name == "offset" else before + seconds


def _payload(item: Mapping[str, object], number: int) -> bytes:
    if ("payload" in item) == ("payload_base64" in item):
        raise RecordingInvalid(number, "give payload or payload_base64, one of them")
    if "payload_base64" in item:
        try:
            return base64.b64decode(str(item["payload_base64"]), validate=True)
        except binascii.Error as problem:
            raise RecordingInvalid(number, f"payload_base64 is not base64: {problem}") from problem
    payload = item["payload"]
    if payload is None:
        return b""
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return text.encode("utf-8", "replace")
