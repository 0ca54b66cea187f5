"""Write contracts and calendars; reading is in `contracts.store`."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from rules.operations import OperationRefused
from service_api.contracts.schemas import ContractChange, NewCalendar, NewContract
from service_api.errors import Invalid, NotFound
from service_api.request import Connection


def add_contract(connection: Connection, new: NewContract) -> int:
    """Write a contract down with its units; refused when the key is taken."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO contract (key, customer_id, name, name_zh, state, starts_on, ends_on,
                    calendar_id, respond_minutes, restore_minutes, covers_parts, covers_labor,
                    covers_batteries, visits_per_year)
                VALUES (%(key)s, %(customer_id)s, %(name)s, %(name_zh)s, %(state)s, %(starts_on)s,
                    %(ends_on)s, %(calendar_id)s, %(respond_minutes)s, %(restore_minutes)s,
                    %(covers_parts)s, %(covers_labor)s, %(covers_batteries)s, %(visits_per_year)s)
                RETURNING id
                """,
                new.model_dump(exclude={"device_ids"}),
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a contract with the key {new.key} exists") from taken
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such customer or calendar.") from unknown
    if row is None:
        raise OperationRefused("the database took no row")
    contract_id = int(row[0])
    set_devices(connection, contract_id, new.device_ids)
    return contract_id


def change_contract(connection: Connection, contract_id: int, change: ContractChange) -> None:
    """Change what is given."""
    given = change.model_dump(exclude_none=True)
    if not given:
        return
    try:
        with connection.transaction():
            changed = connection.execute(
                sql.SQL("UPDATE contract SET {} WHERE id = %(id)s").format(
                    sql.SQL(", ").join(
                        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                        for name in given
                    )
                ),
                {**given, "id": contract_id},
            )
    except psycopg.errors.CheckViolation as wrong:
        raise Invalid("ends_on is before starts_on") from wrong
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such calendar.") from unknown
    if changed.rowcount != 1:
        raise NotFound


def set_devices(connection: Connection, contract_id: int, device_ids: Sequence[int]) -> None:
    """Cover exactly these units, which must be the contract's customer's."""
    wanted = sorted(set(device_ids))
    strangers = connection.execute(
        """
        SELECT count(*) FROM unnest(%s::bigint[]) AS wanted (id)
        WHERE NOT EXISTS (
            SELECT FROM device d JOIN contract c ON c.customer_id = d.customer_id
            WHERE d.id = wanted.id AND c.id = %s)
        """,
        (wanted, contract_id),
    ).fetchone()
    if strangers is not None and strangers[0]:
        raise Invalid("device_ids: a contract covers its own customer's units only")
    connection.execute(
        "DELETE FROM contract_device WHERE contract_id = %s AND NOT device_id = ANY(%s)",
        (contract_id, wanted),
    )
    connection.execute(
        """
        INSERT INTO contract_device (contract_id, device_id)
        SELECT %s, id FROM unnest(%s::bigint[]) AS wanted (id) ON CONFLICT DO NOTHING
        """,
        (contract_id, wanted),
    )


def devices_at(connection: Connection, customer_id: int, site_ids: Sequence[int]) -> list[int]:
    """Return a customer's units at these sites."""
    return [
        int(row[0])
        for row in connection.execute(
            "SELECT id FROM device WHERE customer_id = %s AND site_id = ANY(%s) ORDER BY id",
            (customer_id, list(site_ids)),
        )
    ]


def add_calendar(connection: Connection, new: NewCalendar) -> None:
    """Write a calendar down; refused when the key is taken."""
    try:
        with connection.transaction():
            connection.execute(
                """
                INSERT INTO service_calendar (key, name, name_zh, always, opens, closes, weekdays,
                    holiday_country)
                VALUES (%(key)s, %(name)s, %(name_zh)s, %(always)s, %(opens)s, %(closes)s,
                    %(weekdays)s, %(holiday_country)s)
                """,
                {**new.model_dump(), "weekdays": sorted(new.weekdays)},
            )
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a calendar with the key {new.key} exists") from taken
