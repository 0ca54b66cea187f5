"""Make and change users and their keys. A disabled user's tokens stop working at once."""

from datetime import datetime
from typing import Literal

import psycopg

from service_api.auth import give_token, hash_password
from service_api.errors import Conflict, Invalid, NotFound
from service_api.request import Connection
from service_api.users.schemas import UserChange
from service_api.users.store import user

SHORTEST_PASSWORD = 10


class UserRefused(Invalid):
    """A user that cannot be made; the message is one line for a person."""

    def __str__(self) -> str:
        """Return the line."""
        return self.detail


def add_user(
    connection: Connection,
    *,
    name: str,
    password: str,
    role: str,
    customer_key: str | None = None,
    customer_id: int | None = None,
    language: Literal["en", "zh"] = "zh",
) -> int:
    """Make a user and return the id; a customer's user needs the customer, and no other has one."""
    if not name.strip():
        raise UserRefused("A user needs a name.")
    if len(password) < SHORTEST_PASSWORD:
        raise UserRefused(f"A password needs at least {SHORTEST_PASSWORD} characters.")
    if customer_key is not None:
        customer_id = _customer(connection, customer_key)
    if (role == "customer") != (customer_id is not None):
        raise UserRefused("A customer's user needs the customer, and no other user has one.")
    try:
        with connection.transaction():
            row = connection.execute(
                "INSERT INTO app_user (name, password_hash, role, customer_id, language)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                (name.strip(), hash_password(password), role, customer_id, language),
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise UserRefused(f"There is a user named {name.strip()} already.") from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise UserRefused(f"There is no customer {customer_id}.") from error
    except psycopg.errors.CheckViolation as error:
        raise UserRefused(f"There is no role {role}.") from error
    if row is None:
        raise UserRefused("The database took no user.")
    return int(row[0])


def _customer(connection: Connection, key: str) -> int:
    row = connection.execute("SELECT id FROM customer WHERE key = %s", (key,)).fetchone()
    if row is None:
        raise UserRefused(f"There is no customer with the key {key}.")
    return int(row[0])


def change_user(
    connection: Connection, user_id: int, change: UserChange, *, by_user_id: int
) -> None:
    """Change a user; a new password and a disabling end every session and bearer token."""
    user(connection, user_id)
    if change.enabled is False and user_id == by_user_id:
        raise Conflict("You cannot disable yourself.")
    connection.execute(
        """
        UPDATE app_user SET enabled = coalesce(%(enabled)s, enabled),
            language = coalesce(%(language)s, language),
            password_hash = coalesce(%(password_hash)s, password_hash)
        WHERE id = %(id)s
        """,
        {
            "id": user_id,
            "enabled": change.enabled,
            "language": change.language,
            "password_hash": hash_password(change.password) if change.password else None,
        },
    )
    if change.password or change.enabled is False:
        connection.execute(
            "DELETE FROM user_token WHERE user_id = %s AND kind <> 'api_key'", (user_id,)
        )


def add_api_key(connection: Connection, *, user_id: int, label: str, now: datetime) -> str:
    """Make a key for a machine and return it: it is kept only hashed."""
    user(connection, user_id)
    return give_token(connection, user_id, kind="api_key", now=now, life=None, label=label)


def take_api_key(connection: Connection, user_id: int, key_id: str) -> None:
    """Make a key worthless; raise `NotFound`."""
    taken = connection.execute(
        "DELETE FROM user_token WHERE user_id = %s AND kind = 'api_key'"
        " AND left(encode(token_hash, 'hex'), 16) = %s",
        (user_id, key_id),
    )
    if taken.rowcount == 0:
        raise NotFound("There is no such key.")
