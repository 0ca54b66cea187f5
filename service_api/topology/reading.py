"""Read topologies from a file, CSV or JSON; every fault named with its line or place. Pure.

CSV has one line a thing: `site,kind,key` and the columns that its kind has; kind `unit` hangs a
unit, by its device key, on the others. JSON is one site's topology with its `site`, or a list of
such. Writing them is `topology.operations`.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from pydantic import ValidationError

from service_api.topology.schemas import HANGS_ON, LISTS, MOST, Fault, Topology, faults_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "feeder": ("name", "name_zh", "substation"),
    "generator": ("name", "name_zh", "kilowatts"),
    "switch": ("name", "name_zh", "switch_type", "preferred", "alternate"),
    "group": ("name", "name_zh", "redundancy"),
    "load": ("name", "name_zh", "kilowatts", "criticality"),
    "room": ("name", "name_zh"),
    "path": ("name", "name_zh"),
    "unit": HANGS_ON,
}
"""Kind → the columns that it may fill."""

_KNOWN = {"site", "kind", "key", *(name for names in COLUMNS.values() for name in names)}
LARGEST = 10_000_000


class TopologyInvalid(Exception):
    """A file cannot be used; `faults` has a sentence each, with line or place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults[:5]))
        self.faults = faults


@dataclass(slots=True)
class SiteFile:
    """One site of a file; `lines` says where an entry of a list stood, None in JSON."""

    site: str
    topology: Topology
    lines: dict[tuple[str, int], int] | None = None

    def where(self, fault: Fault) -> str:
        """Return a fault with its line, or with its place in the file."""
        if self.lines is None:
            return f"site {self.site}, {fault}"
        line = self.lines.get((fault.list_, fault.place), 1)
        column = "key" if fault.field == "unit" else fault.field
        return f"line {line}, column {column}: {fault.message}"


def read_topologies(content: bytes | str, *, site: str | None = None) -> list[SiteFile]:
    """Read the sites of a file; raise `TopologyInvalid` naming everything that is wrong.

    `site`: whose topology JSON is that does not say so itself.
    """
    if len(content) > LARGEST:
        raise TopologyInvalid([f"the file is larger than {LARGEST // 1_000_000} MB"])
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TopologyInvalid([f"is not UTF-8 (byte {error.start})"]) from error
    else:
        text = content.removeprefix("\ufeff")
    if not text.strip():
        raise TopologyInvalid(["the file is empty"])
    sites = _from_json(text, site) if text.lstrip()[0] in "[{" else _from_csv(text)
    faults = [one.where(fault) for one in sites for fault in faults_of(one.topology)]
    if faults:
        raise TopologyInvalid(faults)
    return sites


def _from_json(text: str, otherwise: str | None) -> list[SiteFile]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise TopologyInvalid(
            [f"line {error.lineno}, column {error.colno}: {error.msg}"]
        ) from error
    except RecursionError as error:
        raise TopologyInvalid(["is nested too deeply"]) from error
    documents = content if isinstance(content, list) else [content]
    faults: list[str] = []
    sites: list[SiteFile] = []
    for place, document in enumerate(documents):
        site = document.get("site", otherwise) if isinstance(document, dict) else None
        if not isinstance(site, str):
            faults.append(f"[{place}]: is not a topology with its site")
            continue
        if any(one.site == site for one in sites):
            faults.append(f"[{place}].site: {site} stands there twice")
        rest = {key: value for key, value in document.items() if key != "site"}
        try:
            sites.append(SiteFile(site, Topology.model_validate(rest)))
        except ValidationError as error:
            faults += [f"site {site}, {_path(one['loc'])}: {one['msg']}" for one in error.errors()]
    if faults:
        raise TopologyInvalid(faults)
    return sites


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


@dataclass(slots=True)
class _Draft:
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    lines: dict[tuple[str, int], int] = field(default_factory=dict)


def _from_csv(text: str) -> list[SiteFile]:
    drafts, faults = _drafts(text)
    sites = []
    for site, draft in drafts.items():
        try:
            topology = Topology.model_validate(dict(draft.lists))
        except ValidationError as error:
            faults += [_of_line(one["loc"], one["msg"], draft) for one in error.errors()]
        else:
            sites.append(SiteFile(site, topology, draft.lines))
    if faults:
        raise TopologyInvalid(faults)
    if not sites:
        raise TopologyInvalid(["the file has no lines but the first"])
    return sites


def _drafts(text: str) -> tuple[dict[str, _Draft], list[str]]:
    """Return the entries of each site, not yet checked, and what is wrong with lines."""
    reader = csv.DictReader(StringIO(text), restkey="", strict=True)
    faults: list[str] = []
    drafts: dict[str, _Draft] = defaultdict(_Draft)
    try:
        reader.fieldnames = _columns(reader.fieldnames or ())
        for row in reader:
            line = reader.line_num
            if "" in row:
                faults.append(f"line {line}: more cells than columns")
                continue
            cells = {name: (value or "").strip() for name, value in row.items()}
            if filled := {name: value for name, value in cells.items() if value}:
                faults += _take(filled, line, drafts)
    except csv.Error as error:
        raise TopologyInvalid([f"line {reader.reader.line_num}: {error}"]) from error
    return drafts, faults


def _columns(names: Sequence[str | None]) -> list[str]:
    named = [(name or "").strip() for name in names]
    told = [f"there is no column {name}" for name in ("site", "kind", "key") if name not in named]
    told += [f"unknown column {name or 'without a name'}" for name in named if name not in _KNOWN]
    told += [f"column {name} stands there twice" for name in _KNOWN if named.count(name) > 1]
    if told:
        raise TopologyInvalid([f"line 1: {one}" for one in told])
    return named


def _take(filled: dict[str, str], line: int, drafts: dict[str, _Draft]) -> list[str]:
    """Put one line where it belongs; returns what is wrong with it."""
    faults = [
        f"line {line}, column {name}: is empty"
        for name in ("site", "kind", "key")
        if name not in filled
    ]
    if faults:
        return faults
    kind = filled["kind"]
    if kind not in COLUMNS:
        return [f"line {line}, column kind: {kind!r} is none of {', '.join(COLUMNS)}"]
    extra = sorted(filled.keys() - {"site", "kind", "key", *COLUMNS[kind]})
    if extra:
        return [f"line {line}, column {name}: a {kind} has no {name}" for name in extra]
    list_ = LISTS.get(kind, "units")
    draft = drafts[filled["site"]]
    if kind != "unit" and len(draft.lists[list_]) == MOST:
        return [f"line {line}: more than {MOST} entries of kind {kind}"]
    entry: dict[str, Any] = {name: filled[name] for name in COLUMNS[kind] if name in filled}
    entry["unit" if kind == "unit" else "key"] = filled["key"]
    draft.lines[list_, len(draft.lists[list_])] = line
    draft.lists[list_].append(entry)
    return []


def _of_line(location: tuple[int | str, ...], message: str, draft: _Draft) -> str:
    match location:
        case (str(list_), int(place), str(column), *_):
            line = draft.lines.get((list_, place), 1)
            return f"line {line}, column {'key' if column == 'unit' else column}: {message}"
        case _:
            return f"{_path(location)}: {message}"
