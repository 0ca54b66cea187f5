"""Who is asking: passwords, tokens, sessions.

What a user may see is the database's to decide (row-level security); what a user may do is each
route's (`request.require`).
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import psycopg
from fastapi import Request
from psycopg.rows import TupleRow, class_row
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from service_api.database import visibility_of

SESSION_COOKIE = "session"

TokenKind: TypeAlias = Literal["session", "bearer", "api_key"]

_PASSWORDS = PasswordHash((Argon2Hasher(),))
_NOBODY_HASH = _PASSWORDS.hash(secrets.token_urlsafe(16))
"""Checked when the name is unknown, so that an unknown name takes as long as a wrong password."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody, or some machine, that may ask."""

    id: int
    name: str
    role: str
    customer_id: int | None
    language: str

    @property
    def visibility(self) -> str:
        """What the database lets this user see."""
        return visibility_of(self.customer_id)

    @property
    def is_staff(self) -> bool:
        """Whether this is a person of the service organisation."""
        return self.role in {"admin", "dispatcher", "engineer"}


@dataclass(frozen=True, slots=True)
class Login:
    """A token as it was sent, and how: only a `session` came without anybody's doing."""

    kind: Literal["session", "header"]
    token: str

    @property
    def form_token(self) -> str:
        """What a page of this session puts into its forms; the cookie cannot be told from it."""
        return hashlib.sha256(b"form:" + self.token.encode()).hexdigest()

    def allows_form(self, sent: str | None) -> bool:
        """Tell whether a form came from a page of this session."""
        return sent is not None and hmac.compare_digest(sent.encode(), self.form_token.encode())


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    return _PASSWORDS.hash(password)


def hash_token(token: str) -> bytes:
    """Return what is kept of a token: its SHA-256; tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).digest()


def credentials_of(request: Request) -> Login | None:
    """Return the token that a request carries: a header's before the cookie's."""
    if key := request.headers.get("x-api-key"):
        return Login("header", key)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return Login("header", token.strip())
    if session := request.cookies.get(SESSION_COOKIE):
        return Login("session", session)
    return None


def user_of(
    connection: psycopg.Connection[TupleRow], login: Login, *, now: datetime
) -> User | None:
    """Return whose token this is, None when it is unknown, over, or its user disabled.

    A session's token works as a cookie only: a page that leaks one cannot be used by a program.
    """
    with connection.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(
            """
            SELECT u.id, u.name, u.role, u.customer_id, u.language
            FROM user_token t JOIN app_user u ON u.id = t.user_id
            WHERE t.token_hash = %(hash)s AND u.enabled
            AND (t.kind = 'session') = %(session)s
            AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
            """,
            {
                "hash": hash_token(login.token),
                "session": login.kind == "session",
                "now": now,
            },
        ).fetchone()


def user_with_password(
    connection: psycopg.Connection[TupleRow], *, name: str, password: str
) -> User | None:
    """Return the enabled user of this name and password; wrong ones cost as much as right ones."""
    row = connection.execute(
        "SELECT id, name, role, customer_id, language, password_hash FROM app_user"
        " WHERE name = %s AND enabled",
        (name,),
    ).fetchone()
    fits = _PASSWORDS.verify(password, row[5] if row else _NOBODY_HASH)
    return User(*row[:5]) if row and fits else None


def give_token(
    connection: psycopg.Connection[TupleRow],
    user_id: int,
    *,
    kind: TokenKind,
    now: datetime,
    life: timedelta | None,
    label: str = "",
) -> str:
    """Make a token, keep its hash, and clear away those of this user that are over."""
    connection.execute(
        "DELETE FROM user_token WHERE user_id = %s AND expires_at <= %s", (user_id, now)
    )
    token = secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO user_token (token_hash, user_id, kind, label, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (hash_token(token), user_id, kind, label, now, now + life if life else None),
    )
    return token


def take_token(connection: psycopg.Connection[TupleRow], token: str) -> None:
    """Make a token worthless at once."""
    connection.execute("DELETE FROM user_token WHERE token_hash = %s", (hash_token(token),))
