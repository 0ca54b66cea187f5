"""The words of rule text, searched by what they mean in either language."""

from collections.abc import Iterator

from rules.conditions.tree import SPANS
from rules.occasions import FACTS
from rules.points import CHARGER_STATES, FACT_COLUMNS, POINTS, TEST_RESULTS
from service_api.rules.schemas import KnownWord

MOST = 60
_CHOICES = {"ups_test_result": TEST_RESULTS, "battery_charger_status": CHARGER_STATES}
_OVER_TIME = (
    ("avg_15m(ups_load)", "Average over a time, of a number", "一段时间的平均值（数值）"),
    ("min_1h(input_voltage)", "Least value in a time, of a number", "一段时间的最小值（数值）"),
    ("max_1h(input_voltage)", "Greatest value in a time, of a number", "一段时间的最大值（数值）"),
    ("delta_1h(battery_charge)", "Change since then, of a number", "与当时相比的变化（数值）"),
    ("rate_1h(battery_temperature)", "Change per hour, of a number", "每小时变化（数值）"),
    ("share_24h(status_bypass)", "Share of a time, of a flag: 0 to 1", "为真的时间占比（0 到 1）"),
    ("count_24h(status_on_battery)", "How often it began, of a flag", "变为真的次数"),
    ("since(status_on_battery)", "Seconds since it began, of a flag", "已持续为真的秒数"),
)
_WHOLE = f"({', '.join(SPANS)})"


def _all() -> Iterator[KnownWord]:
    for point in POINTS:
        yield KnownWord(
            point.column, point.kind.value, point.en, point.zh, point.unit, point.low, point.high,
            list(_CHOICES.get(point.column, ())), "device",
        )  # fmt: skip
    for name, (kind, unit, en, zh) in FACT_COLUMNS.items():
        yield KnownWord(name, kind.value, en, zh, unit, None, None, [], "device")
    for name, fact in FACTS.items():
        yield KnownWord(
            name, fact.kind.value, fact.en, fact.zh, fact.unit, None, None, [], fact.subject.value
        )
    for word, en, zh in _OVER_TIME:
        spans = "" if word.startswith("since") else f" {_WHOLE}"
        yield KnownWord(word, "function", en + spans, zh + spans, "", None, None, [], "device")


def words(asked: str) -> list[KnownWord]:
    """Return the words that a search finds by name or meaning; all parts of it must be there."""
    parts = asked.lower().split()
    found = [
        one
        for one in _all()
        if all(part in f"{one.word} {one.en} {one.zh} {one.unit}".lower() for part in parts)
    ]
    return found[:MOST]
