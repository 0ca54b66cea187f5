"""What is told of problem records, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from rules.problems import ProblemKind, ProblemState
from service_api.paging import Form, ListQuery, Strict

Text = Annotated[str, Field(max_length=4_000)]


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault that comes back at a unit, a model, a site, or as an alarm that flaps.

    `failure` is a failure mode, an incident's cause or a rule; `title` says it in words. `next` are
    the states it can go to. `times` counts the evidence.
    """

    id: int
    kind: ProblemKind
    subject: str
    failure: str
    device_id: int | None
    site_id: int | None
    name: str
    name_zh: str
    state: ProblemState
    found_at: datetime
    last_at: datetime
    settled_at: datetime | None
    owner: str
    root_cause: str
    workaround: str
    measures: str
    times: int
    title_en: str
    title_zh: str
    next: list[ProblemState]


@dataclass(frozen=True, slots=True)
class ProblemEvidence:
    """One time that the fault came: a ticket, an incident, or alarms that were made quiet."""

    about: Literal["ticket", "incident", "suppression"]
    ref: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ProblemEvent:
    """One line of a problem's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProblemDetail:
    """A problem with its evidence, newest first, and its log."""

    problem: Problem
    evidence: list[ProblemEvidence]
    log: list[ProblemEvent]


class ProblemQuery(ListQuery):
    """Which problems; `open` is what is neither closed nor dismissed."""

    state: Literal["open", "settled", "all"] = "open"
    kind: ProblemKind | None = None
    device_id: int | None = None
    site_id: int | None = None


class ProblemMove(Strict):
    """Where a problem goes to; dismissing needs a reason."""

    to: ProblemState
    reason: Annotated[str, Field(max_length=500)] = ""


class ProblemDescription(Strict):
    """What is known of a problem, and who sees to it."""

    owner: Annotated[str, Field(max_length=200)] = ""
    root_cause: Text = ""
    workaround: Text = ""
    measures: Text = ""


class ProblemMoveForm(Form, ProblemMove):
    """What the page's buttons send."""


class ProblemDescriptionForm(Form, ProblemDescription):
    """What the page's form sends."""
