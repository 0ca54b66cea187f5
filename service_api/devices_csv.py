"""Read a device list in CSV: every bad line named with its column, its reason and its cure. Pure.

Writing the devices to the database is `service_api.devices_import`.
"""

import csv
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from collector.address import (
    Address,
    AddressInvalid,
    Credentials,
    ModbusAddress,
    MqttAddress,
    SnmpAddress,
    parse_address,
)
from collector.directory import TopicUnusable, where_of
from collector.profile import profiles
from collector.store import WORKERS

REQUIRED = ("key", "name", "site", "customer", "address")
OPTIONAL = (
    "profile",
    "model",
    "serial",
    "installed_on",
    "battery_installed_on",
    "latitude",
    "longitude",
    "site_name",
    "site_name_zh",
    "customer_name",
    "customer_name_zh",
    "time_zone",
    "criticality",
    "poll_seconds",
    "warranty_until",
    "battery_chemistry",
    "battery_life_years",
    "service_center",
    "collector_group",
)
COLUMNS = (*REQUIRED, *OPTIONAL)

_OF_SITE = (
    "customer",
    "site_name",
    "site_name_zh",
    "latitude",
    "longitude",
    "time_zone",
    "service_center",
)
_OF_CUSTOMER = ("customer_name", "customer_name_zh")
_DEVICE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_LONGEST = 200
_LISTENED = "mqtt"
_OURS = frozenset({_LISTENED, WORKERS})
_TOPIC_ROOT = "ridethrough"


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One line of the list; None where a cell is empty or its column missing.

    `address` is without secrets; `credentials` are None when the address named none. `latitude`,
    `longitude` and `time_zone` are the site's.
    """

    line: int
    key: str
    name: str
    site: str
    customer: str
    protocol: str
    address: str
    credentials: Credentials | None = field(default=None, repr=False)
    profile: str | None = None
    model: str | None = None
    serial: str | None = None
    installed_on: date | None = None
    battery_installed_on: date | None = None
    latitude: float | None = None
    longitude: float | None = None
    site_name: str | None = None
    site_name_zh: str | None = None
    customer_name: str | None = None
    customer_name_zh: str | None = None
    time_zone: str | None = None
    criticality: str | None = None
    poll_seconds: float | None = None
    warranty_until: date | None = None
    battery_chemistry: str | None = None
    battery_life_years: float | None = None
    service_center: str | None = None
    collector_group: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one cell, line (`column` None) or the whole file (`line` 1)."""

    line: int
    column: str | None
    reason: str
    cure: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.column}" if self.column else "")
        return f"{where}: {self.reason}" + (f": {self.cure}" if self.cure else "")


class ImportInvalid(ValueError):
    """The list cannot be imported; `faults` names everything wrong, in the order of the lines."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("\n".join(map(str, self.faults)))


class _CellInvalid(ValueError):
    """One cell cannot be read: its reason and its cure."""

    def __init__(self, reason: str, cure: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.cure = cure


def read_devices(content: bytes | str, *, today: date) -> list[DeviceRow]:
    """Read a device list; raise `ImportInvalid` with every fault when there is any.

    Bytes are UTF-8 (with or without a byte order mark), UTF-16 with one, or GB18030, as
    spreadsheet programs write them; cells are parted by commas, semicolons or tabs.
    """
    text = _decoded(content) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    lines = _records(text)
    header_line, header = next(lines, (1, []))
    columns = _columns_of(header_line, header)
    faults: list[Fault] = []
    rows: list[DeviceRow] = []
    for line, cells in lines:
        row = _row_of(line, columns, cells, today, faults)
        if row is not None:
            rows.append(row)
    faults += _contradictions(rows)
    if not rows and not faults:
        faults.append(Fault(header_line, None, "no device follows the header", "add a line each"))
    if faults:
        raise ImportInvalid(faults)
    return rows


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ImportInvalid([Fault(1, None, "the file is neither UTF-8 nor GB18030", "save as UTF-8")])


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the stripped cells of each record that is not empty."""
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as problem:
        raise ImportInvalid(
            [Fault(line, None, f"no proper CSV ({problem})", "check its quotation marks")]
        ) from None


def _columns_of(line: int, header: list[str]) -> list[str]:
    names = [name.lower() for name in header]
    faults = []
    for name in dict.fromkeys(names):
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            cure = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            faults.append(Fault(line, name[:40] or None, "no such column", cure))
        elif names.count(name) > 1:
            faults.append(Fault(line, name, "the column stands twice", "keep one"))
    faults += [
        Fault(line, name, "the column is missing", f"needed are {', '.join(REQUIRED)}")
        for name in REQUIRED
        if name not in names
    ]
    if faults:
        raise ImportInvalid(faults)
    return names


def _row_of(
    line: int, columns: list[str], cells: list[str], today: date, faults: list[Fault]
) -> DeviceRow | None:
    """Return the row of a line, or None having added what is wrong with it."""
    if len(cells) != len(columns):
        reason = f"{len(cells)} cells where the header has {len(columns)}"
        faults.append(Fault(line, None, reason, "put cells that hold a comma in quotation marks"))
        return None
    found: dict[str, Any] = {}
    before = len(faults)
    for column, cell in zip(columns, cells, strict=True):
        if not cell:
            if column in REQUIRED:
                faults.append(Fault(line, column, "the cell is empty", "fill it in"))
            continue
        try:
            found[column] = _read_cell(column, cell, today)
        except _CellInvalid as invalid:
            faults.append(Fault(line, column, invalid.reason, invalid.cure))
    faults += (Fault(line, *fault) for fault in _disagreements(found))
    if len(faults) > before:
        return None
    url, address = found.pop("address")
    names_credentials = "@" in urlsplit(url).netloc
    return DeviceRow(
        line=line,
        protocol=_protocol_of(address),
        address=address.public,
        credentials=address.credentials if names_credentials else None,
        **found,
    )


def _read_cell(column: str, cell: str, today: date) -> Any:  # noqa: ANN401 - a cell's type is its column's
    if not cell.isprintable():
        raise _CellInvalid("the cell holds a line break or control character", "write plain text")
    read = _READERS.get(column)
    if read is not None:
        return read(cell)
    if column in ("installed_on", "battery_installed_on", "warranty_until"):
        day = _day(cell)
        if day > today and column != "warranty_until":
            raise _CellInvalid(f"{day} lies in the future", f"give a date up to {today}")
        return day
    if len(cell) > _LONGEST:
        raise _CellInvalid(f"{len(cell)} characters are too many", f"use at most {_LONGEST}")
    return cell


def _disagreements(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield column, reason and cure where the cells of one line do not fit each other."""
    if ("latitude" in found) != ("longitude" in found):
        empty = "longitude" if "latitude" in found else "latitude"
        yield empty, "a position needs both its numbers", "fill it in, or neither"
    _, address = found.get("address", ("", None))
    profile = profiles().get(found.get("profile", ""))
    if address is None:
        return
    group = found.get("collector_group")
    if isinstance(address, MqttAddress) and group not in (None, _LISTENED):
        yield "collector_group", "units that publish are heard by the center", "leave it empty"
    elif not isinstance(address, MqttAddress) and group in _OURS:
        yield "collector_group", f"{group} is for what is not polled", "choose another name"
    protocol = {"json": "mqtt"}.get(profile.protocol, profile.protocol) if profile else None
    if protocol not in (None, _protocol_of(address)):
        cure = f"leave it empty, or choose one for {_protocol_of(address)} from `profile list`"
        yield "profile", f"{found['profile']} is for {protocol} addresses", cure
    if isinstance(address, MqttAddress) and "key" in found:
        levels = address.topic.split("/")
        if levels[0] == _TOPIC_ROOT and found["key"] not in levels[2:]:
            cure = f"write …/{_TOPIC_ROOT}/v1/{found['key']}"
            yield "address", "the topic is of another device", cure
        try:
            where_of(address.topic)
        except TopicUnusable as unusable:
            reason, _, cure = str(unusable).partition(": ")
            yield "address", reason, cure


def _contradictions(rows: list[DeviceRow]) -> Iterator[Fault]:
    """Yield what one line says differently from an earlier one."""
    seen: dict[str, int] = {}
    told: dict[tuple[str, str, str], tuple[Any, int]] = {}
    for row in rows:
        earlier = seen.setdefault(row.key, row.line)
        if earlier != row.line:
            yield Fault(row.line, "key", f"{row.key} stands on line {earlier} already", "keep one")
        for noun, key, columns in (
            ("site", row.site, _OF_SITE),
            ("customer", row.customer, _OF_CUSTOMER),
        ):
            for column in columns:
                value = getattr(row, column)
                if value is None:
                    continue
                other, line = told.setdefault((noun, key, column), (value, row.line))
                if other != value:
                    reason = f"{noun} {key} has {column} {other} on line {line}, here {value}"
                    yield Fault(row.line, column, reason, f"say the same of one {noun}")


def _key(cell: str) -> str:
    if not _DEVICE_KEY.fullmatch(cell):
        raise _CellInvalid(
            f"{cell[:40]!r} is no key",
            "use up to 100 letters, digits, _ . : or -, beginning with a letter or digit",
        )
    return cell


def _group(cell: str) -> str:
    if not _DEVICE_KEY.fullmatch(cell):
        raise _CellInvalid(f"{cell[:40]!r} is no group", "use letters, digits, _ . : or -")
    return cell


def _address(cell: str) -> tuple[str, Address]:
    try:
        return cell, parse_address(cell)
    except AddressInvalid as invalid:
        raise _CellInvalid(str(invalid)) from None


def _profile(cell: str) -> str:
    known = profiles()
    if cell not in known:
        near = difflib.get_close_matches(cell, known, n=1)
        cure = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}, or leave"
        raise _CellInvalid(f"no profile is named {cell[:40]!r}", cure)
    return cell


def _day(cell: str) -> date:
    parts = _DATE.fullmatch(cell)
    try:
        return date(*map(int, parts.groups())) if parts else date.fromisoformat(cell)
    except ValueError:
        raise _CellInvalid(f"{cell[:40]!r} is no date", "write 2024-03-05") from None


def _between(low: float, high: float) -> Callable[[str], float]:
    def read(cell: str) -> float:
        try:
            number = float(cell)
        except ValueError:
            raise _CellInvalid(
                f"{cell[:40]!r} is no number", f"write {low:g} to {high:g}"
            ) from None
        if not low <= number <= high:
            raise _CellInvalid(f"{number:g} is out of range", f"write {low:g} to {high:g}")
        return number

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(cell: str) -> str:
        if cell.lower() not in words:
            raise _CellInvalid(f"{cell[:40]!r} is unknown", f"use one of {', '.join(words)}")
        return cell.lower()

    return read


def _time_zone(cell: str) -> str:
    if cell not in available_timezones():
        raise _CellInvalid(f"{cell[:40]!r} is no time zone", "write one such as Asia/Shanghai")
    return cell


_READERS: Mapping[str, Callable[[str], Any]] = {
    "key": _key,
    "collector_group": _group,
    "address": _address,
    "profile": _profile,
    "latitude": _between(-90, 90),
    "longitude": _between(-180, 180),
    "time_zone": _time_zone,
    "criticality": _one_of("normal", "high", "critical"),
    "poll_seconds": _between(1, 86_400),
    "battery_chemistry": _one_of("vrla", "li-ion"),
    "battery_life_years": _between(0.5, 30),
}


def _protocol_of(address: Address) -> str:
    match address:
        case SnmpAddress():
            return "snmp"
        case ModbusAddress():
            return "modbus"
        case MqttAddress():
            return "mqtt"
