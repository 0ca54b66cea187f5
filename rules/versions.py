"""Rules of the service's own and overrides of rules, as versions: what is in force, and why not.

Pure. A version is a text for a scope: the rule itself, or an override of a rule for all units, a
model, a site or a device. The newest of a scope is in force; one without text took it away. Of
several overrides the most specific alone counts, over the rule as it is for all units. The table
is `rules.version_store`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from rules.catalogue import Rule, RuleInvalid
from rules.catalogue.text import OverrideText, overridden, override_of, read_tables, rule_of
from rules.catalogue.writing import fields_of, override_fields, table
from rules.incidents import COMMUNICATION_LOST, MAINS_FAILURE, OVER_TEMPERATURE
from rules.occasions import Subject, subject_of

ScopeKind = Literal["rule", "all", "model", "site", "device"]
SCOPE_KINDS: tuple[ScopeKind, ...] = ("rule", "all", "model", "site", "device")
"""From the rule itself to the most specific."""

RESERVED = frozenset(
    {
        "override",
        "new",
        "check",
        "draft",
        "export",
        "import",
        "preview",
        "turn",
        "versions",
        "words",
    }
)
"""Keys that no rule may have: addresses, and the word for overrides in exported text."""
CAUSES = (MAINS_FAILURE, OVER_TEMPERATURE, COMMUNICATION_LOST)
"""The incidents that a rule may open or follow; the others are not opened by rules."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a version is about: the rule itself, or the units of an override.

    `about` is a model, or the key of a site or device; `maker` a model's maker, empty: any.
    """

    kind: ScopeKind
    about: str = ""
    maker: str = ""

    @property
    def rank(self) -> tuple[int, bool]:
        """How specific it is; greater wins."""
        return SCOPE_KINDS.index(self.kind), bool(self.maker)


RULE = Scope("rule")
ALL = Scope("all")


@dataclass(frozen=True, slots=True)
class Version:
    """One version: `text` is TOML, None where the rule was retired or the override taken away."""

    id: int
    rule_key: str
    scope: Scope
    version: int
    text: str | None
    at: datetime
    actor: str
    reason: str


@lru_cache(maxsize=4_096)
def read_own(key: str, text: str) -> Rule:
    """Read the text of a rule's version; raise `RuleInvalid`."""
    return rule_of(key, _one_table(key, text))


@lru_cache(maxsize=4_096)
def read_override(key: str, text: str) -> OverrideText:
    """Read the text of an override's version; raise `RuleInvalid`."""
    return override_of(key, _one_table(key, text))


def _one_table(key: str, text: str) -> object:
    tables = read_tables(text)
    if tables.keys() != {key}:
        raise RuleInvalid(
            f"one table [{key}] is expected",
            reason_zh=f"应只有一个表 [{key}]",
            rule=key,
            field="table",
        )
    return tables[key]


def rule_text(rule: Rule) -> str:
    """Write a rule as it is kept."""
    return table(f"[{rule.key}]", fields_of(rule))


def override_text(key: str, change: OverrideText) -> str:
    """Write an override as it is kept."""
    return table(f"[{key}]", override_fields(change))


def fields_in(key: str, scope: Scope, text: str | None) -> Mapping[str, Any]:
    """Return the fields of a version's text, none where it has no text or cannot be read."""
    if text is None:
        return {}
    try:
        if scope == RULE:
            return fields_of(read_own(key, text))
        return override_fields(read_override(key, text))
    except RuleInvalid:
        return {}


@dataclass(slots=True)
class Known:
    """What versions make of the shipped rules.

    `rules` are shipped and own ones, with what is overridden for all units; `retired` are own ones
    that were taken away, for their titles. `overrides` are the forms of rules for some units, least
    specific first. `unusable` are versions in force that cannot be used, with the reason.
    """

    rules: dict[str, Rule]
    retired: dict[str, Rule] = field(default_factory=dict)
    overrides: list[tuple[Version, Rule]] = field(default_factory=list)
    unusable: list[tuple[Version, RuleInvalid]] = field(default_factory=list)

    def rule(self, key: str) -> Rule | None:
        """Return a rule, also one that was retired."""
        return self.rules.get(key) or self.retired.get(key)

    def title(self, key: str) -> tuple[str, str]:
        """Return a rule's title (en, zh); one that is not known is called by its key."""
        rule = self.rule(key)
        return (key, key) if rule is None else (rule.title_en, rule.title_zh)


def known(
    shipped: Mapping[str, Rule], newest: Iterable[Version], retired: Iterable[Version] = ()
) -> Known:
    """Put shipped rules and the newest versions of every scope together.

    `retired` are the last texts of rules that were taken away. What cannot be used is left out and
    named; the others go on.
    """
    found = Known(dict(shipped))
    for version in retired:
        if version.text is not None and version.rule_key not in shipped:
            try:
                found.retired[version.rule_key] = read_own(version.rule_key, version.text)
            except RuleInvalid:
                continue
    for version in sorted(newest, key=lambda one: (one.scope.rank, one.rule_key, one.scope)):
        if version.text is None:
            continue
        try:
            _take(found, shipped, version, version.text)
        except RuleInvalid as error:
            found.unusable.append((version, error))
    return found


def _take(found: Known, shipped: Mapping[str, Rule], version: Version, text: str) -> None:
    key = version.rule_key
    if version.scope == RULE:
        if key in shipped:
            raise taken(key)
        found.rules[key] = read_own(key, text)
        return
    rule = found.rules.get(key)
    if rule is None and key in found.retired:
        return  # it rests with its rule
    if rule is None:
        raise RuleInvalid(
            f"there is no rule {key}", reason_zh=f"没有规则 {key}", rule=key, field="override"
        )
    form = overridden(rule, read_override(key, text))
    if version.scope == ALL:
        found.rules[key] = form
    else:
        found.overrides.append((version, form))


def taken(key: str) -> RuleInvalid:
    """Return the refusal of a key that a shipped rule or an address of ours has."""
    return RuleInvalid(
        "this key is taken: shipped rules are changed by an override",
        reason_zh="此键已被占用：内置规则请用覆盖修改",
        rule=key,
        field="key",
    )


def check_own(rule: Rule, shipped: Mapping[str, Rule], others: Mapping[str, Rule]) -> None:
    """Refuse a rule of our own that does not go together with the others; raise `RuleInvalid`."""
    if rule.key in shipped or rule.key in RESERVED:
        raise taken(rule.key)
    for name, causes in (("cause", (rule.cause,) if rule.cause else ()), ("follows", rule.follows)):
        for cause in causes:
            if cause not in CAUSES:
                raise RuleInvalid(
                    f"there is no cause {cause[:60]}; there are {', '.join(CAUSES)}",
                    reason_zh=f"没有原因 {cause[:60]}；可用：{'、'.join(CAUSES)}",
                    rule=rule.key,
                    field=name,
                )
    for key in rule.inhibited_by:
        if key not in others or key == rule.key:
            raise RuleInvalid(
                f"there is no other rule {key[:60]}",
                reason_zh=f"没有其他规则 {key[:60]}",
                rule=rule.key,
                field="inhibited_by",
            )
        if rule.key in _explained(key, others):
            raise RuleInvalid(
                f"rule {key} is explained by this one already: neither would ever be heard",
                reason_zh=f"规则 {key} 已由本规则解释，二者将互相抑制",
                rule=rule.key,
                field="inhibited_by",
            )


def _explained(key: str, rules: Mapping[str, Rule]) -> set[str]:
    """Return the rules that explain a rule, or what explains it."""
    found: set[str] = set()
    ahead = [key]
    while ahead:
        rule = rules.get(ahead.pop())
        for other in () if rule is None else rule.inhibited_by:
            if other not in found:
                found.add(other)
                ahead.append(other)
    return found


def check_scope(rule: Rule, scope: Scope, shipped: Mapping[str, Rule]) -> None:
    """Refuse an override of a rule for units that it cannot be for; raise `RuleInvalid`."""
    if scope == ALL and rule.key not in shipped:
        raise RuleInvalid(
            "a rule of your own is edited, not overridden for all units",
            reason_zh="自建规则请直接编辑，无需对全部设备覆盖",
            rule=rule.key,
            field="scope",
        )
    if scope != ALL and subject_of(rule.columns) is not Subject.DEVICE:
        raise RuleInvalid(
            "this rule is about no unit: it can be overridden for all only",
            reason_zh="此规则不针对设备，只能整体覆盖",
            rule=rule.key,
            field="scope",
        )


def forms_of(
    overrides: Sequence[tuple[Version, Rule]], units: Mapping[int, Iterable[int]]
) -> tuple[dict[str, tuple[Rule, ...]], dict[str, dict[int, int]]]:
    """Return each rule's forms, and which of them a unit has.

    `units` are the units in the scope of each override, by its place in `overrides`, which are
    least specific first: the later one wins. Overrides that say the same share a form.
    """
    forms: dict[str, list[Rule]] = {}
    numbered: dict[str, dict[tuple[object, ...], int]] = {}
    places: dict[str, dict[int, int]] = {}
    for number, (version, form) in enumerate(overrides):
        key = version.rule_key
        place = numbered.setdefault(key, {}).setdefault(_said(form), len(numbered[key]))
        if place == len(forms.setdefault(key, [])):
            forms[key].append(form)
        places.setdefault(key, {}).update(dict.fromkeys(units.get(number, ()), place))
    return {key: tuple(of_key) for key, of_key in forms.items()}, places


def _said(form: Rule) -> tuple[object, ...]:
    """Return what overrides can change, to tell forms apart by."""
    clear = None if form.clear is None else form.clear.text
    return (
        form.condition.text,
        clear,
        form.raise_after,
        form.clear_after,
        form.severity,
        form.ticket,
    )
