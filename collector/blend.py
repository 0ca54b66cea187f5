"""Blending: a point read from the better of several places, the other places being its check.

A card that speaks its maker's MIB and the standard one holds many quantities twice. Here is told
which place each point came from, which places need not be asked on each poll, and where two places
contradict each other. Which place is the better one is the order in the profile. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from collector.convert import number_of, read_state
from collector.plan import NumberStep, Plan
from collector.raw import RawValue, Ref, Registers, Walk
from rules.facts import Identity, Rejection, Value
from rules.points import BY_COLUMN, BY_NAME

STANDARD = "1.3.6.1.2.1.33."
"""Where the UPS-MIB lies, which cards of any maker may speak beside their own."""

_SLACK: dict[str, tuple[float, float]] = {
    "V": (3.0, 0.04),
    "A": (0.5, 0.15),
    "W": (30.0, 0.15),
    "VA": (30.0, 0.15),
    "Hz": (0.3, 0.0),
    "%": (5.0, 0.0),
    "°C": (3.0, 0.0),
    "s": (90.0, 0.15),
}
"""Per unit: what two honest places may differ by, absolute and as a share.

A card refreshes its tables one after the other, and makers average differently.
"""
_LONGEST_ESTIMATE = 59_000.0
"""Runtimes above this are caps of a width (999 minutes, 65535 seconds), not estimates."""
_APART = "ambient."
"""Points whose places are several probes, not the same one twice."""
_COMPARED_FLAGS = ("status_on_battery", "status_bypass", "status_off")
"""Flags on which no two MIBs may differ; others are drawn differently by design."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two places of one card that contradict each other about a point, by its name.

    `primary` is the value that is used, `check` the one that contradicts it.
    """

    point: str
    primary: float | bool
    check: float | bool
    primary_source: str
    check_source: str

    def to_json(self) -> dict[str, float | bool | str]:
        """Return the form in which it is shown and kept as evidence."""
        return {
            "point": self.point,
            "primary": self.primary,
            "check": self.check,
            "primary_source": self.primary_source,
            "check_source": self.check_source,
        }

    def __str__(self) -> str:
        return (
            f"{self.point}: {_shown(self.primary)} at {self.primary_source}, "
            f"but {_shown(self.check)} at {self.check_source}"
        )


@dataclass(frozen=True, slots=True)
class Spare:
    """Places that need not be asked on each poll: `checks` can be compared, `idle` cannot."""

    checks: frozenset[Ref]
    idle: frozenset[Ref]


def spare_places(plan: Plan, raw: Mapping[Ref, RawValue]) -> Spare:
    """Return the places of numbers that a better one makes superfluous on each poll.

    For `plan_for`, after a read of everything; to be found anew at each meeting. A place that
    holds a placeholder now stays, since it may hold a value tomorrow; one that holds nonsense
    while another does not is a check at most.
    """
    needed: set[Ref] = set()
    spare: set[Ref] = set()
    telling: set[Ref] = set()
    settled: set[str] = set()
    refused: dict[str, set[Ref]] = {}
    for step in plan.numbers:
        number = _number_at(plan, step, raw)
        if number is not None:
            telling.add(step.ref)
        if step.key in settled:
            spare.add(step.ref)
        elif isinstance(number, Rejection):
            refused.setdefault(step.key, set()).add(step.ref)
        else:
            needed.add(step.ref)
            if number is not None:
                settled.add(step.key)
    for key, refs in refused.items():
        (spare if key in settled else needed).update(refs)
    spare -= needed
    return Spare(frozenset(spare & telling), frozenset(spare - telling))


def sources(plan: Plan, raw: Mapping[Ref, RawValue]) -> dict[str, str]:
    """Return where each point came from, by its name; what follows from others is left out."""
    found: dict[str, str] = {}
    for step in plan.numbers:
        if isinstance(_number_at(plan, step, raw), float):
            found.setdefault(step.name, place(step.ref))
    raised: dict[str, str] = {}
    lowered: dict[str, str] = {}
    for ref, flags in _told(plan, raw, found):
        for key, is_up in flags.items():
            (raised if is_up else lowered).setdefault(_name(key), place(ref))
    return found | lowered | raised


def disagreements(plan: Plan, raw: Mapping[Ref, RawValue]) -> tuple[Disagreement, ...]:
    """Return where a number's further places, or the two MIBs, contradict what is used."""
    used: dict[str, tuple[NumberStep, float]] = {}
    found: list[Disagreement] = []
    for step in (*plan.numbers, *plan.checks):
        number = _number_at(plan, step, raw)
        if not isinstance(number, float):
            continue
        first = used.setdefault(step.key, (step, number))
        if step.name.startswith(_APART):
            continue
        if first[0] is not step and not _agree(*first, step, number):
            both = (first[1], number, place(first[0].ref), place(step.ref))
            found.append(Disagreement(step.name, *both))
    return (*found, *_flag_disagreements(plan, raw))


def contradicted(found: Iterable[Disagreement]) -> dict[str, Value]:
    """Return what a reading carries of them in `extra`: `check.POINT`, the contradicting value."""
    return {f"check.{one.point}": one.check for one in found}


def is_outgrown(
    plan: Plan, raw: Mapping[Ref, RawValue], known: Identity | None, now: Identity
) -> bool:
    """Tell whether a full read shows a unit that the plan was not made for.

    It says another model, serial number or firmware than before, or a point is silent where it
    was read and answers where it was only checked.
    """
    if known is not None:
        pairs = (
            (known.model, now.model),
            (known.serial, now.serial),
            (known.firmware, now.firmware),
        )
        if any(before and after and before != after for before, after in pairs):
            return True
    told = {step.key for step in plan.numbers if raw.get(step.ref) is not None}
    return any(
        step.key not in told and isinstance(_number_at(plan, step, raw), float)
        for step in plan.checks
    )


def place(ref: Ref) -> str:
    """Return a place as people write it: an object identifier, a register, a path."""
    if isinstance(ref, Registers):
        return f"register {ref.function}/{ref.address}"
    return ref.column if isinstance(ref, Walk) else ref


def _number_at(
    plan: Plan, step: NumberStep, raw: Mapping[Ref, RawValue]
) -> float | Rejection | None:
    value = raw.get(step.ref)
    return None if value is None else number_of(plan, step, value)


def _agree(first: NumberStep, primary: float, second: NumberStep, check: float) -> bool:
    if first.by_state or second.by_state:
        primary, check = abs(primary), abs(check)
    point = BY_NAME.get(first.name)
    absolute, share = _SLACK.get(point.unit if point else "", (1.0, 0.1))
    if point is not None and point.unit == "s" and max(primary, check) > _LONGEST_ESTIMATE:
        return True
    grain = abs(first.scale / first.divide) + abs(second.scale / second.divide)
    slack = absolute + grain + share * max(abs(primary), abs(check))
    return abs(primary - check) <= slack


def _flag_disagreements(plan: Plan, raw: Mapping[Ref, RawValue]) -> Iterator[Disagreement]:
    """Yield the flags that the maker's MIB and the standard one tell differently."""
    own: dict[str, tuple[bool, Ref]] = {}
    standard: dict[str, tuple[bool, Ref]] = {}
    for ref, flags in _told(plan, raw, {}):
        group = standard if isinstance(ref, str) and ref.startswith(STANDARD) else own
        for key, is_up in flags.items():
            if key not in group or (is_up and not group[key][0]):
                group[key] = (is_up, ref)
    for key in _COMPARED_FLAGS:
        if key in own and key in standard and own[key][0] is not standard[key][0]:
            (primary, here), (check, there) = own[key], standard[key]
            yield Disagreement(_name(key), primary, check, place(here), place(there))


def _told(
    plan: Plan, raw: Mapping[Ref, RawValue], texts_from: dict[str, str]
) -> Iterator[tuple[Ref, dict[str, bool]]]:
    """Yield what each coded value tells of flags, noting in `texts_from` where texts come from."""
    refused: list[Rejection] = []
    for state in plan.states:
        texts: dict[str, Value] = {}
        value = raw.get(state.ref)
        told = None if value is None else read_state(plan, state, value, texts, refused)
        for key in texts:
            texts_from.setdefault(_name(key), place(state.ref))
        if told is not None:
            yield state.ref, {**told[0], **dict.fromkeys(told[1], True)}
    for table in plan.alarms:
        rows = raw.get(table.ref)
        if isinstance(rows, tuple):
            up = (table.codes.get(str(row).lstrip("."), ()) for row in rows)
            raised = {flag: True for flags in up for flag in flags}
            yield table.ref, {**table.told, **raised}


def _name(key: str) -> str:
    point = BY_COLUMN.get(key)
    return point.name if point else key


def _shown(value: float | bool) -> str:  # noqa: FBT001 - a value, not a switch
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}"
