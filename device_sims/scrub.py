"""Taking out of a recording what is somebody's own: names, places, serial numbers, addresses. Pure.

What was taken out keeps its form, letters as X and digits as 0, so that lengths and patterns that a
profile relies on stay. A person looks over the result before it is handed on.
"""

import json
import re
from collections.abc import Iterable, Mapping

from pysnmp.proto import rfc1902

from device_sims.snmp_agent import Oid, Untyped

OWN_OBJECTS: tuple[Oid, ...] = (
    (1, 3, 6, 1, 2, 1, 1, 4, 0),  # sysContact
    (1, 3, 6, 1, 2, 1, 1, 5, 0),  # sysName
    (1, 3, 6, 1, 2, 1, 1, 6, 0),  # sysLocation
)
"""Objects that hold what people wrote about this one unit."""

_SHORTEST_SECRET = 4
_OWN_KEY = re.compile(r"(?i)serial|location|contact|host|address|mac$|^sn$|user")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_HARDWARE = re.compile(r"(?i)(?<![0-9a-f])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f])")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def scrubbed_objects(
    objects: Mapping[Oid, Untyped], *, own: Iterable[Oid] = ()
) -> dict[Oid, Untyped]:
    """Return the objects of an agent without what is its owner's.

    `own` are further objects that hold such texts: where the family keeps its serial number. What
    stood in them is taken out wherever else it stands too.
    """
    places = {*OWN_OBJECTS, *own}
    secrets = [_text(objects[place]) for place in places if place in objects]
    return {oid: _scrubbed(value, secrets, oid in places) for oid, value in objects.items()}


def scrubbed_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without these words and without anything that looks like an address."""
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, masked(secret))
    for pattern in (_MAIL, _HARDWARE, _ADDRESS):
        text = pattern.sub(lambda found: masked(found[0]), text)
    return text


def scrubbed_payload(payload: bytes) -> bytes:
    """Return a published payload likewise: in JSON, what stands under an owner's key is masked."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return scrubbed_text(text).encode()
    if not isinstance(document, dict | list):
        return scrubbed_text(text).encode()
    return json.dumps(_scrubbed_json(document), ensure_ascii=False).encode()


def _scrubbed_json(value: Untyped, key: str = "") -> Untyped:
    if isinstance(value, dict):
        return {name: _scrubbed_json(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed_json(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    return masked(value) if _OWN_KEY.search(key) else scrubbed_text(value)


def masked(text: str) -> str:
    """Return a text of the same form that says nothing."""
    return "".join("0" if one.isdigit() else "X" if one.isalpha() else one for one in text)


def _scrubbed(value: Untyped, secrets: list[str], is_own: bool) -> Untyped:  # noqa: FBT001
    if isinstance(value, rfc1902.IpAddress):
        return rfc1902.IpAddress("192.0.2.1")
    if not isinstance(value, rfc1902.OctetString):
        return value
    text = _text(value)
    if not text:
        return value
    return rfc1902.OctetString((masked(text) if is_own else scrubbed_text(text, secrets)).encode())


def _text(value: Untyped) -> str:
    """Return the text of a string; nothing for what is no text."""
    if not isinstance(value, rfc1902.OctetString):
        return ""
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""
