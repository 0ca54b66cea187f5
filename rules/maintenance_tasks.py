"""Tasks of planned work: what recurs at which units; the shipped ones are a TOML file beside this.

Pure. When a task is due at a unit is reckoned in `rules.maintenance_due`. People change tasks in
the database; what is read here, they start from.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rules.catalogue import COLUMNS
from rules.conditions import Condition, ConditionInvalid, parse
from rules.maintenance import CountedFrom
from rules.wear import Component


class Meter(StrEnum):
    """What a unit's use is counted in, since the work was last done."""

    RUN_HOURS = "run_hours"
    BATTERY_HOURS = "battery_hours"
    TRANSFERS = "transfers"
    DEEP_DISCHARGES = "deep_discharges"
    """Discharges of more than half the charge."""
    ENERGY_KWH = "energy_kwh"


class TaskInvalid(ValueError):
    """A task cannot be used; the message names the task, the field and the reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Patterns = list[str]


class Selector(_Strict):
    """Which units a task is for; what is left out does not matter.

    Models, makers and profiles are patterns with `*` and `?`, capitals aside. A unit of which
    something that is asked for is not known does not match.
    """

    profiles: Patterns = []
    models: Patterns = []
    manufacturers: Patterns = []
    chemistry: Literal["vrla", "li-ion"] | None = None
    three_phase: bool | None = None
    least_va: float | None = Field(default=None, ge=0)
    most_va: float | None = Field(default=None, ge=0)

    def matches(self, unit: "UnitKind") -> bool:
        """Tell whether a unit is meant."""
        return (
            _like(unit.profile, self.profiles)
            and _like(unit.model, self.models)
            and _like(unit.manufacturer, self.manufacturers)
            and self.chemistry in {None, unit.chemistry}
            and self.three_phase in {None, unit.three_phase}
            and (self.least_va is None or (unit.va is not None and unit.va >= self.least_va))
            and (self.most_va is None or (unit.va is not None and unit.va <= self.most_va))
        )


def _like(value: str | None, patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    return value is not None and any(
        fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns
    )


@dataclass(frozen=True, slots=True)
class UnitKind:
    """What selectors look at; None is not known."""

    profile: str | None = None
    model: str | None = None
    manufacturer: str | None = None
    chemistry: str = "vrla"
    three_phase: bool | None = None
    va: float | None = None


class MeterLimit(_Strict):
    """What use makes work due: so much since it was last done, or so much a year.

    `every`: due once so much has come together. `per_year` with `within_months`: due so soon after
    the last time where use is heavier. `per_year` with `shortens_by`: at that use the interval is
    shorter by this share, at less use by less.
    """

    meter: Meter
    every: float | None = Field(default=None, gt=0)
    per_year: float | None = Field(default=None, gt=0)
    within_months: int | None = Field(default=None, ge=1, le=240)
    shortens_by: float | None = Field(default=None, gt=0, le=0.9)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        by_year = (self.within_months is None) != (self.shortens_by is None)
        if (self.every is None) == (self.per_year is None) or (
            self.per_year is not None
        ) != by_year:
            raise ValueError(
                "say `every`, or `per_year` with `within_months` or `shortens_by`, and no more"
            )
        return self


class ConditionLimit(_Strict):
    """Rule text that makes work due `within_days` of the day on which it was first seen to hold."""

    text: str = Field(min_length=1, max_length=4_000)
    within_days: int = Field(ge=0, le=730)
    en: str = Field(min_length=1, max_length=200)
    zh: str = Field(min_length=1, max_length=200)

    @field_validator("text")
    @classmethod
    def _is_rule_text(cls, text: str) -> str:
        try:
            found = parse(text, COLUMNS, with_past=())
        except ConditionInvalid as error:
            raise ValueError(str(error)) from error
        return found.text

    @property
    def condition(self) -> Condition:
        """The text, read."""
        return _parsed(self.text)


@cache
def _parsed(text: str) -> Condition:
    return parse(text, COLUMNS, with_past=())


class _Texts(_Strict):
    en: list[str] = []
    zh: list[str] = []


class _Title(_Strict):
    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class _TaskText(_Strict):
    title: _Title
    every_months: int = Field(ge=1, le=240)
    counted_from: CountedFrom
    on_site: bool = True
    tickets: bool = True
    minutes: int = Field(ge=1)
    minutes_three_phase: int | None = Field(default=None, ge=1)
    skills: list[str] = []
    part_kinds: list[str] = []
    component: Component | None = None
    includes: list[str] = []
    selector: Selector = Selector()
    meters: list[MeterLimit] = []
    conditions: list[ConditionLimit] = []
    steps: _Texts
    source: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Task:
    """Work that recurs, complete: what, how long, with what, when, at which units."""

    key: str
    title_en: str
    title_zh: str
    every_months: int
    counted_from: CountedFrom
    minutes: int
    minutes_three_phase: int | None = None
    on_site: bool = True
    opens_tickets: bool = True
    skills: tuple[str, ...] = ()
    part_kinds: tuple[str, ...] = ()
    component: Component | None = None
    includes: tuple[str, ...] = ()
    selector: Selector = field(default_factory=Selector)
    meters: tuple[MeterLimit, ...] = ()
    conditions: tuple[ConditionLimit, ...] = ()
    steps_en: tuple[str, ...] = ()
    steps_zh: tuple[str, ...] = ()
    source: str = ""

    def minutes_at(self, unit: UnitKind) -> int:
        """Return how long it takes at a unit; single-phase where nobody knows."""
        three = self.minutes_three_phase
        return three if three is not None and unit.three_phase else self.minutes


def read_tasks(toml_text: str) -> dict[str, Task]:
    """Read tasks from TOML, one table each; raise `TaskInvalid` with task, field and reason."""
    try:
        tables: Mapping[str, Any] = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise TaskInvalid(f"not valid TOML: {error}") from error
    tasks = {}
    for key, table in tables.items():
        try:
            text = _TaskText.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "table"
            raise TaskInvalid(f"task {key}, {where}: {first['msg']}") from error
        tasks[key] = Task(
            key=key,
            title_en=text.title.en,
            title_zh=text.title.zh,
            every_months=text.every_months,
            counted_from=text.counted_from,
            minutes=text.minutes,
            minutes_three_phase=text.minutes_three_phase,
            on_site=text.on_site,
            opens_tickets=text.tickets and text.on_site,
            skills=tuple(text.skills),
            part_kinds=tuple(text.part_kinds),
            component=text.component,
            includes=tuple(text.includes),
            selector=text.selector,
            meters=tuple(text.meters),
            conditions=tuple(text.conditions),
            steps_en=tuple(text.steps.en),
            steps_zh=tuple(text.steps.zh),
            source=text.source,
        )
    for task in tasks.values():
        for included in task.includes:
            if included not in tasks:
                raise TaskInvalid(f"task {task.key}, includes: there is no task {included}")
    return tasks


@cache
def shipped_tasks() -> Mapping[str, Task]:
    """Return the shipped tasks by key."""
    return read_tasks(files("rules").joinpath("maintenance_tasks.toml").read_text("utf-8"))
