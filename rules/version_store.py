"""Versions of own rules and overrides: read, saved, and brought to the units they are for.

Writers come one after the other, so that ids are committed in order: whoever saw one has seen all
before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.versions import RULE, Known, Scope, Version, known

Connection = psycopg.Connection[TupleRow]

UNUSABLE = "rule_unusable"
"""The kind of finding that a version in force leaves which cannot be used."""

_COLUMNS: LiteralString = "id, rule_key, scope, about, maker, version, text, at, actor, reason"


def _version(row: Sequence[Any]) -> Version:
    version_id, key, kind, about, maker, *rest = row
    return Version(version_id, key, Scope(kind, about, maker), *rest)


def known_rules(connection: Connection, shipped: Mapping[str, Rule] | None = None) -> Known:
    """Return the rules that there are: shipped ones, own ones, overrides, what was retired."""
    newest, retired = [], []
    for row in connection.execute(
        "SELECT DISTINCT ON (rule_key, scope, about, maker) "
        + _COLUMNS
        + """, CASE WHEN text IS NULL AND scope = 'rule' THEN (
            SELECT w.text FROM rule_version w WHERE w.rule_key = v.rule_key AND w.scope = 'rule'
            AND w.text IS NOT NULL ORDER BY w.version DESC LIMIT 1) END
        FROM rule_version v ORDER BY rule_key, scope, about, maker, version DESC
        """
    ):
        *columns, last_text = row
        newest.append(_version(columns))
        if last_text is not None:
            columns[6] = last_text
            retired.append(_version(columns))
    return known(catalogue() if shipped is None else shipped, newest, retired)


def newest_versions(connection: Connection) -> list[Version]:
    """Return the newest version of every scope, also of what was taken away."""
    return [
        _version(row)
        for row in connection.execute(
            "SELECT DISTINCT ON (rule_key, scope, about, maker) "
            + _COLUMNS
            + " FROM rule_version ORDER BY rule_key, scope, about, maker, version DESC"
        )
    ]


def newest_id(connection: Connection) -> int:
    """Return the id of the newest version, 0 where there is none."""
    row = connection.execute("SELECT coalesce(max(id), 0) FROM rule_version").fetchone()
    return 0 if row is None else int(row[0])


def units_in(connection: Connection, scopes: Sequence[Scope]) -> dict[int, list[int]]:
    """Return the units in each scope of a model, site or device, by its place."""
    found: dict[int, list[int]] = {}
    for number, device_id in connection.execute(
        """
        WITH wanted AS (
            SELECT * FROM unnest(%s::integer[], %s::text[], %s::text[], %s::text[])
                AS x (number, kind, about, maker))
        SELECT w.number, d.id FROM wanted w JOIN device d ON d.key = w.about
        WHERE w.kind = 'device'
        UNION ALL SELECT w.number, d.id FROM wanted w JOIN site s ON s.key = w.about
        JOIN device d ON d.site_id = s.id WHERE w.kind = 'site'
        UNION ALL SELECT w.number, d.id FROM wanted w JOIN device d ON d.model = w.about
        AND (w.maker = '' OR d.manufacturer = w.maker) WHERE w.kind = 'model'
        ORDER BY 1, 2
        """,
        (
            list(range(len(scopes))),
            [scope.kind for scope in scopes],
            [scope.about for scope in scopes],
            [scope.maker for scope in scopes],
        ),
    ):
        found.setdefault(number, []).append(device_id)
    return found


def save_version(
    connection: Connection,
    rule_key: str,
    scope: Scope,
    text: str | None,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> Version | None:
    """Save the next version of a scope; every worker follows within seconds.

    Returns None where that is what is in force already. Whether the text may be saved is decided
    before.
    """
    hold_writers(connection)
    before = newest_of(connection, rule_key, scope)
    if (None if before is None else before.text) == text:
        return None
    row = connection.execute(
        """
        INSERT INTO rule_version (rule_key, scope, about, maker, version, text, at, actor, reason)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            rule_key,
            scope.kind,
            scope.about,
            scope.maker,
            1 if before is None else before.version + 1,
            text,
            now,
            actor,
            reason,
        ),
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING
    connection.execute("NOTIFY ridethrough, 'change'")
    return version_of(connection, row[0])


def hold_writers(connection: Connection) -> None:
    """Keep other writers of versions waiting until this transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('rule_version'))")


def newest_of(connection: Connection, rule_key: str, scope: Scope) -> Version | None:
    """Return the newest version of a scope, whether or not it has a text."""
    row = connection.execute(
        "SELECT "
        + _COLUMNS
        + """ FROM rule_version
        WHERE rule_key = %s AND scope = %s AND about = %s AND maker = %s
        ORDER BY version DESC LIMIT 1
        """,
        (rule_key, scope.kind, scope.about, scope.maker),
    ).fetchone()
    return None if row is None else _version(row)


def version_of(connection: Connection, version_id: int) -> Version | None:
    """Return a version by its id."""
    row = connection.execute(
        "SELECT " + _COLUMNS + " FROM rule_version WHERE id = %s", (version_id,)
    ).fetchone()
    return None if row is None else _version(row)


def versions_of(connection: Connection, rule_key: str) -> list[Version]:
    """Return the versions of a rule and of its overrides, the newest first."""
    return [
        _version(row)
        for row in connection.execute(
            "SELECT "
            + _COLUMNS
            + " FROM rule_version WHERE rule_key = %s ORDER BY id DESC LIMIT 500",
            (rule_key,),
        )
    ]


def note_unusable(
    connection: Connection, unusable: Iterable[tuple[Version, RuleInvalid]], *, now: datetime
) -> None:
    """Leave a finding for each version that is put aside; close those that are usable again."""
    said = {_subject(version): str(error) for version, error in unusable}
    connection.execute(
        """
        INSERT INTO finding (at, kind, subject, detail)
        SELECT %s, %s, * FROM unnest(%s::text[], %s::text[])
        ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING
        """,
        (now, UNUSABLE, list(said), list(said.values())),
    )
    connection.execute(
        """
        UPDATE finding SET closed_at = %s
        WHERE kind = %s AND closed_at IS NULL AND NOT subject = ANY(%s)
        """,
        (now, UNUSABLE, list(said)),
    )


def _subject(version: Version) -> str:
    if version.scope == RULE:
        return version.rule_key
    return f"{version.rule_key}@{version.scope.kind}:{version.scope.about}".rstrip(":")
