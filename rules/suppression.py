"""Alarms that are quiet by design: which suppression covers an alarm, and when one chatters. Pure.

An alarm under a suppression is raised, kept and counted, but joins no incident, opens no ticket and
is put before nobody; when the suppression ends while the alarm stands, all of that follows. The
words are those of ISA-18.2 and IEC 62682: suppressed by design, out of service.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rules.alarm_figures import chatters
from rules.catalogue import Rule

FLAPS_TIMES, FLAPS_WITHIN = 5, timedelta(hours=1)
"""Raised so often within an hour, an alarm flaps (judgement; within a minute it is three times)."""
QUIET_FOR = timedelta(hours=1)
"""A chattering alarm is quiet until it has not come for so long (judgement)."""
STANDS_ANYWAY = timedelta(minutes=10)
"""A chattering alarm that stands for so long is no chatter any more (judgement)."""


class SuppressionKind(StrEnum):
    """Why alarms are quiet."""

    OUT_OF_SERVICE = "out_of_service"
    """Taken out by a person until put back, or until a date: a unit, or one rule on it."""
    WORK_MODE = "work_mode"
    """An engineer has checked in at the unit: its alarms are lines of the work's log."""
    PLANNED_WORK = "planned_work"
    """Announced before: alarms that begin meanwhile are expected."""
    CHATTERING = "chattering"
    """Found by itself: it comes and goes faster than anybody could act."""


_STRONGEST_FIRST = tuple(SuppressionKind)


@dataclass(frozen=True, slots=True)
class Suppression:
    """What is quiet from when to when.

    `device_id` None: every unit of the site. `rule_keys` None: every rule. `ends_at` None: until
    somebody ends it.
    """

    id: int
    kind: SuppressionKind
    site_id: int
    device_id: int | None
    rule_keys: tuple[str, ...] | None
    lets_critical_through: bool
    begins_at: datetime
    ends_at: datetime | None

    def lasts(self, at: datetime) -> bool:
        """Tell whether it is in force at an instant."""
        return self.begins_at <= at and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Subject:
    """The alarm that is asked about; `is_active` while its condition holds."""

    device_id: int
    site_id: int
    rule_key: str
    severity: str
    raised_at: datetime
    is_active: bool = True


def covering(
    suppressions: Iterable[Suppression], subject: Subject, now: datetime
) -> Suppression | None:
    """Return the strongest suppression that covers an alarm at `now`, None when it speaks.

    1. It must be in force, for the alarm's unit or site, and for its rule.
    2. A critical alarm passes where the suppression lets it.
    3. Planned work covers what began meanwhile, not what stood before.
    4. A chattering alarm that stands on is heard all the same.
    """
    found = [each for each in suppressions if each.lasts(now) and _covers(each, subject, now)]
    return min(found, key=lambda each: (_STRONGEST_FIRST.index(each.kind), each.id), default=None)


def _covers(one: Suppression, subject: Subject, now: datetime) -> bool:
    if one.site_id != subject.site_id or one.device_id not in {None, subject.device_id}:
        return False
    if one.rule_keys is not None and subject.rule_key not in one.rule_keys:
        return False
    if one.lets_critical_through and subject.severity == "critical":
        return False
    if one.kind is SuppressionKind.PLANNED_WORK:
        return subject.raised_at >= one.begins_at
    if one.kind is SuppressionKind.CHATTERING:
        return not subject.is_active or now < subject.raised_at + STANDS_ANYWAY
    return True


def flaps(raised: Sequence[datetime]) -> bool:
    """Tell whether a rule's alarms of one unit, in the order of time, chatter or flap."""
    return chatters(raised) or any(
        later - earlier <= FLAPS_WITHIN
        for earlier, later in zip(raised, raised[FLAPS_TIMES - 1 :], strict=False)
    )


def may_be_quietened(rule: Rule) -> bool:
    """Tell whether chatter of a rule is made quiet: never what is critical.

    What shares a cause is one incident however often it comes, so it needs no quietening.
    """
    return rule.severity != "critical" and rule.cause is None
