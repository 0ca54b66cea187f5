"""Visits: what is due at a site in one trip, with one ticket; split and merged by hand.

What goes together is decided in `rules.maintenance_visits`. A site is planned by one at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import ConnectionPool

from rules.maintenance import LATE_AFTER, OPENS_BEFORE
from rules.maintenance_visits import MERGE_WITHIN, Freeze, Line, Visit, merge, visit_day, visit_of
from rules.operations import NotThere, OperationRefused, close_ticket
from rules.tickets import REOPEN_WINDOW
from rules.visit_tickets import VisitText, change_visit_ticket, open_visit_ticket
from service_api.maintenance.days import local_day

Connection = psycopg.Connection[TupleRow]

_SITE_LOCK = 0x6D_61_69_6E
"""First key of the advisory lock on a site's planning; the second is the site's id."""


@dataclass(frozen=True, slots=True)
class Due:
    """A line of a site as it stands."""

    device_id: int
    device: str
    customer_id: int
    site_id: int
    plan_id: int
    key: str
    title: str
    title_zh: str
    due_on: date
    minutes: int
    skills: list[str]
    part_kinds: list[str]
    steps_en: list[str]
    steps_zh: list[str]
    why_en: str | None
    why_zh: str | None
    visit_id: int | None
    ticket_id: int | None
    ticket_is_open: bool
    apart: int | None
    is_waiting: bool
    is_sent: bool
    redundancy_lost: bool

    def line(self, today: date) -> Line:
        """Return the line as merging wants it: what is overdue can be done today at the soonest."""
        return Line(
            self.device_id,
            self.key,
            max(self.due_on, today),
            self.minutes,
            tuple(self.skills),
            tuple(self.part_kinds),
            self.apart,
        )


def plan_visits(pool: ConnectionPool, now: datetime) -> int:
    """Bring the visits of every site up to date; returns how many tickets were opened."""
    with pool.connection() as connection:
        sites = connection.execute(
            """
            SELECT d.site_id, d.customer_id FROM maintenance_due m
            JOIN device d ON d.id = m.device_id AND d.enabled WHERE m.due_on IS NOT NULL
            UNION SELECT site_id, customer_id FROM maintenance_visit WHERE ended_at IS NULL
            ORDER BY 1, 2
            """
        ).fetchall()
    opened = 0
    for site_id, customer_id in sites:
        with pool.connection() as connection, connection.transaction():
            opened += plan_site(connection, site_id, customer_id, now=now)
    return opened


def plan_site(connection: Connection, site_id: int, customer_id: int, *, now: datetime) -> int:
    """Bring one customer's visits to a site up to date; returns how many tickets were opened.

    1. Visits that are open take in what falls due within 45 days of their day, until somebody is
       sent.
    2. What is left is merged; a visit whose first line may be done by now gets its ticket.
    3. Nothing is opened at a unit whose redundancy is lost, and no visit lies in a change freeze.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_SITE_LOCK, site_id))
    today = local_day(now, _zone(connection, site_id))
    freezes = _freezes(connection, site_id, today)
    lines = _lines(connection, site_id, customer_id, now)
    includes = _includes(connection)
    _hold(connection, lines, freezes, today)
    open_visits: dict[int, list[Due]] = {}
    free: list[Due] = []
    for line in lines:
        if line.ticket_is_open and line.visit_id is not None:
            if line.due_on > today + OPENS_BEFORE + MERGE_WITHIN:
                _leave(connection, line)  # it is due much later than it was
            else:
                open_visits.setdefault(line.visit_id, []).append(line)
        elif not line.is_waiting and not line.redundancy_lost:
            free.append(line)
    for visit_id, mine in sorted(open_visits.items()):
        first = max(today, min(line.due_on for line in mine))
        joining = [
            line
            for line in free
            if line.due_on <= first + MERGE_WITHIN
            and line.apart == mine[0].apart
            and not mine[0].is_sent
        ]
        free = [line for line in free if line not in joining]
        _keep(connection, visit_id, [*mine, *joining], includes, freezes, today, now)
    _end_empty(connection, site_id, customer_id, open_visits, now)
    opened = 0
    by_key = {(line.device_id, line.key): line for line in free}
    for visit in merge((line.line(today) for line in free), includes):
        if visit.first_due_on - OPENS_BEFORE > today:
            continue
        mine = [by_key[line.device_id, line.key] for line in visit.lines]
        _open(connection, mine, visit, freezes, today, now)
        opened += 1
    return opened


def _leave(connection: Connection, line: Due) -> None:
    connection.execute(
        """
        UPDATE maintenance_due SET ticket_id = NULL, visit_id = NULL
        WHERE device_id = %s AND plan_id = %s
        """,
        (line.device_id, line.plan_id),
    )


def _end_empty(
    connection: Connection,
    site_id: int,
    customer_id: int,
    with_lines: Mapping[int, Sequence[Due]],
    now: datetime,
) -> None:
    """Withdraw visits of which no line is left: done by hand, waived, or the units have moved."""
    for visit_id, ticket_id in connection.execute(
        """
        SELECT v.id, v.ticket_id FROM maintenance_visit v JOIN ticket t ON t.id = v.ticket_id
        WHERE v.site_id = %s AND v.customer_id = %s AND t.closed_at IS NULL AND NOT v.id = ANY(%s)
        ORDER BY v.id
        """,
        (site_id, customer_id, list(with_lines)),
    ).fetchall():
        close_ticket(
            connection,
            ticket_id,
            closing_code="withdrawn",
            text="no work is left for this visit",
            actor="schedule",
            now=now,
        )
        connection.execute(
            "UPDATE maintenance_visit SET ended_at = %s WHERE id = %s", (now, visit_id)
        )


def _zone(connection: Connection, site_id: int) -> str:
    row = connection.execute("SELECT time_zone FROM site WHERE id = %s", (site_id,)).fetchone()
    return "UTC" if row is None else str(row[0])


def _freezes(connection: Connection, site_id: int, today: date) -> list[Freeze]:
    return [
        Freeze(*row)
        for row in connection.execute(
            """
            SELECT starts_on, ends_on FROM change_freeze
            WHERE site_id = %s AND ends_on >= %s AND ended_at IS NULL ORDER BY starts_on
            """,
            (site_id, today - timedelta(days=1)),
        )
    ]


def _includes(connection: Connection) -> dict[str, list[str]]:
    return dict(connection.execute("SELECT key, includes FROM maintenance_plan").fetchall())


def _lines(connection: Connection, site_id: int, customer_id: int, now: datetime) -> list[Due]:
    """Read what opens tickets here. Withdrawn work waits two weeks before it is asked for again."""
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        return cursor.execute(
            """
            SELECT m.device_id, d.name AS device, d.customer_id, d.site_id, m.plan_id, p.key,
                p.title, p.title_zh, m.due_on, m.minutes, p.skills, p.part_kinds, p.steps_en,
                p.steps_zh, m.reasons -> 0 ->> 'en' AS why_en, m.reasons -> 0 ->> 'zh' AS why_zh,
                m.visit_id, m.ticket_id,
                coalesce(t.closed_at IS NULL AND t.customer_id = d.customer_id
                    AND t.site_id = d.site_id, false) AS ticket_is_open,
                CASE WHEN v.split_from_id IS NOT NULL AND t.closed_at IS NULL THEN v.id END
                    AS apart,
                coalesce(t.closed_at > %(since)s, false) AS is_waiting,
                EXISTS (SELECT FROM work_order w WHERE w.ticket_id = m.ticket_id
                    AND w.state IN ('assigned', 'accepted', 'on_site', 'done')) AS is_sent,
                coalesce(m.held_by = 'redundancy_lost', false) AS redundancy_lost
            FROM maintenance_due m
            JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled AND p.on_site
                AND p.opens_tickets
            JOIN device d ON d.id = m.device_id AND d.enabled
            LEFT JOIN ticket t ON t.id = m.ticket_id
            LEFT JOIN maintenance_visit v ON v.id = m.visit_id
            WHERE d.site_id = %(site)s AND d.customer_id = %(customer)s AND m.due_on IS NOT NULL
            ORDER BY m.device_id, m.plan_id FOR UPDATE OF m
            """,
            {"site": site_id, "customer": customer_id, "since": now - REOPEN_WINDOW},
        ).fetchall()


def _hold(
    connection: Connection, lines: Sequence[Due], freezes: Sequence[Freeze], today: date
) -> None:
    """Say of each line that is due why it may not be done today, if it may not.

    That redundancy is lost was written when the unit was looked at.
    """
    frozen = any(freeze.covers(today) for freeze in freezes)
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE maintenance_due SET held_by = %s WHERE device_id = %s AND plan_id = %s",
            [
                ("freeze" if frozen else None, line.device_id, line.plan_id)
                for line in lines
                if not line.redundancy_lost and line.due_on - OPENS_BEFORE <= today
            ],
        )


def _open(
    connection: Connection,
    mine: Sequence[Due],
    visit: Visit,
    freezes: Sequence[Freeze],
    today: date,
    now: datetime,
) -> int:
    """Write a visit and open its ticket; returns the visit."""
    row = connection.execute(
        """
        INSERT INTO maintenance_visit (site_id, customer_id, visit_on, made_at)
        VALUES (%s, %s, %s, %s) RETURNING id
        """,
        (
            mine[0].site_id,
            mine[0].customer_id,
            visit_day(visit.first_due_on, today, freezes),
            now,
        ),
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no visit")
    visit_id = int(row[0])
    ticket_id = open_visit_ticket(connection, _text(connection, mine, visit, today), now=now)
    connection.execute(
        "UPDATE maintenance_visit SET ticket_id = %s WHERE id = %s", (ticket_id, visit_id)
    )
    _belong(connection, mine, visit, visit_id, ticket_id)
    return visit_id


def _keep(
    connection: Connection,
    visit_id: int,
    mine: Sequence[Due],
    includes: Mapping[str, Sequence[str]],
    freezes: Sequence[Freeze],
    today: date,
    now: datetime,
    actor: str = "schedule",
) -> None:
    """Bring an open visit, its ticket and its draft work order to these lines."""
    ordered = sorted(mine, key=lambda line: (line.due_on, line.device_id, line.key))
    visit = visit_of([line.line(today) for line in ordered], includes)
    row = connection.execute(
        """
        UPDATE maintenance_visit SET visit_on = %s WHERE id = %s RETURNING ticket_id
        """,
        (visit_day(visit.first_due_on, today, freezes), visit_id),
    ).fetchone()
    if row is None or row[0] is None:
        raise NotThere(f"there is no open visit {visit_id}")
    _belong(connection, ordered, visit, visit_id, row[0])
    changed = change_visit_ticket(
        connection,
        row[0],
        _text(connection, ordered, visit, today),
        actor=actor,
        now=now,
    )
    if changed:
        connection.execute(
            """
            UPDATE work_order SET estimated_minutes = %s, skills = %s
            WHERE ticket_id = %s AND state = 'draft'
            """,
            (max(1, visit.minutes), list(visit.skills), row[0]),
        )


def _belong(
    connection: Connection, mine: Sequence[Due], visit: Visit, visit_id: int, ticket_id: int
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE maintenance_due SET visit_id = %s, ticket_id = %s, minutes = %s
            WHERE device_id = %s AND plan_id = %s
            """,
            [
                (
                    visit_id,
                    ticket_id,
                    visit.minutes_of[line.device_id, line.key],
                    line.device_id,
                    line.plan_id,
                )
                for line in mine
            ],
        )


def _text(connection: Connection, mine: Sequence[Due], visit: Visit, today: date) -> VisitText:
    devices = tuple(dict.fromkeys(line.device_id for line in mine))
    late = [line for line in mine if line.due_on + LATE_AFTER <= today]
    first = min(line.due_on for line in mine)
    if len(mine) == 1:
        title = (f"{mine[0].device}: {mine[0].title}", f"{mine[0].device}：{mine[0].title_zh}")
    elif len(devices) == 1:
        title = (
            f"{mine[0].device}: maintenance visit, {len(mine)} tasks",
            f"{mine[0].device}：维护上门，共 {len(mine)} 项",
        )
    else:
        row = connection.execute(
            "SELECT name, name_zh FROM site WHERE id = %s", (mine[0].site_id,)
        ).fetchone()
        name, name_zh = ("", "") if row is None else row
        title = (
            f"{name}: maintenance visit, {len(mine)} tasks at {len(devices)} units",
            f"{name_zh}：维护上门，{len(devices)} 台设备共 {len(mine)} 项",
        )
    overdue = (f"; {len(late)} overdue" if late else "", f"，{len(late)} 项已逾期" if late else "")
    reasons_en = [f"{line.device}, {line.title}: {line.why_en or line.due_on}." for line in mine]
    reasons_zh = [
        f"{line.device}，{line.title_zh}：{line.why_zh or line.due_on}。" for line in mine
    ]
    done = [line for line in mine if visit.minutes_of[line.device_id, line.key]] or list(mine)
    kinds = {line.key: line for line in done}.values()
    many = len(kinds) > 1
    return VisitText(
        customer_id=mine[0].customer_id,
        site_id=mine[0].site_id,
        device_ids=devices,
        title=title,
        why=(
            f"Due {first}{overdue[0]}. " + " ".join(reasons_en),
            f"应于 {first} 执行{overdue[1]}。" + "".join(reasons_zh),
        ),
        action=(
            " ".join(
                (f"{line.title}: " if many else "") + " ".join(line.steps_en) for line in kinds
            ),
            "".join(
                (f"{line.title_zh}：" if many else "") + "".join(line.steps_zh) for line in kinds
            ),
        ),
        skills=visit.skills,
        part_kinds=visit.part_kinds,
        lines=[
            {
                "device_id": line.device_id,
                "device": line.device,
                "plan": line.key,
                "title_en": line.title,
                "title_zh": line.title_zh,
                "due_on": line.due_on.isoformat(),
                "minutes": visit.minutes_of[line.device_id, line.key],
                "steps_en": line.steps_en,
                "steps_zh": line.steps_zh,
            }
            for line in mine
        ],
        is_late=bool(late),
    )


def _visit(connection: Connection, visit_id: int) -> tuple[int, int]:
    """Lock an open visit's site; return site and customer."""
    row = connection.execute(
        "SELECT site_id, customer_id, ended_at FROM maintenance_visit WHERE id = %s", (visit_id,)
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no visit {visit_id}")
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_SITE_LOCK, row[0]))
    if row[2] is not None:
        raise OperationRefused("the visit is over")
    return row[0], row[1]


def split(
    connection: Connection,
    visit_id: int,
    taken: Sequence[tuple[int, int]],
    *,
    actor: str,
    now: datetime,
) -> int:
    """Make a visit of its own of some lines (unit, plan); returns it. Merging takes it back."""
    site_id, customer_id = _visit(connection, visit_id)
    today = local_day(now, _zone(connection, site_id))
    freezes, includes = _freezes(connection, site_id, today), _includes(connection)
    lines = [
        line for line in _lines(connection, site_id, customer_id, now) if line.visit_id == visit_id
    ]
    wanted = set(taken)
    out = [line for line in lines if (line.device_id, line.plan_id) in wanted]
    rest = [line for line in lines if (line.device_id, line.plan_id) not in wanted]
    if len(out) != len(wanted):
        raise OperationRefused("split off lines of this visit only")
    if not out or not rest:
        raise OperationRefused("a visit is split into two parts; choose some of its lines")
    _keep(connection, visit_id, rest, includes, freezes, today, now, actor)
    ordered = sorted(out, key=lambda line: (line.due_on, line.device_id, line.key))
    new_id = _open(
        connection,
        ordered,
        visit_of([line.line(today) for line in ordered], includes),
        freezes,
        today,
        now,
    )
    connection.execute(
        "UPDATE maintenance_visit SET split_from_id = %s WHERE id = %s", (visit_id, new_id)
    )
    return new_id


def merge_into(
    connection: Connection, visit_id: int, into_id: int, *, actor: str, now: datetime
) -> None:
    """Take a visit's lines into another of the same site; its own ticket is a duplicate then.

    Refused once an engineer was sent for it.
    """
    site_id, customer_id = _visit(connection, visit_id)
    if visit_id == into_id or _visit(connection, into_id) != (site_id, customer_id):
        raise OperationRefused("visits are merged with another one of the same site")
    row = connection.execute(
        """
        SELECT v.ticket_id, EXISTS (SELECT FROM work_order w WHERE w.ticket_id = v.ticket_id
            AND w.state IN ('assigned', 'accepted', 'on_site', 'done'))
        FROM maintenance_visit v WHERE v.id = %s
        """,
        (visit_id,),
    ).fetchone()
    if row is None or row[1]:
        raise OperationRefused("an engineer was sent for this visit; merge the other way round")
    today = local_day(now, _zone(connection, site_id))
    lines = [
        line
        for line in _lines(connection, site_id, customer_id, now)
        if line.visit_id in {visit_id, into_id}
    ]
    _keep(
        connection,
        into_id,
        lines,
        _includes(connection),
        _freezes(connection, site_id, today),
        today,
        now,
        actor,
    )
    close_ticket(
        connection,
        row[0],
        closing_code="duplicate",
        text=f"merged into visit {into_id}",
        actor=actor,
        now=now,
    )
    connection.execute("UPDATE maintenance_visit SET ended_at = %s WHERE id = %s", (now, visit_id))
