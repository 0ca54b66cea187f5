"""What is told of customers, contacts and sites, and what people may send."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from service_api.paging import Form, ListQuery, Strict

ValueClass: TypeAlias = Literal["vip", "large", "standard", "indirect"]
ContactLanguage: TypeAlias = Literal["en", "zh"]
Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Short: TypeAlias = Annotated[str, Field(max_length=200)]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("not an IANA time zone such as Asia/Shanghai")
    return name


TimeZone: TypeAlias = Annotated[str, AfterValidator(_known_zone)]


@dataclass(frozen=True, slots=True)
class CustomerLine:
    """A customer with how much hangs on it."""

    id: int
    key: str
    name: str
    name_zh: str
    value_class: ValueClass
    sites: int
    devices: int
    open_tickets: int
    contracts: int


@dataclass(frozen=True, slots=True)
class Contact:
    """A person to tell; the address of the channel itself is never told."""

    id: int
    customer_id: int
    site_id: int | None
    name: str
    duty: str
    phone: str
    email: str
    language: ContactLanguage
    wants_notices: bool
    has_channel: bool


@dataclass(frozen=True, slots=True)
class SiteLine:
    """A place with units."""

    id: int
    key: str
    name: str
    name_zh: str
    customer_id: int
    customer: str
    customer_zh: str
    address: str
    time_zone: str
    latitude: float | None
    longitude: float | None
    service_center_id: int | None
    service_center: str | None
    service_center_zh: str | None
    devices: int


class CustomerQuery(ListQuery):
    """Which customers."""

    q: Annotated[str | None, Field(max_length=200)] = None
    value_class: ValueClass | None = None


class SiteQuery(ListQuery):
    """Which sites."""

    q: Annotated[str | None, Field(max_length=200)] = None
    customer_id: int | None = None


class NewCustomer(Strict):
    """A customer to write down."""

    key: Key
    name: Name
    name_zh: Name
    value_class: ValueClass = "standard"


class CustomerChange(Strict):
    """What to change of a customer; what is left out stays."""

    name: Name | None = None
    name_zh: Name | None = None
    value_class: ValueClass | None = None


class NewContact(Strict):
    """A contact to write down; `channel` is an Apprise address, kept sealed."""

    name: Name
    duty: Short = ""
    phone: Short = ""
    email: Short = ""
    language: ContactLanguage = "zh"
    wants_notices: bool = True
    site_id: int | None = None
    channel: Annotated[str | None, Field(max_length=2_000)] = None


class NewSite(Strict):
    """A site to write down."""

    key: Key
    name: Name
    name_zh: Name
    address: Annotated[str, Field(max_length=500)] = ""
    time_zone: TimeZone = "Asia/Shanghai"
    latitude: Annotated[float | None, Field(ge=-90, le=90)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180)] = None
    service_center_id: int | None = None


class NewCustomerForm(Form, NewCustomer):
    """What the page's form for a customer sends."""


class NewContactForm(Form):
    """What the page's form for a contact sends."""

    name: Name
    duty: Short = ""
    phone: Short = ""
    language: ContactLanguage = "zh"
    channel: Annotated[str, Field(max_length=2_000)] = ""
    wants_notices: bool = False
