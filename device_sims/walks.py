"""What `snmpwalk -On` printed, read as a recording; every fault names its line.

Read are the usual forms, `OID = TYPE: value`, with numeric object identifiers; a text that goes on
in the next line, units behind a number and words before one (`INTEGER: normal(1)`) are understood.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from pysnmp.proto import rfc1902

from device_sims.recordings import RecordingInvalid
from device_sims.snmp_agent import Oid, Table, Untyped, oid_of

_LINE = re.compile(r"\.?(?P<oid>[0-2](?:\.\d{1,10})+) = (?P<rest>.*)", re.DOTALL)
_NUMBER = re.compile(r"\(?(-?\d+)\)?|[^(]*\((-?\d+)\)")
_NOTHING = ("No Such Object", "No Such Instance", "No more variables", "NULL")


def read_walk(path: Path) -> Table:
    """Read the output of `snmpwalk -On`; lines may stand in any order, the first of two counts."""
    values: dict[Oid, Untyped] = {}
    for number, oid, rest in _entries(path):
        if rest.startswith(_NOTHING):
            continue
        kind, separator, text = rest.partition(": ")
        if rest == '""' or not separator:
            kind, text = "STRING", rest
        make = _TYPES.get(kind)
        if make is None:
            raise RecordingInvalid(number, f"unknown type {kind!r}: use one of {', '.join(_TYPES)}")
        try:
            value = make(text)
        except (ValueError, rfc1902.error.PyAsn1Error) as problem:
            raise RecordingInvalid(number, f"{text[:60]!r} is no {kind}") from problem
        values.setdefault(oid_of(oid), value)
    if not values:
        raise RecordingInvalid(
            1, "no line is like .1.3.6.1.2.1.1.1.0 = STRING: …: use snmpwalk -On"
        )
    return Table.of(values)


def _entries(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, object and the rest of each entry, lines that go on put together."""
    begun: tuple[int, str, str] | None = None
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            if begun is None and line.strip():
                raise RecordingInvalid(number, "a line is .OID = TYPE: value: use snmpwalk -On")
            if begun is not None:
                begun = (begun[0], begun[1], f"{begun[2]}\n{line}")
            continue
        if begun is not None:
            yield begun
        begun = number, found["oid"], found["rest"]
    if begun is not None:
        yield begun


def _number(text: str) -> int:
    found = _NUMBER.match(text.strip())
    if found is None:
        raise ValueError(text)
    return int(found[1] or found[2])


def _string(text: str) -> Untyped:
    text = text.rstrip("\n")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return rfc1902.OctetString(text.encode("utf-8", "surrogateescape"))


def _hex(text: str) -> Untyped:
    return rfc1902.OctetString(bytes.fromhex(text.replace("\n", " ").strip()))


def _ticks(text: str) -> Untyped:
    return rfc1902.TimeTicks(_number(text))


_TYPES: Mapping[str, Callable[[str], Untyped]] = {
    "INTEGER": lambda text: rfc1902.Integer32(_number(text)),
    "STRING": _string,
    "Hex-STRING": _hex,
    "BITS": lambda text: _hex(re.match(r"[0-9A-Fa-f \n]*", text)[0]),  # type: ignore[index] # it may be empty, but matches
    "OID": lambda text: rfc1902.ObjectIdentifier(oid_of(text.strip())),
    "IpAddress": lambda text: rfc1902.IpAddress(IPv4Address(text.strip()).packed),
    "Network Address": lambda text: rfc1902.IpAddress(bytes.fromhex(text.replace(":", ""))),
    "Timeticks": _ticks,
    "Counter32": lambda text: rfc1902.Counter32(_number(text)),
    "Gauge32": lambda text: rfc1902.Gauge32(_number(text)),
    "Unsigned32": lambda text: rfc1902.Gauge32(_number(text)),
    "UInteger32": lambda text: rfc1902.Gauge32(_number(text)),
    "Counter64": lambda text: rfc1902.Counter64(_number(text)),
    "Opaque": lambda text: rfc1902.Opaque(text.encode()),
}
