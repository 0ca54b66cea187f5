"""Read problem records; `rules.problem_store` writes them."""

from functools import partial
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.incidents import CAUSES
from rules.problems import NEXT, ProblemKind, ProblemState
from rules.version_store import known_rules
from rules.versions import Known
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.problems.schemas import (
    Problem,
    ProblemDetail,
    ProblemEvent,
    ProblemEvidence,
    ProblemQuery,
)
from service_api.request import Connection

_SELECT: LiteralString = """
    p.id, p.kind, p.subject, p.failure, p.device_id, p.site_id,
    coalesce(d.name, s.name, p.subject), coalesce(d.name, nullif(s.name_zh, ''), s.name, p.subject),
    p.state, p.found_at, p.last_at, p.settled_at, p.owner, p.root_cause, p.workaround, p.measures,
    (SELECT count(*) FROM problem_evidence v WHERE v.problem_id = p.id)
"""

_FROM: LiteralString = """
    FROM problem p LEFT JOIN device d ON d.id = p.device_id LEFT JOIN site s ON s.id = p.site_id
"""

_WHERE: LiteralString = """
    WHERE CASE %(state)s WHEN 'open' THEN p.settled_at IS NULL
        WHEN 'settled' THEN p.settled_at IS NOT NULL ELSE true END
    AND (%(kind)s::text IS NULL OR p.kind = %(kind)s)
    AND (%(device_id)s::bigint IS NULL OR p.device_id = %(device_id)s
        OR (p.kind = 'model' AND p.subject = (SELECT concat_ws(' ', x.manufacturer, x.model)
            FROM device x WHERE x.id = %(device_id)s))
        OR (p.kind = 'site' AND p.site_id = (SELECT x.site_id FROM device x
            WHERE x.id = %(device_id)s)))
    AND (%(site_id)s::bigint IS NULL OR p.site_id = %(site_id)s)
"""

_NEWEST = Order.of(("p.last_at", "timestamptz", True), ("p.id", "bigint", True))


def _titles(connection: Connection) -> dict[str, tuple[str, str]]:
    """Return failure modes in words: the title of the last ticket that had it."""
    return {
        mode: (en, zh)
        for mode, en, zh in connection.execute(
            """
            SELECT DISTINCT ON (failure_mode) failure_mode, title_en, title_zh FROM ticket
            WHERE failure_mode IN (SELECT failure FROM problem) AND source <> 'person'
            ORDER BY failure_mode, id DESC
            """
        )
    }


def _problem(known: Known, titles: dict[str, tuple[str, str]], row: tuple[Any, ...]) -> Problem:
    failure = row[3]
    en, zh = titles.get(failure) or CAUSES.get(failure) or known.title(failure)
    kind, state = ProblemKind(row[1]), ProblemState(row[8])
    return Problem(*(row[0], kind, *row[2:8], state, *row[9:], en, zh, list(NEXT[state])))


def problems(connection: Connection, query: ProblemQuery) -> Page[Problem]:
    """Read one part of the list, what came last first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST,
        query=query,
        build=partial(_problem, known_rules(connection), _titles(connection)),
    )


def problem(connection: Connection, problem_id: int) -> ProblemDetail:
    """Read one with its evidence and log; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE p.id = %s", (problem_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no problem {problem_id}.")
    with connection.cursor(row_factory=class_row(ProblemEvidence)) as cursor:
        evidence = cursor.execute(
            """
            SELECT about, ref, at FROM problem_evidence WHERE problem_id = %s
            ORDER BY at DESC LIMIT 200
            """,
            (problem_id,),
        ).fetchall()
    with connection.cursor(row_factory=class_row(ProblemEvent)) as cursor:
        log = cursor.execute(
            """
            SELECT at, kind, actor, detail FROM problem_event WHERE problem_id = %s
            ORDER BY id DESC
            """,
            (problem_id,),
        ).fetchall()
    told = _problem(known_rules(connection), _titles(connection), row)
    return ProblemDetail(told, evidence, log)
