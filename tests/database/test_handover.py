"""A unit that changes hands, leaves, or is switched off while alarms stand."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.cast import HEALTHY, Service, register


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


@pytest.fixture
def admin(database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_dsn, autocommit=True) as opened:
        yield opened


def fan_fault(service: Service, ups: int, *, minutes: int = 3) -> None:
    for _ in range(minutes):
        service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
        service.run(60, step=60)


def seen_by(dsn: str, customer: object, query: str) -> list[tuple]:
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (str(customer),))
        return connection.execute(query).fetchall()


def test_a_unit_that_changes_hands_leaves_its_alarms_and_tickets_with_the_last_owner(
    service, database, admin
):
    (ups,) = register(database.admin_dsn, prefix="old-")
    (other,) = register(database.admin_dsn, prefix="new-")
    old, new = (
        admin.execute("SELECT customer_id, site_id FROM device WHERE id = %s", (one,)).fetchone()
        for one in (ups, other)
    )
    service.beat()
    fan_fault(service, ups)
    admin.execute("UPDATE device SET customer_id = %s, site_id = %s WHERE id = %s", (*new, ups))
    assert service.rows("SELECT customer_id, state FROM alarm") == [(old[0], "cleared")]
    assert service.rows("SELECT customer_id, state, closing_code FROM ticket") == [
        (old[0], "closed", "withdrawn")
    ]
    assert service.rows("SELECT topic, customer_id FROM outbox ORDER BY id DESC LIMIT 2") == [
        ("ticket.closed", old[0]),
        ("alarm.cleared", old[0]),
    ]
    values = "SELECT device_id, ups_load FROM visible_device_state ORDER BY 1"
    assert seen_by(database.api_dsn, new[0], values) == [(other, None)]
    assert seen_by(database.api_dsn, "all", values) == [(ups, 42.0), (other, None)]

    fan_fault(service, ups)
    service.tick()
    assert service.rows("SELECT customer_id, state FROM alarm ORDER BY id") == [
        (old[0], "cleared"),
        (new[0], "active"),
    ]
    assert service.rows("SELECT customer_id, state, reopened FROM ticket ORDER BY id") == [
        (old[0], "closed", 0),
        (new[0], "open", 0),
    ]
    assert service.rows("SELECT kind, actor FROM alarm_event ORDER BY id") == [
        ("raised", "rule:fan_fault"),
        ("cleared", "handover"),
        ("raised", "rule:fan_fault"),
    ]
    assert service.rows("SELECT reason FROM quarantine") == []


def test_a_persons_own_request_stays_open_when_the_unit_changes_hands(service, database, admin):
    from rules.operations import open_ticket_by_hand

    (ups,) = register(database.admin_dsn, prefix="old-")
    (other,) = register(database.admin_dsn, prefix="new-")
    customer_id, site_id = admin.execute(
        "SELECT customer_id, site_id FROM device WHERE id = %s", (ups,)
    ).fetchone()
    with service.pool.connection() as connection:
        open_ticket_by_hand(
            connection,
            customer_id=customer_id,
            site_id=site_id,
            device_id=ups,
            title="Please call",
            detail="",
            severity="minor",
            actor="customer",
            now=service.clock.now,
        )
    admin.execute(
        "UPDATE device SET customer_id = (SELECT customer_id FROM device WHERE id = %s)"
        " WHERE id = %s",
        (other, ups),
    )
    assert service.rows("SELECT customer_id, state FROM ticket") == [(customer_id, "open")]


def test_a_unit_deleted_with_readings_under_way_is_unknown_and_the_rest_is_stored(
    service, database, admin
):
    gone, stays = register(database.admin_dsn, devices=2)
    service.beat()
    service.tell(gone, stays, valid=90, alarm_fan_fault=True, **HEALTHY)
    admin.execute("DELETE FROM device WHERE id = %s", (gone,))
    service.clock.advance(30)
    batch = [service.arrive(ups, HEALTHY) for ups in (gone, stays)]
    service.ingest.store(batch)
    service.run(120, step=60)
    assert service.rows("SELECT device_id, reason FROM quarantine") == [(gone, "unknown_device")]
    assert service.one("SELECT count(*) FROM telemetry WHERE device_id = %s", stays) == 2
    assert service.rows("SELECT * FROM rule_state WHERE device_id = %s", gone) == []


def test_alarms_of_a_unit_switched_off_here_go_stale_and_are_never_counted_as_normal(
    service, database, admin
):
    (ups,) = register(database.admin_dsn)
    service.beat()
    fan_fault(service, ups)
    admin.execute("UPDATE device SET enabled = false")
    service.run(90_000, step=300)
    assert service.rows("SELECT rule_key, state FROM alarm") == [("fan_fault", "stale")]
    assert service.one("SELECT condition_cleared_at FROM ticket") is None
