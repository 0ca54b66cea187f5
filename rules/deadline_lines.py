"""The arithmetic of a deadline in sentences, day by day, so that a customer can follow it.

What the minutes are owed for is decided in `rules.entitlement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from rules.working_time import Calendar, Worked, working_stretches


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence in English and Chinese."""

    en: str
    zh: str


WEEKDAYS = (
    Line("Mon", "周一"),
    Line("Tue", "周二"),
    Line("Wed", "周三"),
    Line("Thu", "周四"),
    Line("Fri", "周五"),
    Line("Sat", "周六"),
    Line("Sun", "周日"),
)


def local_text(at: datetime, time_zone: str) -> str:
    """Return the instant as the site's wall clock shows it, to the minute."""
    return at.astimezone(ZoneInfo(time_zone)).strftime("%Y-%m-%d %H:%M")


def duration_words(minutes: float) -> Line:
    """Return a duration in words: "4 h", "1 h 30 min"."""
    hours, rest = divmod(round(minutes), 60)
    if hours and rest:
        return Line(f"{hours} h {rest} min", f"{hours} 小时 {rest} 分钟")
    return Line(f"{hours} h", f"{hours} 小时") if hours else Line(f"{rest} min", f"{rest} 分钟")


def calendar_words(calendar: Calendar) -> Line:
    """Return a calendar in words: its hours, weekdays and holidays."""
    if calendar.always:
        return Line("around the clock", "全天候 7×24")
    hours = f"{calendar.opens:%H:%M}–{calendar.closes:%H:%M}"
    days = [WEEKDAYS[day - 1] for day in sorted(calendar.weekdays)]
    listed = Line(", ".join(day.en for day in days), "、".join(day.zh for day in days))
    if calendar.weekdays == frozenset({1, 2, 3, 4, 5}):
        listed = Line("Mon–Fri", "周一至周五")
    elif calendar.weekdays == frozenset(range(1, 8)):
        listed = Line("every day", "每天")
    if calendar.country is None:
        return Line(f"{listed.en} {hours}", f"{listed.zh} {hours}")
    return Line(
        f"{listed.en} {hours}, without public holidays of {calendar.country}",
        f"{listed.zh} {hours}，按 {calendar.country} 法定节假日及调休计算",
    )


def deadline_lines(
    what: Line, at: datetime, minutes: int, calendar: Calendar, time_zone: str
) -> tuple[datetime, tuple[Line, ...]]:
    """Return the deadline (UTC) `minutes` of working time after `at`, and how it came about.

    Raises `NoWorkingTime`.
    """
    owed, hours = duration_words(minutes), calendar_words(calendar)
    stretches = tuple(working_stretches(at.astimezone(UTC), minutes, calendar, ZoneInfo(time_zone)))
    due_at = stretches[-1].ends_at
    due = local_text(due_at, time_zone)
    steps = () if calendar.always else _steps(at, stretches, time_zone)
    return due_at, (
        Line(
            f"{what.en} within {owed.en}, counted {hours.en}.",
            f"{what.zh}时限 {owed.zh}，计时范围：{hours.zh}。",
        ),
        *steps,
        Line(f"{what.en} due {due}.", f"{what.zh}截止 {due}。"),
    )


def _steps(at: datetime, stretches: Sequence[Worked], time_zone: str) -> tuple[Line, ...]:
    zone = ZoneInfo(time_zone)
    lines: list[Line] = []
    previous = at.astimezone(zone).date() - timedelta(days=1)
    for stretch in stretches:
        if (stretch.day - previous).days > 1:
            lines.append(_not_counted(previous + timedelta(days=1), stretch.day))
        previous = stretch.day
        starts, ends = (
            f"{one.astimezone(zone):%H:%M}" for one in (stretch.starts_at, stretch.ends_at)
        )
        counted, weekday = duration_words(stretch.minutes), WEEKDAYS[stretch.day.weekday()]
        lines.append(
            Line(
                f"{stretch.day} ({weekday.en}) {starts}–{ends}: {counted.en}.",
                f"{stretch.day}（{weekday.zh}）{starts}–{ends}：{counted.zh}。",
            )
        )
    return tuple(lines)


def _not_counted(first: date, before: date) -> Line:
    last = before - timedelta(days=1)
    span = str(first) if first == last else f"{first} – {last}"
    return Line(f"{span}: no working hours left.", f"{span}：无剩余工作时间，不计时。")
