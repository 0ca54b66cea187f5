"""What is told of rules, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rules.versions import Scope
from service_api.paging import Form, Strict

MOST_RULE_TEXT = 20_000
"""Characters of one rule in TOML."""
Why = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*$")]
"""Why something is changed: kept with it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a rule did: alarms standing now, alarms and tickets of 30 days, how tickets ended.

    `closed` tickets of 365 days have a closing code; `false_alarms` of them say false alarm.
    """

    standing: int = 0
    alarms: int = 0
    tickets: int = 0
    closed: int = 0
    false_alarms: int = 0


@dataclass(frozen=True, slots=True)
class Word:
    """One column of a condition, explained."""

    column: str
    en: str
    zh: str
    unit: str


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule: what it says, whether it is on, what it did.

    `version` is that of an own rule, `overrides` how many are in force for it.
    """

    key: str
    title_en: str
    title_zh: str
    severity: str
    condition: str
    clear: str | None
    raise_after_seconds: float
    clear_after_seconds: float
    source: str
    cause: str | None
    inhibited_by: list[str]
    failure_mode: str | None
    action_en: str | None
    action_zh: str | None
    words: list[Word]
    origin: Literal["shipped", "own"]
    version: int | None
    retired: bool
    overrides: int
    enabled: bool
    off_reason: str | None
    off_by: str | None
    off_at: datetime | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """A rule switched off or on."""

    at: datetime
    kind: str
    actor: str
    reason: str


class Switching(Strict):
    """Why a rule is switched off or on."""

    reason: Why


class SwitchingForm(Form):
    """The same from a page."""

    reason: Why


class RuleText(Strict):
    """Rules in TOML."""

    text: Annotated[str, Field(max_length=200_000)]


@dataclass(frozen=True, slots=True)
class Place:
    """Why a text was refused, and where: `position` counts characters of the field from 1."""

    rule: str | None
    field: str | None
    position: int | None
    reason_en: str
    reason_zh: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether rules can be read: their keys, or the reason why not and its place."""

    rules: list[str]
    problem: str | None
    place: Place | None = None


_About = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class ScopeChoice(Strict):
    """Which units an override is for: all, a model (perhaps of one maker), a site, a device."""

    kind: Literal["all", "model", "site", "device"]
    about: _About = ""
    maker: _About = ""

    @model_validator(mode="after")
    def _is_whole(self) -> "ScopeChoice":
        if (self.kind == "all") is bool(self.about.strip()):
            raise ValueError("`about` names the model, or the key of the site or device")
        if self.maker and self.kind != "model":
            raise ValueError("`maker` goes with a model")
        return self

    @property
    def scope(self) -> Scope:
        """The same for `rules`."""
        return Scope(self.kind, self.about.strip(), self.maker.strip())


class RuleSaving(Strict):
    """One rule in TOML, and why; `based_on` is the version that it was made from."""

    text: Annotated[str, Field(max_length=MOST_RULE_TEXT)]
    reason: Why
    based_on: Annotated[int | None, Field(ge=1)] = None


class OverrideSaving(RuleSaving):
    """What differs for some units, in TOML under the rule's key."""

    scope: ScopeChoice


class OverrideEnding(Strict):
    """Which override ends, and why."""

    scope: ScopeChoice
    reason: Why


class Draft(Strict):
    """A rule in TOML that is not saved, or an override of the rule that the text names."""

    text: Annotated[str, Field(max_length=MOST_RULE_TEXT)]
    scope: ScopeChoice | None = None


class Importing(Strict):
    """Own rules and overrides in TOML.

    `replace`: what the text does not name is taken away. `dry_run`: only say what would change.
    """

    text: Annotated[str, Field(max_length=500_000)]
    reason: Why
    replace: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Caution:
    """Something to think over before a rule is saved."""

    kind: str
    field: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class PreviewUnit:
    """A unit that a rule would hold for now."""

    id: int
    key: str
    name: str
    site: str
    site_zh: str
    values: dict[str, float | bool | str | None]


@dataclass(frozen=True, slots=True)
class Preview:
    """For how many units a condition holds now, of how many; the first of them.

    `unsure` are units that only the past decides; `unknown` those that do not tell the values.
    """

    units: int
    holds: int
    unsure: int
    unknown: int
    first: list[PreviewUnit]


@dataclass(frozen=True, slots=True)
class Drafted:
    """What a draft would be: refused with its place, or as it would be saved, with cautions.

    `rule_text` is the whole rule in TOML, with the override if it is one: what to try on history.
    `preview` is None for a rule that is about no unit.
    """

    problem: Place | None
    text: str | None
    rule_text: str | None
    cautions: list[Caution]
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule or override; `text` None: retired, or taken away."""

    id: int
    rule_key: str
    scope: str
    about: str
    maker: str
    version: int
    text: str | None
    at: datetime
    actor: str
    reason: str
    in_force: bool


@dataclass(frozen=True, slots=True)
class Override:
    """An override in force: what it changes, for how many units; `problem`: why it is not used."""

    version: RuleVersion
    fields: dict[str, Any]
    units: int
    problem: Place | None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that two versions have differently; None where one lacks it."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What an import changes of one rule or override."""

    rule_key: str
    scope: str
    about: str
    maker: str
    deed: Literal["add", "change", "take_away"]
    differences: list[FieldChange]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import changed, or would change."""

    changes: list[Change]
    saved: bool


@dataclass(frozen=True, slots=True)
class KnownWord:
    """A word of rule text: a column or a function over time."""

    word: str
    kind: str
    en: str
    zh: str
    unit: str
    low: float | None
    high: float | None
    choices: list[str]
    about: str


class OverrideEndForm(Form):
    """Which override ends, by its version, and why."""

    version: Annotated[int, Field(ge=1)]
    reason: Why


class ImportForm(Form):
    """A text to be taken in, from a page."""

    text: Annotated[str, Field(max_length=500_000)] = ""
    reason: Why
    replace: str = ""
    deed: Literal["look", "save"] = "look"
