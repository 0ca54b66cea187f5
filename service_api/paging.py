"""Lists and request bodies: how every noun's API cuts, counts and checks.

A list is cut by keyset: the cursor holds the sort values of the last row, so a page costs the same
wherever it lies and rows that come and go in between neither repeat nor hide others.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, LiteralString, Self, TypeAlias, TypeVar

import psycopg
from psycopg.rows import TupleRow
from pydantic import BaseModel, ConfigDict, Field

from service_api.errors import Invalid

COUNT_AT_MOST = 10_001
"""A total stops here: counting further costs more than anybody reads."""

T = TypeVar("T")
CursorValue: TypeAlias = str | int | float | bool


class Strict(BaseModel):
    """A request body or a set of query parameters: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid")


class Form(Strict):
    """The body of a form on a page; its token is checked where the session is."""

    csrf_token: str = ""


class ListQuery(Strict):
    """The query parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


class Page(BaseModel, Generic[T]):
    """A part of a list; `total` stops at 10,001; `next` is the cursor of the following one."""

    items: list[T]
    total: int
    next: str | None


def encode_cursor(values: Sequence[CursorValue | datetime]) -> str:
    """Pack the sort values of a row."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> tuple[CursorValue, ...]:
    """Unpack `length` sort values; raise `Invalid` for anything that no list gave out."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if (
        not isinstance(values, list)
        or len(values) != length
        or any(isinstance(value, list | dict) or value is None for value in values)
    ):
        raise Invalid("cursor: take it from `next` of the list's previous part.")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted: SQL expressions that are never NULL, the last one unique.

    `types` are the SQL types that a cursor's texts and numbers are cast to.
    """

    by: tuple[LiteralString, ...]
    types: tuple[LiteralString, ...]
    descending: tuple[bool, ...]

    @classmethod
    def of(cls, *terms: tuple[LiteralString, LiteralString, bool]) -> Self:
        """Build from (expression, SQL type, descending) terms."""
        by, types, descending = zip(*terms, strict=True)
        return cls(by, types, descending)

    @property
    def sql(self) -> LiteralString:
        """The ORDER BY list."""
        return ", ".join(
            expression + (" DESC" if down else " ASC")
            for expression, down in zip(self.by, self.descending, strict=True)
        )

    @property
    def columns(self) -> LiteralString:
        """The expressions as one array-free select list, to be put first."""
        return ", ".join(self.by)

    def after(self, cursor: str | None) -> tuple[LiteralString, dict[str, CursorValue]]:
        """Return the condition for rows behind `cursor`, with its parameters."""
        if cursor is None:
            return "true", {}
        values = decode_cursor(cursor, len(self.by))
        parameters = {f"cursor_{place}": value for place, value in enumerate(values)}
        condition: LiteralString = "false"
        for place in reversed(range(len(self.by))):
            mine = _PLACES[place] + self.types[place]
            expression = self.by[place]
            sign = " < " if self.descending[place] else " > "
            condition = (
                "(" + expression + sign + mine + " OR (" + expression + " = " + mine
                + " AND " + condition + "))"
            )  # fmt: skip
        return condition, parameters


_PLACES: tuple[LiteralString, ...] = (
    "%(cursor_0)s::",
    "%(cursor_1)s::",
    "%(cursor_2)s::",
    "%(cursor_3)s::",
)


def read_page(
    connection: psycopg.Connection[TupleRow],
    *,
    select: LiteralString,
    from_where: LiteralString,
    parameters: Mapping[str, object],
    order: Order,
    query: ListQuery,
    build: Callable[[TupleRow], T],
) -> Page[T]:
    """Read one part of a list.

    `select` is the select list, `from_where` the rest from FROM to the end of WHERE (which must
    be present), both with named parameters; `build` makes an item of the selected columns.
    """
    behind, position = order.after(query.cursor)
    try:
        rows = connection.execute(
            "SELECT " + order.columns + ", " + select + " " + from_where
            + " AND " + behind + " ORDER BY " + order.sql + " LIMIT %(page_limit)s",
            {**parameters, **position, "page_limit": query.limit + 1},
        ).fetchall()  # fmt: skip
    except psycopg.errors.DataError as error:
        if query.cursor is None:
            raise
        raise Invalid("cursor: take it from `next` of the list's previous part.") from error
    keys = len(order.by)
    following = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        following = encode_cursor(rows[-1][:keys])
    counted = connection.execute(
        "SELECT count(*) FROM (SELECT 1 " + from_where + " LIMIT %(count_at_most)s) AS counted",
        {**parameters, "count_at_most": COUNT_AT_MOST},
    ).fetchone()
    return Page(
        items=[build(row[keys:]) for row in rows],
        total=counted[0] if counted else 0,
        next=following,
    )
