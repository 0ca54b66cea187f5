"""Migrations on every variant: up, half-way, again, back; roles; what needs a setting."""

import psycopg
import pytest
from psycopg import errors

from service_api.database import (
    SchemaMismatch,
    migrate,
    newest_version,
    require_current_schema,
    schema_version,
)
from tests.cast import register


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'p', 'v')"
            )
        }


def shape(dsn: str) -> set[tuple[str, str]]:
    """Columns, indexes, triggers, functions and views with what they say."""
    with psycopg.connect(dsn) as connection:
        return set(
            connection.execute(
                """
                SELECT relname::text, attname::text FROM pg_class
                JOIN pg_attribute ON attrelid = oid
                WHERE relnamespace = 'public'::regnamespace AND NOT attisdropped
                UNION SELECT tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger t
                JOIN pg_class c ON c.oid = tgrelid
                WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
                UNION SELECT p.oid::regprocedure::text, prosrc FROM pg_proc p
                JOIN pg_roles r ON r.oid = proowner WHERE rolname = current_user
                UNION SELECT viewname::text, definition FROM pg_views WHERE schemaname = 'public'
                """
            ).fetchall()
        )


def test_the_newest_migration_can_be_taken_back_and_made_again(empty_database):
    dsn = empty_database.owner_dsn
    below = migrate(dsn, to="head") and migrate(dsn, to="-1")
    assert below < newest_version()
    before = shape(dsn)
    assert migrate(dsn) == newest_version()
    complete = shape(dsn)
    assert complete != before
    assert migrate(dsn, to="-1") == below
    assert shape(dsn) == before
    assert migrate(dsn) == newest_version()
    assert shape(dsn) == complete


def test_all_of_them_can_be_taken_back(empty_database):
    dsn = empty_database.owner_dsn
    migrate(dsn)
    while migrate(dsn, to="-1") != "none":
        pass
    assert tables(dsn) <= {"schema_version"}
    assert migrate(dsn) == newest_version()


def test_a_migration_that_failed_half_way_leaves_nothing_and_can_be_run_again(empty_database):
    dsn = empty_database.owner_dsn
    migrate(dsn, to="0002")
    before = tables(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE outbox (in_the_way boolean)")
    with pytest.raises(Exception, match="already exists"):
        migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert schema_version(connection) == "0002"
        connection.execute("DROP TABLE outbox")
    assert tables(dsn) == before
    assert migrate(dsn) == newest_version()


def test_a_program_refuses_another_schema_version_and_says_the_cure(empty_database):
    dsn = empty_database.owner_dsn
    with pytest.raises(SchemaMismatch, match="ridethrough migrate"):
        require_current_schema(dsn)
    migrate(dsn, to="0003")
    with pytest.raises(SchemaMismatch, match="has schema version 0003"):
        require_current_schema(dsn)
    migrate(dsn)
    require_current_schema(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE schema_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer ridethrough"):
        require_current_schema(dsn)


PROTECTED = (
    "customer",
    "site",
    "contact",
    "device",
    "credential",
    "alarm",
    "alarm_event",
    "incident",
    "incident_member",
    "incident_event",
    "incident_decision",
    "campaign",
    "battery_swap",
    "suppression",
    "suppression_event",
    "planned_work",
    "planned_work_occurrence",
    "work_session",
    "power_event",
    "problem",
    "problem_evidence",
    "problem_event",
    "commissioning",
    "commissioning_step",
    "identity_decision",
    "topology_node",
    "topology_unit",
    "topology_change",
    "ticket",
    "ticket_event",
    "outbox",
    "contract",
    "work_order",
    "stock_move",
    "notice",
    "maintenance_due",
    "maintenance_exception",
    "maintenance_occurrence",
    "maintenance_visit",
    "change_freeze",
    "device_fact",
    "reminder",
    "reminder_event",
    "warranty_fault",
    "rule_state",
    "rule_version",
)
BARRIERS = (
    "visible_telemetry",
    "visible_telemetry_15m",
    "visible_telemetry_1h",
    "visible_telemetry_1d",
    "visible_device_state",
    "visible_device_health",
    "visible_battery_discharge",
    "visible_quarantine",
)
CLOSED = (
    "telemetry",
    "telemetry_15m",
    "telemetry_1h",
    "telemetry_1d",
    "device_state",
    "device_health",
    "battery_day",
    "battery_discharge",
    "battery_test",
)


def test_the_request_role_is_unprivileged_and_owns_nothing(database):
    with psycopg.connect(database.api_dsn) as connection:
        assert connection.execute(
            """
            SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls,
                (SELECT count(*) FROM pg_class WHERE relowner = r.oid)
            FROM pg_roles r WHERE rolname = current_user
            """
        ).fetchone() == (False, False, False, False, 0)


def test_without_a_setting_the_request_role_sees_nothing(database):
    register(database.admin_dsn, devices=2)
    with psycopg.connect(database.api_dsn, autocommit=True) as connection:
        for relation in (*PROTECTED, *BARRIERS):
            count = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()[0]
            assert count == 0, relation


@pytest.mark.parametrize("relation", CLOSED)
def test_the_request_role_reaches_readings_only_through_the_barrier(database, relation):
    with (
        psycopg.connect(database.api_dsn) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(f"SELECT * FROM {relation}")


def test_a_customer_sees_their_own_rows_and_each_owner_their_own_interval(database):
    (first,) = register(database.admin_dsn, prefix="a-")
    (second,) = register(database.admin_dsn, prefix="b-")
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute("SELECT ensure_partition('telemetry', now())")
        for device in (first, second):
            for ago in (2, 1):
                admin.execute(
                    "INSERT INTO telemetry (device_id, observed_at, received_at) "
                    "VALUES (%s, now() - %s * interval '1 second', now())",
                    (device, ago),
                )
        owner_a, owner_b = (
            row[0] for row in admin.execute("SELECT customer_id FROM device ORDER BY id").fetchall()
        )
        admin.execute("UPDATE device SET customer_id = %s WHERE id = %s", (owner_b, first))
        admin.execute(
            "INSERT INTO telemetry (device_id, observed_at, received_at) "
            "VALUES (%s, now() + interval '1 second', now())",
            (first,),
        )

    def seen(customer: object) -> dict[int, int]:
        with psycopg.connect(database.api_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (str(customer),))
            return dict(
                connection.execute(
                    "SELECT device_id, count(*) FROM visible_telemetry GROUP BY 1"
                ).fetchall()
            )

    assert seen(owner_a) == {first: 2}
    assert seen(owner_b) == {first: 1, second: 2}
    assert seen("all") == {first: 3, second: 2}
    assert seen("") == {}


def test_logs_are_append_only(database):
    (ups,) = register(database.admin_dsn)
    with psycopg.connect(database.admin_dsn) as admin:
        place = admin.execute("SELECT customer_id, site_id FROM device").fetchone()
        ticket_id = admin.execute(
            """
            INSERT INTO ticket (device_id, customer_id, site_id, failure_mode, source, title_en,
                title_zh, severity, priority, priority_terms, state, reason, entitlement,
                opened_at, opened_by)
            VALUES (%s, %s, %s, 'x', 'rule', 'x', 'x', 'minor', 3, '[]', 'open', '{}', '{}', now(),
                'test') RETURNING id
            """,
            (ups, *place),
        ).fetchone()[0]
        admin.execute(
            "INSERT INTO ticket_event (ticket_id, at, kind, actor) VALUES (%s, now(), 'x', 'x')",
            (ticket_id,),
        )
        with pytest.raises(errors.RestrictViolation, match="append-only"):
            admin.execute("UPDATE ticket_event SET actor = 'somebody else'")


def test_one_open_ticket_for_a_device_and_failure_mode_is_the_databases_word(database):
    (ups,) = register(database.admin_dsn)
    insert = """
        INSERT INTO ticket (device_id, customer_id, site_id, failure_mode, source, title_en,
            title_zh, severity, priority, priority_terms, state, reason, entitlement, opened_at,
            opened_by)
        SELECT id, customer_id, site_id, 'fan', 'rule', 'x', 'x', 'minor', 3, '[]', 'open', '{}',
            '{}', now(), 'test' FROM device WHERE id = %s
    """
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(insert, (ups,))
        with pytest.raises(errors.UniqueViolation):
            admin.execute(insert, (ups,))


@pytest.mark.parametrize(
    "table",
    ["alarm_event", "ticket_event", "ticket_alarm", "work_order_event", "stock_move", "alarm"],
)
def test_neither_role_can_delete_what_happened(database, table):
    for dsn in (database.api_dsn, database.ingest_dsn):
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"DELETE FROM {table}")


def test_one_open_incident_for_a_site_and_cause_is_the_databases_word(database):
    insert = "INSERT INTO incident (subject, cause, opened_at) VALUES ('site:1', 'x', now())"
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(insert)
        with pytest.raises(errors.UniqueViolation):
            admin.execute(insert)
