"""Which alarms share a cause, which sites share a failure, and what an incident says of itself.

Pure. One open incident for a (subject, cause) is the database's unique index, not this module;
reading and writing is in `rules.incident_store` and `rules.regroup`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

MAINS_FAILURE = "mains_failure"
SUPPLY_FAILURE = "supply_failure"
OVER_TEMPERATURE = "over_temperature"
COMMUNICATION_LOST = "communication_lost"
COLLECTOR_DOWN = "collector_down"
NO_DATA = "no_data"

CAUSES: dict[str, tuple[str, str]] = {
    MAINS_FAILURE: ("Mains failure", "市电中断"),
    SUPPLY_FAILURE: ("Regional mains failure", "区域性市电中断"),
    OVER_TEMPERATURE: ("Over-temperature", "温度过高"),
    COMMUNICATION_LOST: ("Communication lost", "通信中断"),
    COLLECTOR_DOWN: ("Collector down: its units are out of sight", "采集器离线：所辖设备不可见"),
    NO_DATA: ("No data: nothing has been stored for minutes", "无数据：数分钟内未存储任何读数"),
}
"""Cause → title (en, zh)."""

WHOLE_FLEET = "fleet"
"""The subject of what strikes everything that this service watches."""

FOLLOWS_BEFORE = timedelta(minutes=5)
"""A unit may fall silent so long before its site's mains failure is known (judgement: the alarm
needs 60 s, and a unit is asked every 30 s, ever more rarely while it does not answer)."""

REOPENS_WITHIN = timedelta(minutes=10)
"""The same cause so soon after its end is the same case: mains that flaps is one incident."""


def site_subject(site_id: int) -> str:
    """Return the subject of causes that strike a whole site."""
    return f"site:{site_id}"


def room_subject(room_id: int) -> str:
    """Return the subject of what strikes the units of a room."""
    return f"room:{room_id}"


def path_subject(path_id: int) -> str:
    """Return the subject of what strikes the units behind a gateway or switch."""
    return f"path:{path_id}"


def substation_subject(name: str) -> str:
    """Return the subject of what strikes the sites that one substation feeds."""
    return f"substation:{substation_key(name)}"


def substation_key(name: str) -> str:
    """Return a substation's name as sites of different customers may have written it."""
    return " ".join(name.split()).casefold()


def collector_group_subject(name: str) -> str:
    """Return the subject of a collector group that nobody serves."""
    return f"collector_group:{name}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit stands; None: not entered."""

    site_id: int
    room_id: int | None = None
    path_id: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A mains failure of one site; `closed_at` None: it lasts."""

    incident_id: int
    site_id: int
    opened_at: datetime
    closed_at: datetime | None


EvidenceKind: TypeAlias = Literal["site", "room", "path", "mains", "substation", "hand"]
"""By what something belongs: the same site, room or path; mains that failed there first; the same
substation; a person's word."""


@dataclass(frozen=True, slots=True)
class Home:
    """The incident that an alarm belongs to; `incident_id` where it is a certain one."""

    subject: str
    cause: str
    evidence: EvidenceKind
    incident_id: int | None = None


def home(
    place: Place,
    *,
    cause: str | None,
    follows: Iterable[str],
    began_at: datetime,
    failures: Sequence[Failure],
) -> Home | None:
    """Return where an alarm belongs, None when it shares its cause with nothing.

    1. What follows from failing mains and began while mains was away at its site (a unit falls
       silent with its switch, an output goes off) belongs to that failure.
    2. Silence belongs to the network path, heat to the room, everything else to the site. The site
       stands for a path that was not entered; heat without a room is the unit's own.
    """
    if MAINS_FAILURE in follows:
        fitting = [
            one
            for one in failures
            if one.site_id == place.site_id
            and one.opened_at - FOLLOWS_BEFORE <= began_at
            and (one.closed_at is None or began_at <= one.closed_at)
        ]
        if fitting:
            first = max(fitting, key=lambda one: (one.opened_at, one.incident_id))
            return Home(site_subject(place.site_id), MAINS_FAILURE, "mains", first.incident_id)
    if cause is None:
        return None
    if cause == COMMUNICATION_LOST and place.path_id is not None:
        return Home(path_subject(place.path_id), cause, "path")
    if cause == OVER_TEMPERATURE:
        return None if place.room_id is None else Home(room_subject(place.room_id), cause, "room")
    return Home(site_subject(place.site_id), cause, "site")


@dataclass(frozen=True, slots=True)
class Struck:
    """A mains failure of one site with the substations that its units hang on."""

    failure: Failure
    substations: Mapping[str, int]
    """Substation → how many of its units hang on it."""


@dataclass(frozen=True, slots=True)
class Region:
    """Sites that one substation feeds and that lost mains together."""

    substation: str
    incident_ids: tuple[int, ...]
    opened_at: datetime


def regions(
    struck: Sequence[Struck],
    *,
    standing: Mapping[str, datetime],
    released: frozenset[tuple[int, str]],
    sites: int,
    within: timedelta,
) -> list[Region]:
    """Return which failures of sites are one failure of the region.

    `standing` names the substations that have a regional incident already, with its beginning;
    `released` what people took out of one (incident, substation): it stays out. A new one needs
    `sites` sites, each failing within `within` of the one before it, in whatever order they became
    known. A site whose units hang on several substations counts where most of them do.
    """
    by_substation: dict[str, list[Failure]] = defaultdict(list)
    for one in struck:
        open_to = {
            name: units
            for name, units in one.substations.items()
            if (one.failure.incident_id, name) not in released
        }
        if open_to:
            most = min(open_to, key=lambda name: (-open_to[name], name))
            by_substation[most].append(one.failure)
    found = []
    for substation, failures in sorted(by_substation.items()):
        failures.sort(key=lambda one: (one.opened_at, one.incident_id))
        for run in _runs(failures, within):
            known = standing.get(substation)
            joins = known is not None and run[-1].opened_at >= known - within
            is_live = any(one.closed_at is None for one in run)
            if joins or (is_live and len({one.site_id for one in run}) >= sites):
                found.append(
                    Region(substation, tuple(one.incident_id for one in run), run[0].opened_at)
                )
    return found


def _runs(failures: Sequence[Failure], within: timedelta) -> list[list[Failure]]:
    """Part failures, in order of time, where more than `within` passed without one."""
    runs: list[list[Failure]] = []
    for one in failures:
        if runs and one.opened_at - runs[-1][-1].opened_at <= within:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


@dataclass(frozen=True, slots=True)
class Extent:
    """How far an incident reaches at this moment.

    `units` stand in it, `peers` could (the units of its room, behind its path, at its site), `back`
    are over already; `place` is the name (en, zh) of the room, path or substation, if it is one.
    """

    cause: str
    subject: str
    units: int
    peers: int | None = None
    back: int = 0
    sites: int = 1
    place: tuple[str, str] | None = None


def statement(extent: Extent) -> tuple[str, str]:
    """Say in a sentence (en, zh) what the incident is taken for, and by what."""
    if extent.cause == SUPPLY_FAILURE:
        if extent.place is None:
            return (
                f"{extent.sites} sites lost mains; a person put them together.",
                f"{extent.sites} 个站点市电中断，由人工归并。",
            )
        en, zh = extent.place
        return (
            f"{extent.sites} sites fed by {en} lost mains together: the supply, not the sites.",
            f"由{zh}供电的 {extent.sites} 个站点同时市电中断：问题在上级供电，而非站点。",
        )
    if extent.cause == MAINS_FAILURE:
        return _of_mains(extent)
    if extent.cause == COMMUNICATION_LOST:
        return _of_silence(extent)
    if extent.cause == OVER_TEMPERATURE:
        return _of_heat(extent)
    return CAUSES.get(extent.cause, (extent.cause, extent.cause))


def _of_mains(extent: Extent) -> tuple[str, str]:
    n, back = extent.units, extent.back
    if n and back:
        return (
            f"Mains is back for {back} units; {n} have not come back.",
            f"{back} 台设备市电已恢复，{n} 台尚未恢复。",
        )
    if back:
        return (f"Mains is back for all {back} units.", f"{back} 台设备市电均已恢复。")
    return (
        f"{n} of {extent.peers} units of the site are without mains.",
        f"该站点 {extent.peers} 台设备中有 {n} 台市电中断。",
    )


def _of_silence(extent: Extent) -> tuple[str, str]:
    n, peers = extent.units, extent.peers
    if extent.place is None:
        return (
            f"{n} of {peers} units of the site are silent.",
            f"该站点 {peers} 台设备中有 {n} 台失联。",
        )
    en, zh = extent.place
    if n > 1:
        return (
            f"{n} of {peers} units behind {en} are silent: look at it before the units.",
            f"{zh}下的 {peers} 台设备中有 {n} 台失联：先检查该通路，再检查设备。",
        )
    return (
        f"{n} of {peers} units behind {en} is silent: the unit or its card.",
        f"{zh}下的 {peers} 台设备中有 {n} 台失联：可能是设备或其网卡。",
    )


def _of_heat(extent: Extent) -> tuple[str, str]:
    n, peers = extent.units, extent.peers
    en, zh = extent.place or ("the room", "机房")
    if n > 1:
        return (
            f"{n} of {peers} units in {en} are too hot: the air conditioning, not the units.",
            f"{zh}的 {peers} 台设备中有 {n} 台过热：问题在空调，而非设备。",
        )
    return (
        f"{n} of {peers} units in {en} is too hot: the unit, if its neighbors stay cool.",
        f"{zh}的 {peers} 台设备中有 {n} 台过热：若相邻设备正常，则为设备自身问题。",
    )
