"""Write customers, contacts and sites; reading is in `customers.store`."""

import psycopg
from psycopg import sql

from rules.operations import OperationRefused
from service_api.customers.schemas import CustomerChange, NewContact, NewCustomer, NewSite
from service_api.errors import Invalid, NotFound
from service_api.notifications.channels import ChannelInvalid, check_channel
from service_api.request import Connection
from service_api.secrets import Sealer


def add_customer(connection: Connection, new: NewCustomer) -> int:
    """Write a customer down; refused when the key is taken."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO customer (key, name, name_zh, value_class)
                VALUES (%(key)s, %(name)s, %(name_zh)s, %(value_class)s) RETURNING id
                """,
                new.model_dump(),
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a customer with the key {new.key} exists") from taken
    return _id(row)


def change_customer(connection: Connection, customer_id: int, change: CustomerChange) -> None:
    """Change what is given."""
    given = change.model_dump(exclude_none=True)
    if not given:
        return
    changed = connection.execute(
        sql.SQL("UPDATE customer SET {} WHERE id = %(id)s").format(
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in given
            )
        ),
        {**given, "id": customer_id},
    )
    if changed.rowcount != 1:
        raise NotFound


def add_contact(
    connection: Connection, customer_id: int, new: NewContact, *, sealer: Sealer | None
) -> int:
    """Write a contact down, its channel sealed."""
    sealed = None if not new.channel else _seal(new.channel, sealer)
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO contact (customer_id, site_id, name, duty, phone, email, language,
                    wants_notices, channel_sealed)
                VALUES (%(customer)s, %(site_id)s, %(name)s, %(duty)s, %(phone)s, %(email)s,
                    %(language)s, %(wants_notices)s, %(sealed)s)
                RETURNING id
                """,
                {**new.model_dump(), "customer": customer_id, "sealed": sealed},
            ).fetchone()
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such customer or site.") from unknown
    return _id(row)


def _seal(address: str, sealer: Sealer | None) -> bytes:
    if sealer is None:
        raise OperationRefused(
            "a channel cannot be kept: the server has no RIDETHROUGH_ENCRYPTION_KEY"
        )
    try:
        check_channel(address)
    except ChannelInvalid as wrong:
        raise Invalid(f"channel: {wrong}") from wrong
    return sealer.seal(address)


def remove_contact(connection: Connection, customer_id: int, contact_id: int) -> None:
    """Forget a contact; what was told stays."""
    gone = connection.execute(
        "DELETE FROM contact WHERE id = %s AND customer_id = %s", (contact_id, customer_id)
    )
    if gone.rowcount != 1:
        raise NotFound


def add_site(connection: Connection, customer_id: int, new: NewSite) -> int:
    """Write a site down; refused when the key is taken."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO site (customer_id, key, name, name_zh, address, time_zone, latitude,
                    longitude, service_center_id)
                VALUES (%(customer)s, %(key)s, %(name)s, %(name_zh)s, %(address)s, %(time_zone)s,
                    %(latitude)s, %(longitude)s, %(service_center_id)s)
                RETURNING id
                """,
                {**new.model_dump(), "customer": customer_id},
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a site with the key {new.key} exists") from taken
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise NotFound("There is no such customer or service center.") from unknown
    return _id(row)


def _id(row: tuple[object, ...] | None) -> int:
    if row is None or not isinstance(row[0], int):
        raise OperationRefused("the database took no row")
    return row[0]
