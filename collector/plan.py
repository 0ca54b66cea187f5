"""Plans: a profile compiled for one device, ready to ask and to decode fast.

What is compiled in: the phases, and what to leave out because the card lacks it. A plan is
immutable and shared by all devices alike; values are converted in `collector.convert`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import NamedTuple

from collector.extend import absolute
from collector.form import AlarmTable, Mark, Number, Place, Profile, State, expand, without_context
from collector.raw import Habits, RawValue, Ref, Registers, Walk
from rules.facts import Rejection, Value
from rules.points import BY_NAME, Pace, column_of

_WIDTHS = dict.fromkeys(("u32", "s32", "u32_low", "s32_low", "f32", "f32_low"), 2)


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
    codes: Mapping[int, float] = field(default_factory=dict)
    part: str | None = None

    def quick(self) -> "Quick":
        """Return how to read a whole number in the usual range, which needs no more than this."""
        factor = self.scale / self.divide
        low = max((max(self.low, self.floor) - self.offset) / factor, self.missing_below)
        high = (self.high - self.offset) / factor
        if self.by_state or self.codes or factor <= 0:
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
    words: Mapping[str, int] = field(default_factory=dict)
    part: str | None = None


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
    odd instances. `checks` are second places of numbers, asked with the slow ones only, to compare.
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
    alarms: tuple[AlarmStep, ...]
    marks: tuple[MarkStep, ...]
    counts: tuple[tuple[str, Ref, Mapping[int, int]], ...]
    columns: Mapping[str, tuple[str, ...]]
    extra_keys: tuple[str, ...]
    missing_texts: frozenset[str]
    flag_refs: tuple[Ref, ...]
    checks: tuple[NumberStep, ...] = ()
    check_refs: tuple[Ref, ...] = ()
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
    profile: Profile,
    phases: Phases | int = 1,
    skip: frozenset[Ref] = frozenset(),
    checks: frozenset[Ref] = frozenset(),
) -> Plan:
    """Return the plan for a profile on a unit with these phases, leaving out `skip`; cached.

    Numbers at `checks` are read only to be compared.
    """
    if isinstance(phases, int):
        phases = Phases(phases, phases, phases)
    return _plan_for(profile, phases, skip, checks)


@lru_cache(maxsize=4096)
def _plan_for(
    profile: Profile, phases: Phases, skip: frozenset[Ref], checks: frozenset[Ref]
) -> Plan:
    cells: dict[str, list[str]] = {}
    numbers: list[NumberStep] = []
    compared: list[NumberStep] = []
    paces: dict[Ref, Pace] = {}
    entries = [(name, entry) for name, listed in profile.points.items() for entry in listed]
    # Two names may be one point on a unit with one line, so the family's own places go first.
    for name, entry in sorted(entries, key=lambda each: each[1].generation):
        for step in _number_steps(profile, phases, name, entry, cells):
            if step.ref in checks:
                compared.append(step)
            elif step.ref not in skip:
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
    alarms = tuple(
        step for step in (_alarm_step(profile, table) for table in profile.alarms)
        if step.ref not in skip
    )  # fmt: skip
    paces.update((step.ref, Pace.FAST) for step in alarms)
    marks = tuple(_mark_steps(profile))
    counts = tuple(
        (side, ref_of(profile, place), place.codes)
        for side in ("input", "output", "bypass")
        for place in getattr(profile.phases, side)
    )
    identity_refs = [step.ref for step in marks if step.ref is not None]
    identity_refs += [ref for _, ref, _ in counts]
    told = {key for step in states for key in step.told}
    told |= {key for step in alarms for key in step.told}
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
        flag_refs=(*(step.ref for step in states), *(step.ref for step in alarms)),
        checks=tuple(compared),
        check_refs=tuple(dict.fromkeys(step.ref for step in compared)),
    )


def ref_of(profile: Profile, place: Place, line: int = 1) -> Ref:
    """Return the reference for a place, on one line of a table."""
    if place.oid is not None:
        oid = absolute(place.oid, profile.base).replace("{n}", str(line))
        return in_rows(oid, {name: row.usual for name, row in profile.rows.items()})
    if place.register_ is not None:
        length = getattr(place, "length", None) or _WIDTHS.get(place.type or "u16", 1)
        further = (line - 1) * (getattr(place, "stride", None) or 0)
        return Registers(place.function, place.register_ + further, length)
    return str(place.path)


def in_rows(oid: str, rows: Mapping[str, str]) -> str:
    """Return an OID with the rows that it names filled in."""
    for name, row in rows.items():
        oid = oid.replace(f"{{{name}}}", row)
    return oid


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
            column = in_rows(column, {name: row.usual for name, row in profile.rows.items()})
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
            missing=frozenset([*entry.missing, *_missing_words(profile, entry)]),
            missing_below=below,
            floor=-inf if entry.floor is None else entry.floor,
            type=entry.type or ("u16" if profile.protocol == "modbus" else "integer"),
            by_state=entry.direction == "by_state",
            codes=dict(entry.codes),
            part=entry.part,
        )


def _missing_words(profile: Profile, entry: Number) -> Iterator[int]:
    """Yield the numbers that the profile's missing words are in a register of this type."""
    if entry.type in (None, "u16"):
        yield from profile.missing_words
    elif entry.type == "s16":
        yield from (word - (word >> 15 << 16) for word in profile.missing_words)


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
        words={text.lower(): code for text, code in state.words.items()},
        part=state.part,
        type=state.type or ("u16" if profile.protocol == "modbus" else default),
    )


def _alarm_step(profile: Profile, table: AlarmTable) -> AlarmStep:
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
        blocks=tuple(
            (block.address, block.count)
            if block.function is None
            else (block.address, block.count, block.function)
            for block in read.blocks
        ),
        block_limit=read.block_limit,
    )
