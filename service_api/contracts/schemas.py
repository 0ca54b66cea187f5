"""What is told of contracts and calendars, and what people may send."""

from dataclasses import dataclass
from datetime import date, time
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from rules.workdays import UnknownCountry, day_kinds
from service_api.customers.schemas import Key, Name
from service_api.paging import Form, ListQuery, Strict

ContractState: TypeAlias = Literal["draft", "active", "cancelled"]
Minutes: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]


def _known_country(code: str | None) -> str | None:
    try:
        day_kinds(code)
    except UnknownCountry as unknown:
        raise ValueError(str(unknown)) from unknown
    return code


Country: TypeAlias = Annotated[str | None, AfterValidator(_known_country)]


@dataclass(frozen=True, slots=True)
class ContractLine:
    """A contract at a glance: customer, name, state, dates, response."""

    id: int
    key: str
    name: str
    name_zh: str
    customer_id: int
    customer: str
    customer_zh: str
    state: ContractState
    starts_on: date
    ends_on: date
    calendar_id: int
    calendar: str
    calendar_zh: str
    respond_minutes: int
    restore_minutes: int | None
    covers_parts: bool
    covers_labor: bool
    covers_batteries: bool
    visits_per_year: int
    devices: int


@dataclass(frozen=True, slots=True)
class CoveredDevice:
    """A unit that a contract lists."""

    id: int
    key: str
    name: str
    model: str | None
    site_id: int
    site: str
    site_zh: str


@dataclass(frozen=True, slots=True)
class CalendarLine:
    """A calendar that promises count on."""

    id: int
    key: str
    name: str
    name_zh: str
    always: bool
    opens: time
    closes: time
    weekdays: list[int]
    holiday_country: str | None


class ContractQuery(ListQuery):
    """Which contracts; `standing` is what covers something today, `ending` ends within 90 days."""

    show: Literal["standing", "ending", "ended", "all"] = "all"
    customer_id: int | None = None
    q: Annotated[str | None, Field(max_length=200)] = None


class NewContract(Strict):
    """A contract to write down."""

    key: Key
    customer_id: int
    name: Name
    name_zh: Name
    state: ContractState = "active"
    starts_on: date
    ends_on: date
    calendar_id: int
    respond_minutes: Minutes
    restore_minutes: Minutes | None = None
    covers_parts: bool = False
    covers_labor: bool = True
    covers_batteries: bool = False
    visits_per_year: Annotated[int, Field(ge=0, le=366)] = 2
    device_ids: list[int] = Field(default_factory=list)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ends_on < self.starts_on:
            raise ValueError("ends_on is before starts_on")
        return self


class ContractChange(Strict):
    """What to change of a contract; what is left out stays."""

    name: Name | None = None
    name_zh: Name | None = None
    state: ContractState | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    calendar_id: int | None = None
    respond_minutes: Minutes | None = None
    restore_minutes: Minutes | None = None
    covers_parts: bool | None = None
    covers_labor: bool | None = None
    covers_batteries: bool | None = None
    visits_per_year: Annotated[int | None, Field(ge=0, le=366)] = None


class CoveredDevices(Strict):
    """All the units that a contract covers from now on."""

    device_ids: list[int]


class NewCalendar(Strict):
    """A calendar to write down; `weekdays` are ISO numbers, 1 is Monday."""

    key: Key
    name: Name
    name_zh: Name
    always: bool = False
    opens: time = time(8, 30)
    closes: time = time(17, 30)
    weekdays: set[Annotated[int, Field(ge=1, le=7)]] = Field(
        default_factory=lambda: {1, 2, 3, 4, 5}, min_length=1
    )
    holiday_country: Country = None


class NewContractForm(Form):
    """What the page's form sends; it covers every unit of the chosen sites."""

    key: Key
    customer_id: int
    name: Name
    name_zh: Name
    starts_on: date
    ends_on: date
    calendar_id: int
    respond_hours: Annotated[float, Field(gt=0, le=10_000)]
    site_ids: list[int] = Field(default_factory=list)
    covers_parts: bool = False
    covers_batteries: bool = False


class ContractStateForm(Form):
    """What the buttons on a contract's page send."""

    state: ContractState
