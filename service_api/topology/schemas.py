"""The topology of a site as it is told, sent and imported; and what is wrong with one. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from service_api.paging import Form, Strict

Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
Name: TypeAlias = Annotated[str, Field(max_length=200)]
Kilowatts: TypeAlias = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
MOST = 2_000
"""So many entries of a kind; a site has a few."""


class Node(Strict):
    """Something with a key of its own at the site; without a name it is called by its key."""

    key: Key
    name: Name = ""
    name_zh: Name = ""


class Feeder(Node):
    """A utility feed; sites whose feeders name the same substation fail together."""

    substation: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Generator(Node):
    """A generator and what it can give."""

    kilowatts: Kilowatts | None = None


class TransferSwitch(Node):
    """A transfer switch: which feeder or generator it prefers, and what it falls back on."""

    switch_type: Literal["ATS", "STS"] = "ATS"
    preferred: Key | None = None
    alternate: Key | None = None


class ParallelGroup(Node):
    """Units that carry one load together."""

    redundancy: Literal["N", "N+1", "2N"] = "N"


class SiteLoad(Node):
    """What lives on the units."""

    kilowatts: Kilowatts | None = None
    criticality: Literal["normal", "high", "critical"] = "normal"


class Room(Node):
    """A room with an air conditioning of its own."""


class NetworkPath(Node):
    """A gateway or switch that units are reached through."""


class UnitPlace(Strict):
    """On what a unit hangs, by its device key; nothing given is not known."""

    unit: Key
    feeder: Key | None = None
    switch: Key | None = None
    group: Key | None = None
    load: Key | None = None
    room: Key | None = None
    path: Key | None = None


class Topology(Strict):
    """The whole topology of one site."""

    feeders: Annotated[list[Feeder], Field(default_factory=list, max_length=MOST)]
    generators: Annotated[list[Generator], Field(default_factory=list, max_length=MOST)]
    switches: Annotated[list[TransferSwitch], Field(default_factory=list, max_length=MOST)]
    groups: Annotated[list[ParallelGroup], Field(default_factory=list, max_length=MOST)]
    loads: Annotated[list[SiteLoad], Field(default_factory=list, max_length=MOST)]
    rooms: Annotated[list[Room], Field(default_factory=list, max_length=MOST)]
    paths: Annotated[list[NetworkPath], Field(default_factory=list, max_length=MOST)]
    units: Annotated[list[UnitPlace], Field(default_factory=list, max_length=20_000)]

    def nodes(self) -> Iterator[tuple[str, str, int, Node]]:
        """Yield (kind, its list, place in it, node)."""
        for kind, name in LISTS.items():
            for place, node in enumerate(getattr(self, name)):
                yield kind, name, place, node


LISTS: dict[str, str] = {
    "feeder": "feeders",
    "generator": "generators",
    "switch": "switches",
    "group": "groups",
    "load": "loads",
    "room": "rooms",
    "path": "paths",
}
"""Kind → its list in a `Topology`."""

HANGS_ON = ("feeder", "switch", "group", "load", "room", "path")
"""What a unit may hang on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one entry: the list, the place in it, the field, a sentence."""

    list_: str
    place: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.list_}[{self.place}].{self.field}: {self.message}"


def faults_of(topology: Topology) -> list[Fault]:
    """Return what does not fit together, in order; units and sites are looked up elsewhere."""
    found: list[Fault] = []
    keys: dict[str, set[str]] = {kind: set() for kind in LISTS}
    for kind, list_, place, node in topology.nodes():
        if node.key in keys[kind]:
            found.append(Fault(list_, place, "key", f"{node.key} stands there twice"))
        elif kind == "generator" and node.key in keys["feeder"]:
            found.append(Fault(list_, place, "key", f"{node.key} is a feeder's key too"))
        keys[kind].add(node.key)
    return (
        found
        + _of_switches(topology, keys["feeder"] | keys["generator"])
        + _of_units(topology, keys)
    )


def _of_switches(topology: Topology, sources: set[str]) -> list[Fault]:
    found = []
    for place, switch in enumerate(topology.switches):
        for field in ("preferred", "alternate"):
            key = getattr(switch, field)
            if key is not None and key not in sources:
                found.append(
                    Fault("switches", place, field, f"there is no feeder or generator {key}")
                )
        if switch.preferred is not None and switch.preferred == switch.alternate:
            found.append(Fault("switches", place, "alternate", "is the preferred one too"))
    return found


def _of_units(topology: Topology, keys: dict[str, set[str]]) -> list[Fault]:
    found = []
    seen: set[str] = set()
    for place, unit in enumerate(topology.units):
        if unit.unit in seen:
            found.append(Fault("units", place, "unit", f"{unit.unit} stands there twice"))
        seen.add(unit.unit)
        for field in HANGS_ON:
            key = getattr(unit, field)
            if key is not None and key not in keys[field]:
                found.append(Fault("units", place, field, f"there is no {field} {key}"))
    return found


@dataclass(frozen=True, slots=True)
class TopologyChange:
    """One change of a site's topology."""

    id: int
    at: datetime
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


class TopologyForm(Form):
    """What the page sends: CSV or JSON, pasted."""

    text: Annotated[str, Field(max_length=2_000_000)]
    reason: Annotated[str, Field(max_length=500)] = ""
