"""Import a device list: customers, sites and devices by their keys, all of it or nothing.

What a cell leaves empty stays as it is on a device that exists and takes the default on a new one.
Reading the list is `service_api.devices_csv`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, dict_row

from collector.credentials import credentials_text
from service_api.database import STAFF
from service_api.devices_csv import DeviceRow, Fault, ImportInvalid, read_devices
from service_api.secrets import Sealer

__all__ = ["DeviceRow", "Fault", "ImportInvalid", "Imported", "import_devices", "read_devices"]

MQTT_GROUP = "mqtt"
"""The collector group of devices that are listened to."""
_POLLED_GROUP = "default"

_FACTS = (
    "installed_on",
    "battery_installed_on",
    "criticality",
    "poll_seconds",
    "warranty_until",
    "battery_chemistry",
    "battery_life_years",
)
_WRITTEN = (
    "name",
    "customer_id",
    "site_id",
    "protocol",
    "address",
    "credential_id",
    "profile",
    "collector_group",
    "model",
    "serial",
    "serial_confirmed",
    *_FACTS,
)

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many devices were new, changed, or already as the list says."""

    new: int
    changed: int
    unchanged: int


def import_devices(
    connection: psycopg.Connection[TupleRow], rows: Sequence[DeviceRow], *, sealer: Sealer
) -> Imported:
    """Write a list in one transaction as staff; raise `ImportInvalid` and write nothing.

    1. Customers and sites that are missing are made; names and places that the list gives are
       written.
    2. Credentials are sealed and kept apart from the address.
    3. Devices are made, or changed where the list says otherwise. What a unit said of itself,
       model and serial, wins over the list.
    4. Credentials that no device uses any more are forgotten.
    """
    with connection.transaction():
        connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (STAFF,))
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('devices import'))")
        customers = _keep_customers(connection, rows)
        sites = _keep_sites(connection, rows, customers)
        credentials = _keep_credentials(connection, rows, sealer)
        known = _known(connection, "device", [row.key for row in rows])
        new: list[_Row] = []
        changed: list[_Row] = []
        for row in rows:
            old = known.get(row.key)
            wanted = _wanted(row, old, customers[row.customer], sites[row.site], credentials)
            if old is None:
                new.append(wanted | {"key": row.key})
            elif any(old[column] != value for column, value in wanted.items()):
                changed.append({column: old[column] for column in _WRITTEN} | wanted | _id(old))
        _write_devices(connection, new, changed)
        if changed:
            connection.execute(
                """
                DELETE FROM credential c
                WHERE NOT EXISTS (SELECT FROM device d WHERE d.credential_id = c.id)
                """
            )
    return Imported(len(new), len(changed), len(rows) - len(new) - len(changed))


def _id(row: _Row) -> _Row:
    return {"id": row["id"]}


def _wanted(
    row: DeviceRow,
    old: _Row | None,
    customer_id: int,
    site_id: int,
    credentials: Mapping[str, int],
) -> _Row:
    """Return the columns of a device that the list decides."""
    wanted: _Row = {
        "name": row.name,
        "customer_id": customer_id,
        "site_id": site_id,
        "protocol": row.protocol,
        "address": row.address,
    }
    if row.protocol == "mqtt":
        wanted["collector_group"] = MQTT_GROUP
    elif row.collector_group is not None:
        wanted["collector_group"] = row.collector_group
    elif old is None or old["collector_group"] == MQTT_GROUP:
        wanted["collector_group"] = _POLLED_GROUP
    if old is not None and old["protocol"] != row.protocol:
        wanted |= {"profile": None, "credential_id": None}
    if row.credentials is not None:
        wanted["credential_id"] = credentials[row.key]
    if row.profile is not None:
        wanted["profile"] = row.profile
    if old is None or old["identified_at"] is None:
        told = {"model": row.model, "serial": row.serial, "serial_confirmed": row.serial}
        wanted |= {column: value for column, value in told.items() if value is not None}
    facts = {column: getattr(row, column) for column in _FACTS}
    return wanted | {column: value for column, value in facts.items() if value is not None}


def _known(
    connection: psycopg.Connection[TupleRow], table: str, keys: Sequence[str]
) -> dict[str, _Row]:
    """Return the rows of a table with these keys, by key, locked against other writers."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            sql.SQL("SELECT * FROM {} WHERE key = ANY(%s) ORDER BY id FOR UPDATE").format(
                sql.Identifier(table)
            ),
            (sorted(set(keys)),),
        ).fetchall()
    return {row["key"]: row for row in found}


def _told(rows: Sequence[DeviceRow], noun: str, columns: Mapping[str, str]) -> dict[str, _Row]:
    """Return by the key of `noun` what the lines together say of it, in the table's columns."""
    told: dict[str, _Row] = {}
    for row in rows:
        of_one = told.setdefault(getattr(row, noun), {})
        for given, column in columns.items():
            value = getattr(row, given)
            if value is not None:
                of_one[column] = value
    return told


def _keep_customers(
    connection: psycopg.Connection[TupleRow], rows: Sequence[DeviceRow]
) -> dict[str, int]:
    told = _told(rows, "customer", {"customer_name": "name", "customer_name_zh": "name_zh"})
    return {
        key: _keep(connection, "customer", key, _named(key, old, given), old)
        for key, given, old in _paired(told, _known(connection, "customer", list(told)))
    }


def _keep_sites(
    connection: psycopg.Connection[TupleRow],
    rows: Sequence[DeviceRow],
    customers: Mapping[str, int],
) -> dict[str, int]:
    columns = {
        "customer": "customer",
        "site_name": "name",
        "site_name_zh": "name_zh",
        "latitude": "latitude",
        "longitude": "longitude",
        "time_zone": "time_zone",
        "service_center": "service_center",
    }
    told = _told(rows, "site", columns)
    known = _known(connection, "site", list(told))
    centers = _centers(connection)
    faults: list[Fault] = []
    for row in rows:
        old = known.get(row.site)
        if old is not None and old["customer_id"] != customers[row.customer]:
            reason = f"site {row.site} belongs to another customer"
            faults.append(Fault(row.line, "site", reason, "give this site a key of its own"))
        if row.service_center is not None and row.service_center not in centers:
            known_centers = ", ".join(sorted(centers)) or "none is registered"
            reason = f"no service center has the key {row.service_center}"
            faults.append(Fault(row.line, "service_center", reason, f"known: {known_centers}"))
    if faults:
        raise ImportInvalid(faults)
    kept: dict[str, int] = {}
    for key, given, old in _paired(told, known):
        given["customer_id"] = customers[given.pop("customer")]
        if "service_center" in given:
            given["service_center_id"] = centers[given.pop("service_center")]
        kept[key] = _keep(connection, "site", key, _named(key, old, given), old)
    return kept


def _paired(
    told: Mapping[str, _Row], known: Mapping[str, _Row]
) -> list[tuple[str, _Row, _Row | None]]:
    return [(key, given, known.get(key)) for key, given in sorted(told.items())]


def _named(key: str, old: _Row | None, given: _Row) -> _Row:
    """Return what is given, and for what is new a name in both languages."""
    if old is not None:
        return given
    name = given.get("name", given.get("name_zh", key))
    return {"name": name, "name_zh": given.get("name_zh", name)} | given


def _centers(connection: psycopg.Connection[TupleRow]) -> dict[str, int]:
    return dict(connection.execute("SELECT key, id FROM service_center").fetchall())


def _keep(
    connection: psycopg.Connection[TupleRow], table: str, key: str, given: _Row, old: _Row | None
) -> int:
    """Make or change one customer or site; return its id."""
    if old is None:
        columns = {"key": key} | given
        row = connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join(map(sql.Placeholder, columns)),
            ),
            columns,
        ).fetchone()
        if row is None:
            raise RuntimeError(f"the database returned no id for a new {table}")
        return int(row[0])
    changes = {column: value for column, value in given.items() if old[column] != value}
    if changes:
        connection.execute(
            sql.SQL("UPDATE {} SET {} WHERE id = %(id)s").format(
                sql.Identifier(table), _assignments(changes)
            ),
            changes | _id(old),
        )
    return int(old["id"])


def _assignments(columns: Mapping[str, object] | Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder(column))
        for column in columns
    )


def _keep_credentials(
    connection: psycopg.Connection[TupleRow], rows: Sequence[DeviceRow], sealer: Sealer
) -> dict[str, int]:
    """Return credential ids by device key; equal credentials are kept once."""
    texts = {row.key: credentials_text(row.credentials) for row in rows if row.credentials}
    prints = {text: sealer.fingerprint(text) for text in texts.values()}
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO credential (sealed, fingerprint) VALUES (%s, %s)
            ON CONFLICT (fingerprint) DO NOTHING
            """,
            [(sealer.seal(text), print_) for text, print_ in prints.items()],
        )
    ids: dict[str, int] = dict(
        connection.execute(
            "SELECT fingerprint, id FROM credential WHERE fingerprint = ANY(%s)",
            (list(prints.values()),),
        ).fetchall()
    )
    return {key: ids[prints[text]] for key, text in texts.items()}


def _write_devices(
    connection: psycopg.Connection[TupleRow], new: Sequence[_Row], changed: Sequence[_Row]
) -> None:
    with connection.cursor() as cursor:
        by_columns: dict[tuple[str, ...], list[_Row]] = {}
        for row in new:
            by_columns.setdefault(tuple(row), []).append(row)
        for columns, alike in by_columns.items():
            cursor.executemany(
                sql.SQL("INSERT INTO device ({}) VALUES ({})").format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                    sql.SQL(", ").join(map(sql.Placeholder, columns)),
                ),
                alike,
            )
        if changed:
            cursor.executemany(
                sql.SQL("UPDATE device SET {} WHERE id = %(id)s").format(_assignments(_WRITTEN)),
                changed,
            )
