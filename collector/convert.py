"""Conversion: the one place where a raw value gets meaning, unit and validity, and the way back.

`decode` reads what a device said, `encode` writes what a device of that family would say. No I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from collector.form import Profile
from collector.plan import Phases, Plan
from collector.raw import Encoded, RawValue, Ref
from rules.facts import Identity, Rejection, Value


@dataclass(frozen=True, slots=True)
class Decoded:
    """Points by column, what has no column by name, and the values that were refused."""

    points: dict[str, Value]
    extra: dict[str, Value]
    rejections: tuple[Rejection, ...] = ()


def decode(
    plan: Plan, raw: Mapping[Ref, RawValue], known: Mapping[str, Value] | None = None
) -> Decoded:
    """Turn raw values into points; `known` are the newest slow points by column (thresholds)."""
    raise NotImplementedError


def decode_identity(plan: Plan, raw: Mapping[Ref, RawValue]) -> Identity:
    """Return who the unit says it is."""
    raise NotImplementedError


def decode_phases(plan: Plan, raw: Mapping[Ref, RawValue]) -> Phases:
    """Return how many lines the unit says it has; a side that does not tell has one."""
    raise NotImplementedError


def encode(
    profile: Profile,
    points: Mapping[str, Value],
    identity: Identity,
    phases: Phases | int = 1,
) -> dict[Ref, Encoded]:
    """Return what a device of this family would hold for these points (columns or extra names).

    SNMP: OID → Typed, tables row by row, sysObjectID and sysDescr included. Modbus: Registers →
    words. JSON: path → plain value.
    """
    raise NotImplementedError
