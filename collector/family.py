"""Families that publish, compiled: which topics are theirs, and what a value at a path becomes.

Made from a profile with `topics` (`collector.topics_form`). Pure; what is remembered of a device
between messages is `collector.readers.published`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TypeVar

from collector.form import Profile, kind_of
from collector.naming import point_named, spelled
from collector.plan import Plan, plan_for
from collector.profile import profiles
from collector.raw import RawValue
from collector.topics_form import Availability, TopicsBlock
from rules.points import Kind

LONGEST_TEXT = 1_000
_TRUE = frozenset({"on", "true", "yes", "1", "active", "problem"})
_FALSE = frozenset({"off", "false", "no", "0", "inactive", "ok", "clear"})
_PLACES_KEPT = 4_000


@dataclass(frozen=True, slots=True)
class Spot:
    """What becomes of the value at one path: its name in the raw values, and how it is read."""

    ref: str
    is_urgent: bool = False
    is_flag: bool = False
    codes: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    scale: float | None = None

    def read(self, value: RawValue) -> Iterator[tuple[str, RawValue]]:
        """Yield the raw values, by the names that the plan knows, that a value stands for."""
        if isinstance(value, str):
            word = value.strip().lower()
            if self.flags:
                said = set(word.replace(",", " ").split())
                raised = {f for one in said for f in self.flags.get(one, ())}
                yield from ((flag, flag in raised) for flag in self.all_flags)
            if self.bits:
                value = sum(1 << bit for one, bit in self.bits.items() if one in word.split())
            elif word in self.codes:
                value = self.codes[word]
            elif word in self.texts:
                value = self.texts[word]
            elif self.is_flag and (word in _TRUE or word in _FALSE):
                value = word in _TRUE
        elif isinstance(value, bool) and not self.is_flag:
            value = int(value)
        elif self.is_flag and isinstance(value, int | float):
            value = value != 0
        yield self.ref, value if self.scale is None else _scaled(value, self.scale)

    @property
    def all_flags(self) -> tuple[str, ...]:
        """Every flag that words of this text raise."""
        return tuple(dict.fromkeys(f for raised in self.flags.values() for f in raised))


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A profile with topics, ready to be used; one object a profile."""

    profile: Profile
    plan: Plan
    block: TopicsBlock
    root: re.Pattern[str]
    recognized_by: tuple[re.Pattern[str], ...]
    names: Mapping[str, str]
    urgent: frozenset[str]
    identity: frozenset[str]
    spots: dict[str, Spot] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name

    def root_of(self, topic: str) -> str | None:
        """Return the root of the device whose topic this is, None for another family's."""
        found = self.root.match(topic)
        return found["root"] if found else None

    def recognizes(self, path: str) -> bool:
        """Tell whether a path below the root shows this family."""
        return not self.recognized_by or any(one.search(path) for one in self.recognized_by)

    def spot(self, path: str) -> Spot:
        """Return what becomes of the value at a path."""
        spot = self.spots.get(path)
        if spot is None:
            spot = self._spot(path)
            if len(self.spots) < _PLACES_KEPT:
                self.spots[path] = spot
        return spot

    def availability(self, path: str) -> Availability | None:
        """Return how to read a path that says whether the device lives."""
        return next((one for one in self.block.availability if one.path == path), None)

    def _spot(self, path: str) -> Spot:
        block = self.block
        for ending in block.endings:
            if path.endswith(ending):
                path = path[: -len(ending)]
                break
        shorter = [path[len(one) :] for one in block.drop if path.startswith(one)]
        if block.names is None:
            ref = shorter[0] if shorter else path
        else:
            named = (point_named(one, self.names) for one in (*shorter, path))
            ref = next(filter(None, named), (*shorter, path)[0].replace("/", "."))
        kind = kind_of(ref) if block.names is not None else None
        flags = {word.lower(): tuple(up) for word, up in block.flags.get(ref, {}).items()}
        return Spot(
            ref=ref,
            is_urgent=kind is Kind.FLAG or bool(flags) or ref in self.urgent,
            is_flag=kind is Kind.FLAG,
            codes=_lowered(block.codes.get(ref, {})),
            bits={word.lower(): at for at, word in enumerate(block.bits.get(ref, []))},
            flags=flags,
            texts=_lowered(block.texts.get(ref, {})),
            scale=block.scale.get(ref),
        )


_T = TypeVar("_T")


def _lowered(table: Mapping[str, _T]) -> dict[str, _T]:
    return {text.lower(): value for text, value in table.items()}


def _scaled(value: RawValue, scale: float) -> RawValue:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value) * scale
    except (ValueError, OverflowError):
        pass
    return value


@lru_cache
def family_of(profile: Profile) -> Family | None:
    """Return a profile as a family that publishes, None when it has no topics."""
    block = profile.topics
    if block is None:
        return None
    plan = plan_for(profile, 1)
    return Family(
        profile=profile,
        plan=plan,
        block=block,
        root=re.compile(block.root),
        recognized_by=tuple(re.compile(one) for one in block.recognized_by),
        names={spelled(name): name for name in (*block.flags, *block.texts, *block.codes)}
        | {spelled(text): name for text, name in (block.names or {}).items()},
        urgent=frozenset(str(ref) for ref in plan.flag_refs),
        identity=frozenset(str(ref) for ref in plan.identity_refs),
    )


@cache
def families() -> Mapping[str, Family]:
    """Return every shipped family that publishes, those that are most particular first."""
    found = [family for family in map(family_of, profiles().values()) if family is not None]
    found.sort(key=lambda family: (family.block.rank, family.name))
    return {family.name: family for family in found}
