"""What is told of back-tests, and what people may ask for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field

from service_api.paging import Form, ListQuery, Strict

BacktestState: TypeAlias = Literal[
    "asked", "estimated", "queued", "running", "done", "failed", "cancelled"
]
MOST_TEXT = 20_000
"""Characters of a rule in TOML."""

_Key = Annotated[str | None, Field(max_length=100)]


class RuleChoice(Strict):
    """A rule in force by its key, one of its versions, or TOML; `key` picks one of several there.

    The version of an override is tried as the rule with that override, on all units asked for.
    """

    key: _Key = None
    version: Annotated[int | None, Field(ge=1, le=2**53)] = None
    text: Annotated[str | None, Field(max_length=MOST_TEXT)] = None


class NewBacktest(Strict):
    """A rule, perhaps another beside it, a span, and which units: all, or those that match.

    `until` is now where it is left out. `run`: false only estimates what it would take. In `model`
    a % stands for anything.
    """

    rule: RuleChoice
    against: RuleChoice | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    device: _Key = None
    site: _Key = None
    customer: _Key = None
    model: _Key = None
    run: bool = True


class NewBacktestForm(Form):
    """The form on the page; days are UTC days, the last one whole."""

    rule: str = ""
    text: Annotated[str, Field(max_length=MOST_TEXT)] = ""
    against: str = ""
    against_text: Annotated[str, Field(max_length=MOST_TEXT)] = ""
    since: Annotated[str, Field(max_length=10)] = ""
    until: Annotated[str, Field(max_length=10)] = ""
    device: Annotated[str, Field(max_length=100)] = ""
    site: Annotated[str, Field(max_length=100)] = ""
    model: Annotated[str, Field(max_length=100)] = ""
    deed: Literal["estimate", "run"] = "run"


class BacktestQuery(ListQuery):
    """Which back-tests."""

    state: BacktestState | None = None


class BacktestsQuery(BacktestQuery):
    """The same on the page, where a rule may be chosen beforehand."""

    rule: Annotated[str, Field(max_length=100)] = "high_load"


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """A back-test as lists have it."""

    id: int
    state: BacktestState
    rules: list[dict[str, str | None]]
    since_at: datetime
    until_at: datetime
    scope: dict[str, str]
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancelled_by: str | None
    parts_done: int
    parts: int
    error_en: str | None
    error_zh: str | None


@dataclass(frozen=True, slots=True)
class Backtest(BacktestRow):
    """A back-test with its estimate and, once it is done, what the rules would have raised."""

    estimate: dict[str, Any] | None
    result: dict[str, Any] | None
