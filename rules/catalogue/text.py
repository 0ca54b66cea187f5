"""Rules and overrides as they are written: TOML, read strictly, refused with place and reason."""

import re
import tomllib
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rules.catalogue.rule import (
    COLUMNS,
    Level,
    Owner,
    ReminderWork,
    Rule,
    Severity,
    TicketWork,
)
from rules.conditions import ColumnType, Condition, ConditionInvalid, parse
from rules.occasions import FACTS, OccasionsMixed, Subject, occasions_of, subject_of
from rules.points import BY_COLUMN, FACT_COLUMNS

KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a rule may be called."""
MOST_TEXT = 500_000
"""Characters of TOML that are read at once."""


class RuleInvalid(Exception):
    """A rule's text cannot be used: which rule and field, why (en, zh), where in the field's text.

    `position` counts characters from 1, None where no one place is to blame; `rule` and `field` are
    None where the text as a whole cannot be read.
    """

    def __init__(
        self,
        reason: str,
        *,
        reason_zh: str,
        rule: str | None = None,
        field: str | None = None,
        position: int | None = None,
    ) -> None:
        said = reason if position is None else f"{reason} (at character {position})"
        super().__init__(said if rule is None else f"rule {rule}, {field}: {said}")
        self.reason = reason
        self.reason_zh = reason_zh
        self.rule = rule
        self.field = field
        self.position = position


class Strict(BaseModel):
    """Text that is read strictly: no field that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Passage = Annotated[
    str, Field(min_length=1, max_length=2_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")
]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
_Seconds = Annotated[int, Field(ge=0, le=30 * 86_400)]


class _Title(Strict):
    en: _Line
    zh: _Line


class _Action(Strict):
    en: _Passage
    zh: _Passage


class TicketText(Strict):
    """A ticket's work, as it is written."""

    failure_mode: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")
    impact: Level
    urgency: Level
    skills: list[_Name] = Field(default=[], max_length=20)
    part_kinds: list[_Name] = Field(default=[], max_length=20)
    action: _Action

    @property
    def work(self) -> TicketWork:
        """What the ticket asks for."""
        return TicketWork(
            failure_mode=self.failure_mode,
            impact=self.impact,
            urgency=self.urgency,
            skills=tuple(self.skills),
            part_kinds=tuple(self.part_kinds),
            action_en=self.action.en,
            action_zh=self.action.zh,
        )


class _ReminderText(Strict):
    owner: Owner
    action: _Action
    steps_of: str | None = None
    steps: list[float] = Field(default=[], max_length=20)


class _RuleText(Strict):
    title: _Title
    severity: Severity
    condition: str
    clear: str | None = None
    raise_after_seconds: _Seconds
    clear_after_seconds: _Seconds
    source: _Passage
    cause: str | None = None
    follows: list[str] = Field(default=[], max_length=20)
    inhibited_by: list[str] = Field(default=[], max_length=20)
    matures_unseen: bool = False
    latches: bool = False
    ticket: TicketText | None = None
    reminder: _ReminderText | None = None


class OverrideText(Strict):
    """What an override changes of a rule; what it leaves out stays.

    A condition brings its own `clear`: without one, the rule is over when it holds no more.
    `no_ticket` takes the rule's ticket away.
    """

    severity: Severity | None = None
    condition: str | None = None
    clear: str | None = None
    raise_after_seconds: _Seconds | None = None
    clear_after_seconds: _Seconds | None = None
    ticket: TicketText | None = None
    no_ticket: bool = False


@lru_cache(maxsize=8_192)
def _condition(text: str) -> Condition:
    return parse(text, COLUMNS, with_past=BY_COLUMN)


def _parsed(key: str, field: str, text: str) -> Condition:
    try:
        return _condition(text)
    except ConditionInvalid as error:
        raise RuleInvalid(
            error.reason,
            reason_zh=error.reason_zh,
            rule=key,
            field=field,
            position=error.position,
        ) from error


def _reminder(text: _ReminderText | None) -> ReminderWork | None:
    if text is None:
        return None
    return ReminderWork(
        owner=text.owner,
        action_en=text.action.en,
        action_zh=text.action.zh,
        steps_of=text.steps_of,
        steps=tuple(text.steps),
    )


def _odd(rule: Rule, field: str, reason: str, reason_zh: str) -> RuleInvalid:
    return RuleInvalid(reason, reason_zh=reason_zh, rule=rule.key, field=field)


def _fits(rule: Rule) -> Rule:
    """Return a rule whose columns, ticket and reminder fit each other; raise `RuleInvalid`."""
    try:
        subject = subject_of(rule.columns)
    except OccasionsMixed as error:
        raise _odd(rule, "condition", str(error), f"一条规则只能针对一类对象：{error}") from error
    if not rule.columns.isdisjoint(FACTS) and rule.condition.windows | (
        frozenset() if rule.clear is None else rule.clear.windows
    ):
        raise _odd(
            rule,
            "condition",
            "functions over time go by readings; they do not go "
            "together with words that no reading brings",
            "时间函数只用于设备读数，不能与非读数字段一起使用",
        )
    work = rule.reminder
    if work is None:
        if subject is not Subject.DEVICE:
            raise _odd(
                rule,
                "reminder",
                f"only devices have alarms; a rule about a {subject} "
                "needs a reminder with its owner",
                "只有设备有告警；针对其他对象的规则须写提醒及其负责岗位",
            )
        return rule
    return _reminds(rule, work)


def _reminds(rule: Rule, work: ReminderWork) -> Rule:
    """Return a rule that reminds, whose parts fit its reminder; raise `RuleInvalid`."""
    if rule.latches:
        raise _odd(
            rule,
            "latches",
            "a rule with a reminder has no alarm to latch",
            "有提醒的规则没有可锁存的告警",
        )
    if rule.ticket is not None:
        raise _odd(
            rule, "ticket", "a rule with a reminder opens no tickets", "有提醒的规则不产生工单"
        )
    if rule.columns.isdisjoint(FACTS):
        raise _odd(
            rule,
            "reminder",
            "what readings alone decide is an alarm; a reminder is "
            f"for columns such as {next(iter(FACTS))}",
            f"仅由读数决定的是告警；提醒用于 {next(iter(FACTS))} 一类字段",
        )
    if (work.steps_of is None) != (not work.steps):
        raise _odd(
            rule,
            "reminder.steps",
            "steps and steps_of go together",
            "steps 与 steps_of 须同时填写",
        )
    if work.steps_of is not None and (
        work.steps_of not in rule.columns or COLUMNS[work.steps_of] is not ColumnType.NUMBER
    ):
        raise _odd(
            rule,
            "reminder.steps_of",
            "must be a number that the condition reads",
            "须为条件中用到的数值字段",
        )
    if list(work.steps) not in (
        sorted(set(work.steps)),
        sorted(set(work.steps), reverse=True),
    ):
        raise _odd(rule, "reminder.steps", "all rising or all falling", "须全部递增或全部递减")
    return rule


def _rule(key: str, text: _RuleText) -> Rule:
    rule = Rule(
        key=key,
        title_en=text.title.en,
        title_zh=text.title.zh,
        severity=text.severity,
        condition=_parsed(key, "condition", text.condition),
        clear=None if text.clear is None else _parsed(key, "clear", text.clear),
        raise_after=timedelta(seconds=text.raise_after_seconds),
        clear_after=timedelta(seconds=text.clear_after_seconds),
        source=text.source,
        cause=text.cause,
        follows=tuple(text.follows),
        inhibited_by=tuple(text.inhibited_by),
        matures_unseen=text.matures_unseen,
        ticket=None if text.ticket is None else text.ticket.work,
        reminder=_reminder(text.reminder),
        latches=text.latches,
    )
    return _fits(rule)


def read_rules(toml_text: str) -> dict[str, Rule]:
    """Read rules from TOML, one table each; raise `RuleInvalid` with rule, field and reason."""
    return {key: rule_of(key, table) for key, table in read_tables(toml_text).items()}


def read_tables(toml_text: str) -> dict[str, Any]:
    """Read TOML, whatever it holds; raise `RuleInvalid` with the place."""
    if len(toml_text) > MOST_TEXT:
        raise RuleInvalid(
            f"the text is longer than {MOST_TEXT:,} characters",
            reason_zh=f"文本超过 {MOST_TEXT:,} 个字符",
        )
    try:
        return tomllib.loads(toml_text)
    except ValueError as error:  # TOML's own, and numbers of thousands of digits
        raise RuleInvalid(
            f"not valid TOML: {error}", reason_zh=f"不是有效的 TOML：{error}"
        ) from error
    except RecursionError:
        raise RuleInvalid("nested too deeply", reason_zh="嵌套过深") from None


def rule_of(key: str, table: object) -> Rule:
    """Read one rule from its table; raise `RuleInvalid`."""
    if not KEY.fullmatch(key):
        raise RuleInvalid(
            "a rule's key is lower-case letters, digits and _, such as steady_load",
            reason_zh="规则键由小写字母、数字和下划线组成，例如 steady_load",
            rule=key[:80],
            field="key",
        )
    return _rule(key, _checked(_RuleText, key, table))


def override_of(key: str, table: object) -> OverrideText:
    """Read what an override of a rule changes; raise `RuleInvalid`."""
    change = _checked(OverrideText, key, table)
    if not change.model_dump(exclude_defaults=True):
        raise RuleInvalid(
            "an override changes something: a condition, a time, the severity or the ticket",
            reason_zh="覆盖至少要改变一项：条件、时间、级别或工单",
            rule=key,
            field="override",
        )
    if change.no_ticket and change.ticket is not None:
        raise RuleInvalid(
            "either a ticket or none",
            reason_zh="工单与“不开工单”只能选一项",
            rule=key,
            field="no_ticket",
        )
    return change


def overridden(rule: Rule, change: OverrideText) -> Rule:
    """Return a rule with an override applied; raise `RuleInvalid` where they do not fit.

    It stays about the same subject and is judged on the same occasions, so that what the rule
    remembers of a unit means the same with the override and without.
    """
    form = replace(
        rule,
        severity=change.severity or rule.severity,
        raise_after=_after(change.raise_after_seconds, rule.raise_after),
        clear_after=_after(change.clear_after_seconds, rule.clear_after),
        ticket=None if change.no_ticket else change.ticket.work if change.ticket else rule.ticket,
    )
    if change.condition is not None:
        form = replace(form, condition=_parsed(rule.key, "condition", change.condition), clear=None)
    if change.clear is not None:
        form = replace(form, clear=_parsed(rule.key, "clear", change.clear))
    if _nature(_fits(form)) != _nature(rule):
        raise _odd(
            rule,
            "condition",
            "an override stays with what the rule is about: readings, silence, or the same words "
            "of health or calendar; make a rule of its own instead",
            "覆盖不能改变规则的判断对象（读数、失联、健康或日历字段）；请另建规则",
        )
    return form


def _after(seconds: int | None, before: timedelta) -> timedelta:
    return before if seconds is None else timedelta(seconds=seconds)


def _nature(rule: Rule) -> tuple[object, ...]:
    """Return what an override leaves alone: occasions, subject, whose clock times go by."""
    of_unit = rule.condition.columns.isdisjoint(FACTS) and not (
        rule.condition.columns <= FACT_COLUMNS.keys()
    )
    return occasions_of(rule.columns), subject_of(rule.columns), of_unit


_Text = TypeVar("_Text", bound=Strict)


def _checked(model: type[_Text], key: str, table: object) -> _Text:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part)[:80] for part in first["loc"]) or "table"
        said = _SAID_ZH.get(first["type"], "取值不合要求：{}").format(first["msg"])
        raise RuleInvalid(first["msg"], reason_zh=said, rule=key, field=field) from error


_SAID_ZH = {
    "missing": "缺少此项",
    "extra_forbidden": "没有这一项",
    "literal_error": "取值不在可选范围内：{}",
    "string_type": "应为文本",
    "int_type": "应为整数",
    "bool_type": "应为 true 或 false",
    "string_too_short": "不能为空",
    "string_too_long": "文本过长：{}",
    "string_pattern_mismatch": "含有不允许的字符：{}",
    "model_type": "应为表：{}",
}
"""What is wrong with a field, by pydantic's word for it."""
