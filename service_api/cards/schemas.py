"""What is told of a unit's card, and what people may fix about asking it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from collector.patience import BOUNDS
from service_api.paging import Form, Strict


@dataclass(frozen=True, slots=True)
class Patience:
    """How a card is asked; None where it was not learned or not set.

    `objects` is the most that one request asks for, `pause_seconds` what passes between requests,
    `deadline_seconds` what a poll may take, `interval_seconds` the least time between two polls.
    """

    objects: int | None = None
    pause_seconds: float | None = None
    deadline_seconds: float | None = None
    interval_seconds: float | None = None
    bulk: bool | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """The card of a unit that is polled.

    `patience` is in force: what people `set`, else what was `learned`, else what the device list
    and the profile say. `failure` is None while the card can be read. `same_engine` are the keys of
    other units that go by the same SNMP engine id.
    """

    patience: Patience
    learned: Patience
    set: Patience
    engine_id: str | None
    same_engine: list[str]
    restarted_at: datetime | None
    failing_since_at: datetime | None
    failure: str | None
    failure_detail: str | None
    sentence_en: str | None
    sentence_zh: str | None


def _bounds(name: str) -> tuple[float, float]:
    return BOUNDS[name]


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Objects: TypeAlias = Annotated[
    int, Field(ge=int(_bounds("objects")[0]), le=int(_bounds("objects")[1]), strict=True)
]
Pause: TypeAlias = Annotated[
    float,
    Field(ge=_bounds("pause_seconds")[0], le=_bounds("pause_seconds")[1], allow_inf_nan=False),
]
Deadline: TypeAlias = Annotated[
    float,
    Field(
        ge=_bounds("deadline_seconds")[0], le=_bounds("deadline_seconds")[1], allow_inf_nan=False
    ),
]
Interval: TypeAlias = Annotated[
    float,
    Field(
        ge=_bounds("interval_seconds")[0], le=_bounds("interval_seconds")[1], allow_inf_nan=False
    ),
]


class PatienceSetting(Strict):
    """How a card is to be asked; what is left out, or null, is learned."""

    objects: Objects | None = None
    pause_seconds: Annotated[Pause, Field(strict=True)] | None = None
    deadline_seconds: Annotated[Deadline, Field(strict=True)] | None = None
    interval_seconds: Annotated[Interval, Field(strict=True)] | None = None
    bulk: Annotated[bool, Field(strict=True)] | None = None


class PatienceForm(Form):
    """What the page's form about asking a card sends; an empty field is learned."""

    objects: Annotated[
        Annotated[int, Field(ge=1, le=60)] | None, BeforeValidator(_none_if_empty)
    ] = None
    pause_seconds: Annotated[Pause | None, BeforeValidator(_none_if_empty)] = None
    deadline_seconds: Annotated[Deadline | None, BeforeValidator(_none_if_empty)] = None
    interval_seconds: Annotated[Interval | None, BeforeValidator(_none_if_empty)] = None
    bulk: Annotated[bool | None, BeforeValidator(_none_if_empty)] = None

    def setting(self) -> PatienceSetting:
        """Return what is to be set."""
        return PatienceSetting(**self.model_dump(exclude={"csrf_token"}))
