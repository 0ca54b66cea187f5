"""Read users and their keys; `operations` writes them."""

from typing import Any, LiteralString

from psycopg.rows import class_row

from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.users.schemas import ApiKey, UserLine, UserQuery

_SELECT: LiteralString = """
    u.id, u.name, u.role, u.customer_id, c.name, c.name_zh, u.language, u.enabled,
    (SELECT count(*) FROM user_token k WHERE k.user_id = u.id AND k.kind = 'api_key')
"""
_FROM: LiteralString = "FROM app_user u LEFT JOIN customer c ON c.id = u.customer_id"


def _line(row: tuple[Any, ...]) -> UserLine:
    return UserLine(*row)


def users(connection: Connection, query: UserQuery) -> Page[UserLine]:
    """Read one part of the list, by name."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM
        + " WHERE (%(role)s::text IS NULL OR u.role = %(role)s)"
        + " AND (%(enabled)s::boolean IS NULL OR u.enabled = %(enabled)s)",
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=Order.of(("u.name", "text", False), ("u.id", "bigint", False)),
        query=query,
        build=_line,
    )


def user(connection: Connection, user_id: int) -> UserLine:
    """Read one user; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE u.id = %s", (user_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return _line(row)


def api_keys(connection: Connection, user_id: int) -> list[ApiKey]:
    """Read a user's keys, newest first; a key's id is the beginning of its hash."""
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(
            "SELECT left(encode(token_hash, 'hex'), 16) AS id, label, created_at, expires_at"
            " FROM user_token WHERE user_id = %s AND kind = 'api_key' ORDER BY created_at DESC",
            (user_id,),
        ).fetchall()


def customers(connection: Connection) -> list[tuple[int, str, str]]:
    """Read the customers that a user can belong to."""
    return [
        (row[0], row[1], row[2])
        for row in connection.execute("SELECT id, name, name_zh FROM customer ORDER BY name, id")
    ]
