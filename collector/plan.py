"""Plans: a profile compiled for one device, ready to ask and to decode fast.

What is compiled in: the phases, what the card lacks, which fallbacks are redundant. A plan is
immutable and shared by all devices alike; values are converted in `collector.convert`.
"""

from dataclasses import dataclass

from collector.form import Profile
from collector.raw import Habits, Ref


@dataclass(frozen=True, slots=True)
class Phases:
    """Lines of input, output and bypass; 1 is a single-phase side."""

    input: int = 1
    output: int = 1
    bypass: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask a device of this profile, and how its answers become points."""

    profile: Profile
    phases: Phases
    fast_refs: tuple[Ref, ...]
    slow_refs: tuple[Ref, ...]
    identity_refs: tuple[Ref, ...]
    habits: Habits


def plan_for(
    profile: Profile, phases: Phases | int = 1, skip: frozenset[Ref] = frozenset()
) -> Plan:
    """Return the plan for a profile on a unit with these phases, leaving out `skip`; cached."""
    raise NotImplementedError
