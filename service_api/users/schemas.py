"""What is told of users, and what an administrator may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from service_api.paging import Form, ListQuery, Strict

Role: TypeAlias = Literal["admin", "dispatcher", "engineer", "customer", "integrator"]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Password: TypeAlias = Annotated[str, Field(min_length=10, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class UserLine:
    """Somebody who may log in; never a password."""

    id: int
    name: str
    role: Role
    customer_id: int | None
    customer: str | None
    customer_zh: str | None
    language: Literal["en", "zh"]
    enabled: bool
    api_keys: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a machine, without the key itself, which is told once and kept only hashed."""

    id: str
    label: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key just made: the only time that it is told."""

    key: str


class UserQuery(ListQuery):
    """Which users."""

    role: Role | None = None
    enabled: bool | None = None


class NewUser(Strict):
    """A user to make; a customer's user needs the customer."""

    name: Name
    password: Password
    role: Role
    customer_id: int | None = None
    language: Literal["en", "zh"] = "zh"


class UserChange(Strict):
    """What to change; what is left out stays."""

    enabled: bool | None = None
    password: Password | None = None
    language: Literal["en", "zh"] | None = None


class KeyRequest(Strict):
    """What a key is for."""

    label: Annotated[str, Field(min_length=1, max_length=200)]


class NewUserForm(Form):
    """What the page sends; `customer_id` is empty for everybody but customers."""

    name: Name
    password: Password
    role: Role
    customer_id: Annotated[str, Field(pattern=r"^[0-9]{0,18}$")] = ""
    language: Literal["en", "zh"] = "zh"


class SwitchForm(Form):
    """What the page's enable and disable buttons send."""

    enabled: bool


class PasswordForm(Form):
    """What the page's form for a new password sends."""

    password: Password


class KeyForm(Form, KeyRequest):
    """What the page's form for a new key sends."""
