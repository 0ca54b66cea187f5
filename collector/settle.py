"""Settling: what follows from several points of one reading, whatever the family. Pure.

The rules make vendors agree: bypass implies mains, a dead link hides old values, thresholds tell
a low battery where a card never does, a failed test asks for a battery, lines add up to totals.
"""

from collections.abc import Mapping

from rules.facts import Value

_LINES = ("l1", "l2", "l3")
_ON_MAINS_ONLY = frozenset({"status_boost", "status_trim", "status_eco"})
_IDLE_CHARGE = 20.0


def settle(points: dict[str, Value], known: Mapping[str, Value], lines: int = 1) -> None:
    """Complete points in place; `known` are earlier slow points by column, for the thresholds.

    1. While the card has lost its UPS it repeats old values: only the loss is kept.
    2. A unit on battery is not on mains, whatever an older object still says; a unit on bypass
       that names no source is on mains.
    3. A runtime of 0 on a charged unit with mains is a card that does not know.
    4. A unit on battery at or below a threshold has a low battery, even if the card never says so.
    5. A failed self-test asks for new batteries.
    6. Load and power of the unit follow from its lines.
    """
    if points.get("alarm_comm_lost") is True:
        points.clear()
        points["alarm_comm_lost"] = True
        return
    if points.get("status_on_battery") is True and points.get("status_on_line") is True:
        points["status_on_line"] = False
        points.update(dict.fromkeys(_ON_MAINS_ONLY & points.keys(), False))
    if (
        points.get("status_bypass") is True
        and points.get("status_on_line") is not True
        and points.get("status_on_battery") is not True
    ):
        points["status_on_line"] = True
    _drop_idle_zero(points)
    _judge_low_battery(points, known)
    if points.get("ups_test_result") == "failed":
        points["status_replace_battery"] = True
    if lines > 1:
        _add_up(points, lines)


def signed(points: Mapping[str, Value], magnitude: float) -> float | None:
    """Return a battery current signed by the unit's state, + discharging; None when undecided.

    RFC 1628 and PowerNet leave the sign open, and cards differ.
    """
    size = abs(magnitude)
    state = points.get
    if size == 0:
        return 0.0
    if (
        state("status_on_battery") is True
        or state("status_discharging") is True
        or state("status_testing") is True
    ):
        return size
    if state("status_on_line") is True or state("status_charging") is True:
        return -size
    return None


def _drop_idle_zero(points: dict[str, Value]) -> None:
    charge = points.get("battery_charge")
    if (
        points.get("battery_runtime") == 0.0
        and isinstance(charge, float)
        and charge > _IDLE_CHARGE
        and points.get("status_on_battery") is not True
    ):
        del points["battery_runtime"]


def _judge_low_battery(points: dict[str, Value], known: Mapping[str, Value]) -> None:
    on_battery = points.get("status_on_battery")
    if not isinstance(on_battery, bool) or points.get("status_low_battery") is True:
        return
    judged = False
    for column, threshold in (
        ("battery_charge", "battery_charge_low"),
        ("battery_runtime", "battery_runtime_low"),
    ):
        value = points.get(column)
        limit = points.get(threshold, known.get(threshold))
        if isinstance(value, float) and isinstance(limit, float) and limit > 0:
            judged = True
            if on_battery and value <= limit:
                points["status_low_battery"] = True
                return
    if judged:
        points.setdefault("status_low_battery", False)


def _add_up(points: dict[str, Value], lines: int) -> None:
    if "ups_load" not in points:
        loads = _of_lines(points, "ups_{}_load", lines)
        if loads:
            points["ups_load"] = max(loads)
    if "ups_realpower" not in points:
        powers = _of_lines(points, "output_{}_realpower", lines)
        if len(powers) == lines:
            points["ups_realpower"] = sum(powers)


def _of_lines(points: Mapping[str, Value], pattern: str, lines: int) -> list[float]:
    values = (points.get(pattern.format(line)) for line in _LINES[:lines])
    return [value for value in values if isinstance(value, float)]
