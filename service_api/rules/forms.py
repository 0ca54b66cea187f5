"""Rules and overrides as people fill them in: what a form asks, and the same as TOML's fields.

A form shows the usual fields; what it does not show (causes, what it follows, steps of reminders)
stays as the rule has it and is written as TOML. No database here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from rules.catalogue import RuleInvalid
from rules.catalogue.text import KEY, override_of, read_tables, rule_of
from rules.catalogue.writing import fields_of, override_fields, table
from rules.versions import Scope
from service_api.paging import Form
from service_api.rules.schemas import MOST_RULE_TEXT

_Short = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
_Long = Annotated[str, Field(max_length=4_000)]
_UNNAMED = "unnamed"
UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


class RuleForm(Form):
    """One rule or override as the page sends it; empty: not said. `toml` is sent instead of it."""

    key: _Short = ""
    title_en: _Short = ""
    title_zh: _Short = ""
    severity: _Short = ""
    condition: _Long = ""
    clear: _Long = ""
    raise_value: _Short = ""
    raise_unit: _Short = "min"
    clear_value: _Short = ""
    clear_unit: _Short = "min"
    source: _Long = ""
    inhibited_by: _Long = ""
    latches: _Short = ""
    work: _Short = "alarm"
    failure_mode: _Short = ""
    impact: _Short = "medium"
    urgency: _Short = "medium"
    skills: _Long = ""
    part_kinds: _Long = ""
    owner: _Short = "dispatcher"
    action_en: _Long = ""
    action_zh: _Long = ""
    scope_kind: _Short = "device"
    device: _Short = ""
    site: _Short = ""
    model: _Short = ""
    toml: Annotated[str, Field(max_length=MOST_RULE_TEXT)] = ""
    by: _Short = "form"
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""
    based_on: _Short = ""

    @property
    def version(self) -> int | None:
        """The version that the page was made from."""
        return int(self.based_on) if self.based_on.isdecimal() else None

    def scope(self) -> Scope:
        """Return which units an override is for; raise `RuleInvalid` where that is not said."""
        match self.scope_kind:
            case "all":
                return Scope("all")
            case "model":
                maker, _, model = self.model.rpartition("\n")
                found = Scope("model", model.strip(), maker.strip())
            case "site":
                found = Scope("site", self.site.strip())
            case _:
                found = Scope("device", self.device.strip())
        if not found.about:
            raise RuleInvalid(
                "say for which units", reason_zh="请指明适用的设备", rule=self.key, field="scope"
            )
        return found


def rule_toml(form: RuleForm, base: Mapping[str, Any]) -> str:
    """Write a rule's form as TOML; `base` is the rule as it was, whose other fields stay."""
    if form.by == "toml":
        return form.toml
    if not KEY.fullmatch(form.key.strip()):
        raise RuleInvalid(
            "a rule's key is lower-case letters, digits and _, such as steady_load",
            reason_zh="规则键由小写字母、数字和下划线组成，例如 steady_load",
            rule=form.key[:80],
            field="key",
        )
    fields: dict[str, Any] = {
        **base,
        "title": {"en": form.title_en.strip(), "zh": form.title_zh.strip()},
        "severity": form.severity,
        "condition": form.condition.strip(),
        "clear": form.clear.strip() or None,
        "raise_after_seconds": _seconds(form, "raise", form.raise_value, form.raise_unit) or 0,
        "clear_after_seconds": _seconds(form, "clear", form.clear_value, form.clear_unit) or 0,
        "source": form.source.strip(),
        "inhibited_by": _listed(form.inhibited_by) or None,
        "latches": True if form.latches == "yes" else None,
        "ticket": _ticket(form) if form.work == "ticket" else None,
        "reminder": {**base.get("reminder", {}), **_reminder(form)}
        if form.work == "reminder"
        else None,
    }
    return table(f"[{form.key.strip()}]", _given(fields))


def override_toml(form: RuleForm) -> str:
    """Write an override's form as TOML: what is filled in differs, the rest stays."""
    if form.by == "toml":
        return form.toml
    fields = {
        "severity": form.severity or None,
        "condition": form.condition.strip() or None,
        "clear": form.clear.strip() or None,
        "raise_after_seconds": _seconds(form, "raise", form.raise_value, form.raise_unit),
        "clear_after_seconds": _seconds(form, "clear", form.clear_value, form.clear_unit),
        "ticket": _ticket(form) if form.work == "ticket" else None,
        "no_ticket": True if form.work == "none" else None,
    }
    return table(f"[{form.key}]", _given(fields))


def begun(form: RuleForm) -> RuleForm:
    """Return a form that is still being filled in, with something where only words are missing."""
    blank = {
        name: "…"
        for name in ("title_en", "title_zh", "source", "action_en", "action_zh")
        if not getattr(form, name).strip()
    }
    if not form.failure_mode.strip():
        blank["failure_mode"] = _UNNAMED
    if not form.key.strip():
        blank["key"] = _UNNAMED
    return form.model_copy(update=blank)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _listed(text: str) -> list[str]:
    return re.findall(r"[^\s,，、]+", text)


def _ticket(form: RuleForm) -> dict[str, Any]:
    return _given(
        {
            "failure_mode": form.failure_mode.strip(),
            "impact": form.impact,
            "urgency": form.urgency,
            "skills": _listed(form.skills) or None,
            "part_kinds": _listed(form.part_kinds) or None,
            "action": {"en": form.action_en.strip(), "zh": form.action_zh.strip()},
        }
    )


def _reminder(form: RuleForm) -> dict[str, Any]:
    return {
        "owner": form.owner,
        "action": {"en": form.action_en.strip(), "zh": form.action_zh.strip()},
    }


def _seconds(form: RuleForm, which: str, value: str, unit: str) -> int | None:
    if not value.strip():
        return None
    try:
        seconds = float(value) * UNITS.get(unit, 60)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 30 * UNITS["d"]:
        raise RuleInvalid(
            "a time is a number, up to 30 days",
            reason_zh="时间须为数字，最长 30 天",
            rule=form.key[:80],
            field=f"{which}_after_seconds",
        )
    return round(seconds)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold time as a form shows it."""

    value: str
    unit: str


def hold(seconds: float | None) -> Hold:
    """Return a time in the largest unit that leaves it whole."""
    if seconds is None:
        return Hold("", "min")
    if seconds == 0:
        return Hold("0", "min")
    unit = max((name for name, size in UNITS.items() if seconds % size == 0), key=UNITS.__getitem__)
    return Hold(str(round(seconds / UNITS[unit])), unit)


def filled(fields: Mapping[str, Any], **more: str) -> RuleForm:
    """Return the form of a rule's or override's fields."""
    ticket, reminder = fields.get("ticket"), fields.get("reminder")
    raising, clearing = (
        hold(fields.get(name)) for name in ("raise_after_seconds", "clear_after_seconds")
    )
    title = fields.get("title", {})
    action = (ticket or reminder or {}).get("action", {})
    work = "ticket" if ticket else "reminder" if reminder else "none"
    if work == "none" and not fields.get("no_ticket"):
        work = "alarm"
    said = {
        "title_en": title.get("en", ""),
        "title_zh": title.get("zh", ""),
        "severity": fields.get("severity", ""),
        "condition": fields.get("condition", "").strip(),
        "clear": fields.get("clear", "").strip(),
        "raise_value": raising.value,
        "raise_unit": raising.unit,
        "clear_value": clearing.value,
        "clear_unit": clearing.unit,
        "source": fields.get("source", ""),
        "inhibited_by": ", ".join(fields.get("inhibited_by", [])),
        "latches": "yes" if fields.get("latches") else "",
        "work": work,
        "action_en": action.get("en", ""),
        "action_zh": action.get("zh", ""),
    }
    if ticket:
        said |= {name: ticket[name] for name in ("failure_mode", "impact", "urgency")}
        said |= {name: ", ".join(ticket.get(name, [])) for name in ("skills", "part_kinds")}
    if reminder:
        said["owner"] = reminder["owner"]
    return RuleForm(**{**said, **more})


_KEPT = ("scope_kind", "device", "site", "model", "reason", "based_on")
"""What stands on a page whether a rule is filled in or written."""


def turned(form: RuleForm, base: Mapping[str, Any], *, is_override: bool) -> RuleForm:
    """Return what was filled in as TOML, or what was written as a form; raise `RuleInvalid`."""
    if form.by != "toml":
        text = override_toml(form) if is_override else rule_toml(begun(form), base)
        return form.model_copy(update={"by": "toml", "toml": text})
    tables = read_tables(form.toml)
    key = next(iter(tables), "")
    if is_override:
        one = tables.get(key)
        fields = override_fields(override_of(key, one)) if one else {}
    else:
        fields = fields_of(rule_of(key, tables.get(key)))
    kept = {name: getattr(form, name) for name in _KEPT}
    return filled(fields, key=key, by="form", **kept)
