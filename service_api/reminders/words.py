"""What a reminder says of its value, in both languages: pure."""

from rules.catalogue import Owner, Rule
from rules.deadline_lines import Line
from rules.occasions import FACTS
from service_api.language import msg

OWNERS: dict[Owner, str] = {
    "dispatcher": msg("Dispatching"),
    "sales": msg("Contracts and sales"),
    "data": msg("Register of units"),
    "engineer": msg("Field service"),
}
"""The duties that reminders fall to, marked for translation."""


def said_of(rule: Rule, value: float | None) -> Line:
    """Say how far it is: days ahead or past, the share of a deadline; nothing without a value."""
    work = rule.reminder
    if work is None or work.steps_of is None or value is None:
        return Line("", "")
    if FACTS[work.steps_of].unit == "%":
        if value >= 100:
            return Line("the time is over", "已超时")
        return Line(f"{int(value)} % of the time has passed", f"时限已用 {int(value)}%")
    days = int(value)
    if work.steps[0] < work.steps[-1]:
        return Line(f"overdue by {_days(days)}", f"已逾期 {days} 天")
    if days > 0:
        return Line(f"in {_days(days)}", f"还有 {days} 天")
    if days == 0:
        return Line("today is the last day", "今天是最后一天")
    return Line(f"over for {_days(-days)}", f"已过期 {-days} 天")


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
