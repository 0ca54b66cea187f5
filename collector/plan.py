"""Plans: a profile compiled for one device, ready to ask and to decode fast.

What is compiled in: the phases, and what to leave out because the card lacks it. A plan is
immutable and shared by all devices alike; values are converted in `collector.convert`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import NamedTuple

from collector.form import Mark, Number, Place, Profile, State, expand, without_context
from collector.profile import absolute
from collector.raw import Habits, RawValue, Ref, Registers, Walk
from rules.facts import Rejection, Value
from rules.points import BY_NAME, Pace, column_of

_WIDTHS = {"u32": 2, "s32": 2}


@dataclass(frozen=True, slots=True)
class Phases:
    """Lines of input, output and bypass; 1 is a single-phase side."""

    input: int = 1
    output: int = 1
    bypass: int = 1


@dataclass(frozen=True, slots=True)
class NumberStep:
    """How one raw value becomes one number; `key` is the column, or the name of an extra."""

    ref: Ref
    key: str
    name: str
    scale: float
    divide: float
    offset: float
    low: float
    high: float
    missing: frozenset[float]
    missing_below: float
    floor: float
    type: str
    by_state: bool

    def quick(self) -> "Quick":
        """Return how to read a whole number in the usual range, which needs no more than this."""
        factor = self.scale / self.divide
        low = max((max(self.low, self.floor) - self.offset) / factor, self.missing_below)
        high = (self.high - self.offset) / factor
        if self.by_state or factor <= 0:
            low, high = inf, -inf
        return (
            *(self.ref, self.key, low, high),
            *(self.missing, self.scale, self.divide, self.offset, self),
        )


Quick = tuple[Ref, str, float, float, frozenset[float], float, float, float, NumberStep]
"""Reference, key, the open span of usual raw values, missing ones, scale, divide, offset, step.

A plain tuple, since a poll takes some dozens of them apart.
"""


@dataclass(frozen=True, slots=True)
class StateStep:
    """How one coded value raises flags; `told` are the flags it decides, all lowered."""

    ref: Ref
    codes: Mapping[int, tuple[str, ...] | None]
    bits: tuple[tuple[int, tuple[str, ...]], ...]
    text01: bool
    mask: int
    texts: tuple[tuple[str, Mapping[int, str]], ...]
    told: Mapping[str, bool]
    type: str


@dataclass(frozen=True, slots=True)
class AlarmStep:
    """How the rows of an alarm table raise flags."""

    ref: Walk
    codes: Mapping[str, tuple[str, ...]]
    told: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class MarkStep:
    """Where one text of the identity comes from."""

    ref: Ref | None
    name: str
    mark: Mark


class Told(NamedTuple):
    """What the sources of flags of one reading tell together.

    `others` are alarms that the profile does not know.
    """

    flags: Mapping[str, bool]
    texts: Mapping[str, Value]
    others: tuple[str, ...]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask a device of this profile, and how its answers become points.

    `told` keeps what the values of `flag_refs` told before: units repeat a handful of patterns.
    `columns` are the table cells by the column they stand in, for cards that keep their rows at
    odd instances.
    """

    profile: Profile
    phases: Phases
    fast_refs: tuple[Ref, ...]
    slow_refs: tuple[Ref, ...]
    identity_refs: tuple[Ref, ...]
    habits: Habits
    numbers: tuple[NumberStep, ...]
    quick: tuple[Quick, ...]
    states: tuple[StateStep, ...]
    alarms: AlarmStep | None
    marks: tuple[MarkStep, ...]
    counts: tuple[tuple[str, Ref], ...]
    columns: Mapping[str, tuple[str, ...]]
    extra_keys: tuple[str, ...]
    missing_texts: frozenset[str]
    flag_refs: tuple[Ref, ...]
    told: dict[tuple[RawValue, ...], Told] = field(default_factory=dict)


def key_of(name: str) -> str:
    """Return the column of a point, or the name itself for an extra."""
    return column_of(name) if name in BY_NAME else name


def side_of(name: str) -> str:
    """Return which side of the unit a point belongs to: input, bypass or output."""
    if name.startswith("input.bypass."):
        return "bypass"
    return "input" if name.startswith("input.") else "output"


def plan_for(
    profile: Profile, phases: Phases | int = 1, skip: frozenset[Ref] = frozenset()
) -> Plan:
    """Return the plan for a profile on a unit with these phases, leaving out `skip`; cached."""
    if isinstance(phases, int):
        phases = Phases(phases, phases, phases)
    return _plan_for(profile, phases, skip)


@lru_cache(maxsize=4096)
def _plan_for(profile: Profile, phases: Phases, skip: frozenset[Ref]) -> Plan:
    cells: dict[str, list[str]] = {}
    numbers: list[NumberStep] = []
    paces: dict[Ref, Pace] = {}
    for name, entries in profile.points.items():
        for entry in entries:
            for step in _number_steps(profile, phases, name, entry, cells):
                if step.ref not in skip:
                    numbers.append(step)
                    _note(paces, step.ref, _pace(entry, step.name))
    states = tuple(
        step for step in (_state_step(profile, state) for state in profile.states)
        if step.ref not in skip
    )  # fmt: skip
    slow_states = {ref_of(profile, state) for state in profile.states if state.pace == "slow"}
    for state_step in states:
        pace = Pace.SLOW if state_step.ref in slow_states else Pace.FAST
        _note(paces, state_step.ref, pace)
    alarms = _alarm_step(profile)
    if alarms is not None and alarms.ref in skip:
        alarms = None
    if alarms is not None:
        paces[alarms.ref] = Pace.FAST
    marks = tuple(_mark_steps(profile))
    counts = tuple(
        (side, ref_of(profile, place))
        for side in ("input", "output", "bypass")
        for place in getattr(profile.phases, side)
    )
    identity_refs = [step.ref for step in marks if step.ref is not None]
    identity_refs += [ref for _, ref in counts]
    told = {key for step in states for key in step.told} | set(alarms.told if alarms else ())
    keys = told | {step.key for step in numbers}
    keys |= {key for step in states for key, _ in step.texts}
    columns = {point.column for point in BY_NAME.values()}
    return Plan(
        profile=profile,
        phases=phases,
        fast_refs=tuple(ref for ref, pace in paces.items() if pace is Pace.FAST),
        slow_refs=tuple(ref for ref, pace in paces.items() if pace is Pace.SLOW),
        identity_refs=tuple(dict.fromkeys(identity_refs)),
        habits=_habits(profile),
        numbers=tuple(numbers),
        quick=tuple(step.quick() for step in numbers),
        states=states,
        alarms=alarms,
        marks=marks,
        counts=counts,
        columns={column: tuple(refs) for column, refs in cells.items()},
        extra_keys=tuple(sorted(keys - columns)),
        missing_texts=frozenset(text.lower() for text in profile.missing_texts),
        flag_refs=(*(step.ref for step in states), *([alarms.ref] if alarms else ())),
    )


def ref_of(profile: Profile, place: Place, line: int = 1) -> Ref:
    """Return the reference for a place, on one line of a table."""
    if place.oid is not None:
        return absolute(place.oid, profile.base).replace("{n}", str(line))
    if place.register_ is not None:
        length = getattr(place, "length", None) or _WIDTHS.get(place.type or "u16", 1)
        return Registers(place.function, place.register_, length)
    return str(place.path)


def _note(paces: dict[Ref, Pace], ref: Ref, pace: Pace) -> None:
    if paces.get(ref) is not Pace.FAST:
        paces[ref] = pace


def _pace(entry: Number, name: str) -> Pace:
    if entry.pace is not None:
        return Pace(entry.pace)
    point = BY_NAME.get(name)
    return point.pace if point else Pace.FAST


def _number_steps(
    profile: Profile,
    phases: Phases,
    pattern: str,
    entry: Number,
    cells: dict[str, list[str]],
) -> Iterator[NumberStep]:
    lines = getattr(phases, side_of(pattern))
    if entry.only is not None and (entry.only == "single") != (lines == 1):
        return
    names = expand(pattern)
    if lines == 1 or len(names) == 1:
        names = (entry.single or without_context(pattern),)
    for line, name in enumerate(names[: max(lines, 1)], start=1):
        ref = ref_of(profile, entry, line)
        if isinstance(ref, str) and entry.oid is not None and "{n}" in entry.oid:
            column = absolute(entry.oid, profile.base).partition(".{n}")[0]
            cells.setdefault(column, []).append(ref)
        point = BY_NAME.get(name)
        below = -inf if entry.missing_below is None else entry.missing_below
        yield NumberStep(
            ref=ref,
            key=key_of(name),
            name=name,
            scale=entry.scale,
            divide=entry.divide,
            offset=entry.offset,
            low=-inf if point is None or point.low is None else point.low,
            high=inf if point is None or point.high is None else point.high,
            missing=frozenset(entry.missing),
            missing_below=below,
            floor=-inf if entry.floor is None else entry.floor,
            type=entry.type or ("u16" if profile.protocol == "modbus" else "integer"),
            by_state=entry.direction == "by_state",
        )


def _state_step(profile: Profile, state: State) -> StateStep:
    codes: dict[int, tuple[str, ...] | None] = {
        code: None if flags is None else tuple(map(key_of, flags))
        for code, flags in state.codes.items()
    }
    bits = tuple((bit, tuple(map(key_of, flags))) for bit, flags in state.bits.items())
    told = [flag for flags in codes.values() for flag in flags or ()]
    told += [flag for _, flags in bits for flag in flags]
    default = "string" if state.form else "integer"
    return StateStep(
        ref=ref_of(profile, state),
        codes=codes,
        bits=bits,
        text01=state.form == "text01",
        mask=-1 if state.mask is None else state.mask,
        texts=tuple((key_of(name), table) for name, table in state.texts.items()),
        told=dict.fromkeys(told, False),
        type=state.type or ("u16" if profile.protocol == "modbus" else default),
    )


def _alarm_step(profile: Profile) -> AlarmStep | None:
    table = profile.alarms
    if table is None:
        return None
    codes = {
        f"{prefix}.{arc}": tuple(map(key_of, flags))
        for prefix, arcs in table.codes.items()
        for arc, flags in arcs.items()
    }
    counter = None if table.count is None else absolute(table.count, profile.base)
    return AlarmStep(
        ref=Walk(absolute(table.column, profile.base), counter),
        codes=codes,
        told=dict.fromkeys((flag for flags in codes.values() for flag in flags), False),
    )


def _mark_steps(profile: Profile) -> Iterator[MarkStep]:
    block = profile.identity
    named = {
        "manufacturer": block.manufacturer,
        "model": block.model,
        "serial": block.serial,
        "firmware": block.firmware,
        **block.details,
    }
    for name, marks in named.items():
        for mark in marks:
            ref = None if mark.text is not None else ref_of(profile, mark)
            yield MarkStep(ref, name, mark)


def _habits(profile: Profile) -> Habits:
    read = profile.read
    return Habits(
        bulk=read.bulk,
        varbinds=read.varbinds,
        gap_seconds=read.gap_milliseconds / 1_000,
        blocks=tuple((block.address, block.count) for block in read.blocks),
        block_limit=read.block_limit,
    )
