"""What people change: plans with their versions, exceptions of units, freezes.

What was done is `occurrences`, visits are `visits`. A change takes effect on the next night, or at
once where the page says so.
"""

import tomllib
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from rules.maintenance_tasks import ConditionLimit, MeterLimit, Selector
from rules.operations import NotThere, OperationRefused
from service_api.errors import Invalid, NotFound
from service_api.maintenance.schemas import (
    NewFreeze,
    NewPlan,
    PlanChange,
    PlanForm,
    PlanLine,
    UnitException,
)
from service_api.request import Connection


def _columns(given: NewPlan | PlanChange, *, only_given: bool = False) -> dict[str, Any]:
    """Return the plan's columns of what was said; of a change only what it says."""
    values = given.model_dump(mode="json", exclude={"version", "why"}, exclude_unset=only_given)
    if "selector" in values and given.selector is not None:
        values["selector"] = Jsonb(given.selector.model_dump(exclude_defaults=True))
    if "meters" in values and given.meters is not None:
        values["meters"] = Jsonb(
            [one.model_dump(mode="json", exclude_none=True) for one in given.meters]
        )
    if "conditions" in values and given.conditions is not None:
        values["conditions"] = Jsonb([one.model_dump(mode="json") for one in given.conditions])
    return values


def _includes_are_known(connection: Connection, key: str, includes: list[str] | None) -> None:
    for one in includes or ():
        known = connection.execute(
            "SELECT EXISTS (SELECT FROM maintenance_plan WHERE key = %s)", (one,)
        ).fetchone()
        if one == key or known is None or not known[0]:
            raise Invalid(f"includes: there is no other plan {one}")


def add_plan(connection: Connection, new: NewPlan, *, actor: str, now: datetime) -> int:
    """Write a plan down; refused when the key is taken. Returns its id."""
    _includes_are_known(connection, new.key, new.includes)
    values = _columns(new) | {"changed_at": now, "changed_by": actor}
    try:
        with connection.transaction():
            row = connection.execute(
                sql.SQL("INSERT INTO maintenance_plan ({}) VALUES ({}) RETURNING id").format(
                    sql.SQL(", ").join(map(sql.Identifier, values)),
                    sql.SQL(", ").join(map(sql.Placeholder, values)),
                ),
                values,
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a plan with the key {new.key} exists") from taken
    if row is None:
        raise OperationRefused("the database took no plan")
    return int(row[0])


def change_plan(
    connection: Connection, plan_id: int, change: PlanChange, *, actor: str, now: datetime
) -> None:
    """Change a plan, keep what it was before with who changed it and why.

    Refused if it is not the version any more that was read.
    """
    given = _columns(change, only_given=True)
    nullable = {"duration_minutes_three_phase", "component"}
    given = {key: value for key, value in given.items() if value is not None or key in nullable}
    if not given:
        raise Invalid("say what to change")
    with connection.cursor(row_factory=dict_row) as cursor:
        before = cursor.execute(
            "SELECT * FROM maintenance_plan WHERE id = %s FOR UPDATE", (plan_id,)
        ).fetchone()
    if before is None:
        raise NotFound
    if before["version"] != change.version:
        raise OperationRefused(
            f"{before['changed_by']} has changed the plan meanwhile; load it again"
        )
    _includes_are_known(connection, before["key"], change.includes)
    kept = {
        key: value
        for key, value in before.items()
        if key not in {"id", "version", "changed_at", "changed_by"}
    }
    connection.execute(
        """
        INSERT INTO maintenance_plan_version (plan_id, version, at, actor, why, body)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (plan_id, before["version"], now, actor, change.why.strip(), Jsonb(kept)),
    )
    values = given | {"changed_at": now, "changed_by": actor, "version": before["version"] + 1}
    connection.execute(
        sql.SQL("UPDATE maintenance_plan SET {} WHERE id = %(id)s").format(
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in values
            )
        ),
        {**values, "id": plan_id},
    )


def restore_plan(
    connection: Connection, plan_id: int, version: int, *, actor: str, now: datetime
) -> None:
    """Bring a plan back to what it was; that is a new version with its own line in the log."""
    row = connection.execute(
        """
        SELECT v.body, p.version FROM maintenance_plan_version v
        JOIN maintenance_plan p ON p.id = v.plan_id
        WHERE v.plan_id = %s AND v.version = %s
        """,
        (plan_id, version),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no version {version} of this plan")
    body = {key: value for key, value in row[0].items() if key != "key"}
    change = PlanChange.model_validate(
        {**body, "version": row[1], "why": f"back to version {version}"}
    )
    change_plan(connection, plan_id, change, actor=actor, now=now)


def limits_text(plan: PlanLine) -> str:
    """Write a plan's selector, meters and conditions as the page's form shows them."""
    lines = []
    if plan.selector:
        lines.append(f"selector = {_inline(plan.selector)}")
    lines += [
        f"{name} = [{', '.join(_inline(one) for one in values)}]"
        for name, values in (("meters", plan.meters), ("conditions", plan.conditions))
        if values
    ]
    return "\n".join(lines)


def _inline(table: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in table.items()) + " }"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def change_of(form: PlanForm) -> PlanChange:
    """Read the page's form; raise `Invalid` with what is wrong where."""
    try:
        limits = tomllib.loads(form.limits)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"limits: not valid TOML: {error}") from error
    strange = limits.keys() - {"selector", "meters", "conditions"}
    if strange:
        raise Invalid(f"limits: unknown {min(strange)}; known are selector, meters, conditions")
    try:
        return PlanChange(
            version=form.version,
            why=form.why,
            enabled=form.enabled,
            interval_months=form.interval_months,
            basis=form.basis,
            duration_minutes=form.duration_minutes,
            duration_minutes_three_phase=int(form.duration_minutes_three_phase)
            if form.duration_minutes_three_phase.strip()
            else None,
            skills=_words(form.skills),
            part_kinds=_words(form.part_kinds),
            selector=Selector.model_validate(limits.get("selector", {})),
            meters=[MeterLimit.model_validate(one) for one in limits.get("meters", [])],
            conditions=[ConditionLimit.model_validate(one) for one in limits.get("conditions", [])],
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"limits: {where}: {first['msg']}") from error
    except ValueError as error:
        raise Invalid("duration_minutes_three_phase: write a number of minutes") from error


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.replace("，", ",").split(",")) if word]


def set_exception(
    connection: Connection,
    device_id: int,
    plan_id: int,
    exception: UnitException,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Treat a unit otherwise than its plan says."""
    try:
        with connection.transaction():
            connection.execute(
                """
                INSERT INTO maintenance_exception (device_id, plan_id, waived, interval_months,
                    reason, made_by, made_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (device_id, plan_id) DO UPDATE SET waived = excluded.waived,
                    interval_months = excluded.interval_months, reason = excluded.reason,
                    made_by = excluded.made_by, made_at = excluded.made_at
                """,
                (
                    device_id,
                    plan_id,
                    exception.waived,
                    exception.interval_months,
                    exception.reason.strip(),
                    actor,
                    now,
                ),
            )
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such unit or plan.") from unknown


def end_exception(connection: Connection, device_id: int, plan_id: int) -> None:
    """Treat a unit as its plan says again."""
    ended = connection.execute(
        "DELETE FROM maintenance_exception WHERE device_id = %s AND plan_id = %s",
        (device_id, plan_id),
    )
    if ended.rowcount != 1:
        raise NotFound


def add_freeze(connection: Connection, new: NewFreeze, *, actor: str, now: datetime) -> int:
    """Let nothing be changed at a site for some days."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO change_freeze (site_id, starts_on, ends_on, reason, made_by, made_at)
                VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
                """,
                (new.site_id, new.starts_on, new.ends_on, new.reason.strip(), actor, now),
            ).fetchone()
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such site.") from unknown
    if row is None:
        raise OperationRefused("the database took no freeze")
    return int(row[0])


def end_freeze(connection: Connection, freeze_id: int, *, actor: str, now: datetime) -> None:
    """Lift a freeze."""
    ended = connection.execute(
        """
        UPDATE change_freeze SET ended_at = %s, ended_by = %s WHERE id = %s AND ended_at IS NULL
        """,
        (now, actor, freeze_id),
    )
    if ended.rowcount != 1:
        raise NotFound


def frozen_on(connection: Connection, site_id: int, day: date) -> str | None:
    """Return why nothing may be changed at a site on a day, None when it may."""
    row = connection.execute(
        """
        SELECT reason FROM change_freeze
        WHERE site_id = %s AND ended_at IS NULL AND %s BETWEEN starts_on AND ends_on LIMIT 1
        """,
        (site_id, day),
    ).fetchone()
    return None if row is None else str(row[0])
