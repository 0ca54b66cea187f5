"""Calendar facts from the rows to alarms, tickets and reminders: each told once."""

from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from rules import reminder_store
from rules.catalogue import catalogue
from rules.engine import Engine
from rules.occasion_store import judge_devices
from rules.occasions import Occasion
from rules.operations import OperationRefused
from service_api.calendar_facts import CalendarFacts
from service_api.consumers import HANDLERS
from service_api.outbox import take_one
from tests.cast import HEALTHY, START, Service, register

TODAY = date(2026, 3, 2)  # at 08:00 UTC it is the same day in Shanghai


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


@pytest.fixture
def unit(database) -> int:
    """A unit of which everything is written down, under a contract that ends in three years."""
    (device,) = register(database.admin_dsn)
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(
            """
            UPDATE device SET installed_on = '2024-05-01', battery_installed_on = '2024-05-01',
                serial = 'S1', model = 'M'
            """
        )
        admin.execute("INSERT INTO service_center (key, name, name_zh) VALUES ('c', 'C', '中心')")
        admin.execute(
            """
            UPDATE site SET service_center_id = (SELECT id FROM service_center), latitude = 31,
                longitude = 121
            """
        )
        admin.execute(
            "INSERT INTO contact (customer_id, name) SELECT id, 'Facility manager' FROM customer"
        )
        admin.execute(
            "INSERT INTO service_calendar (key, name, name_zh, always) "
            " VALUES ('a', 'A', '全', true)"
        )
        admin.execute(
            """
            INSERT INTO contract (key, customer_id, name, name_zh, starts_on, ends_on, calendar_id,
                respond_minutes)
            SELECT 'K', c.id, 'Care', '维保', '2025-01-01', '2029-01-01', s.id, 240
            FROM customer c, service_calendar s
            """
        )
        admin.execute("INSERT INTO contract_device SELECT c.id, d.id FROM contract c, device d")
    return device


@pytest.fixture
def change(database):
    def execute(query: str, *values: object) -> None:
        with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
            admin.execute(query, values)

    return execute


def look(service: Service, *, days: float = 0, minutes: float = 0) -> None:
    service.clock.advance(days * 86_400 + minutes * 60)
    facts = CalendarFacts(service.rules)
    facts.look_at_dates(service.pool, service.clock.now)
    facts.look_at_deadlines(service.pool, service.clock.now)
    while take_one(service.pool, now=service.clock.now, handlers=HANDLERS):
        pass


def open_reminders(service: Service) -> dict[str, float | None]:
    return dict(
        service.rows(
            "SELECT rule_key, step FROM reminder WHERE closed_at IS NULL AND raised_at IS NOT NULL"
        )
    )


def told(service: Service) -> list[str]:
    return [
        title
        for (title,) in service.rows(
            "SELECT title FROM notice WHERE topic = 'reminder.due' AND language = 'en' ORDER BY id"
        )
    ]


def test_nothing_reminds_of_a_unit_of_which_all_is_known(service, unit):
    look(service)
    look(service, days=8)
    assert open_reminders(service) == {}
    assert service.one("SELECT values ->> 'missing_serial' FROM device_fact") == "false"


def test_a_warranty_is_told_at_each_step_once_and_then_is_history(service, unit, change):
    change("UPDATE device SET warranty_until = %s", TODAY + timedelta(days=100))
    look(service)
    look(service)
    assert open_reminders(service) == {"warranty_ends": 180.0}
    look(service, days=9)  # 91 left
    look(service, days=1)
    look(service, days=62)  # 28 left, since nobody looked for two months
    look(service, days=28)  # the last day
    look(service, days=1)
    look(service, days=29)  # 30 days over
    assert told(service) == [
        "Warranty ends: in 100 days",
        "Warranty ends: in 90 days",
        "Warranty ends: in 28 days",
        "Warranty ends: today is the last day",
        "Warranty ends: over for 1 day",
    ]
    look(service, days=1)
    assert open_reminders(service) == {}
    assert service.one("SELECT state FROM reminder") == "closed"


def test_a_warranty_that_is_prolonged_closes_its_reminder(service, unit, change):
    change("UPDATE device SET warranty_until = %s", TODAY + timedelta(days=20))
    look(service)
    change("UPDATE device SET warranty_until = %s", TODAY + timedelta(days=900))
    look(service, days=1)
    assert open_reminders(service) == {}
    kinds = [k for (k,) in service.rows("SELECT kind FROM reminder_event ORDER BY id")]
    assert kinds == ["raised", "step", "cleared"]


def test_a_contract_counts_to_the_end_of_the_cover_that_follows(service, unit, change):
    change("UPDATE contract SET ends_on = %s", TODAY + timedelta(days=40))
    look(service)
    assert open_reminders(service) == {"contract_ends": 60.0}
    change(
        """
        INSERT INTO contract (key, customer_id, name, name_zh, starts_on, ends_on, calendar_id,
            respond_minutes)
        SELECT 'K2', customer_id, name, name_zh, ends_on + 1, ends_on + 400, calendar_id, 240
        FROM contract
        """
    )
    change(
        "INSERT INTO contract_device SELECT c.id, d.id FROM contract c, device d WHERE c.key = 'K2'"
    )
    look(service)
    assert open_reminders(service) == {}


def test_what_nobody_entered_has_an_owner_until_somebody_enters_it(service, unit, change):
    change("UPDATE device SET installed_on = NULL, battery_installed_on = NULL, serial = ' '")
    change("UPDATE site SET latitude = NULL, service_center_id = NULL")
    change("DELETE FROM contact")
    look(service)
    owners = dict(service.rows("SELECT rule_key, owner FROM reminder WHERE raised_at IS NOT NULL"))
    assert owners == dict.fromkeys(
        [
            "install_date_missing",
            "battery_date_missing",
            "position_missing",
            "service_center_missing",
            "contact_missing",
        ],
        "data",
    )
    look(service, days=8)  # a serial number has a week to be read from the unit
    assert "serial_missing" in open_reminders(service)
    assert told(service) == []  # they stand on their page
    change(
        "UPDATE device SET installed_on = '2024-05-01', battery_installed_on = '2024-05-01',"
        " serial = 'S'"
    )
    look(service, days=1)
    assert set(open_reminders(service)) == {
        "position_missing",
        "service_center_missing",
        "contact_missing",
    }


def test_a_unit_that_is_watched_no_more_reminds_of_nothing(service, unit, change):
    change("UPDATE device SET installed_on = NULL")
    look(service)
    change("UPDATE device SET enabled = false")
    look(service, days=1)
    assert open_reminders(service) == {}


def test_an_overdue_self_test_is_an_alarm_with_a_ticket_that_no_reading_clears(service, unit):
    service.tell(unit, **HEALTHY, ups_test_result="passed")
    with service.pool.connection() as connection:
        connection.execute(
            "UPDATE device_state SET extra = %s",
            (Jsonb({"ups.test.date": (START - timedelta(days=46)).isoformat()}),),
        )
    look(service)
    assert service.rows("SELECT rule_key, state FROM alarm") == [("self_test_overdue", "active")]
    assert service.rows("SELECT failure_mode, priority FROM ticket") == [("self_test_overdue", 4)]
    for _ in range(3):
        service.clock.advance(30)
        service.beat()
        service.tell(unit, **HEALTHY)
        service.tick()
    service.run(90_000, step=3_000)
    assert service.one("SELECT state FROM alarm WHERE rule_key = 'self_test_overdue'") == "active"
    with service.pool.connection() as connection:
        connection.execute(
            "UPDATE device_state SET extra = %s, ups_test_result = 'passed'",
            (Jsonb({"ups.test.date": service.clock.now.isoformat()}),),
        )
    look(service)
    assert service.one("SELECT state FROM alarm WHERE rule_key = 'self_test_overdue'") == "cleared"


def open_ticket(service: Service, unit: int) -> int:
    with service.pool.connection() as connection:
        return connection.execute(
            """
            INSERT INTO ticket (customer_id, site_id, device_id, failure_mode, source, title_en,
                title_zh, severity, priority, priority_terms, state, reason, entitlement,
                contract_id, opened_at, respond_by_at, opened_by)
            SELECT d.customer_id, d.site_id, d.id, 'request', 'person', 'Noise', '异响', 'minor', 3,
                '[]', 'open', '{}', '{}', c.id, %s, %s, 'test'
            FROM device d, contract c WHERE d.id = %s RETURNING id
            """,
            (service.clock.now, service.clock.now + timedelta(hours=4), unit),
        ).fetchone()[0]


def test_a_deadline_is_told_at_50_75_90_percent_and_once_when_it_is_over(service, unit):
    open_ticket(service, unit)
    for minutes in (119, 1, 59, 1, 35, 1, 23, 1, 60, 600):
        look(service, minutes=minutes)
    assert told(service) == [
        "Response deadline: 50 % of the time has passed",
        "Response deadline: 75 % of the time has passed",
        "Response deadline: 90 % of the time has passed",
        "Response deadline: the time is over",
    ]


@pytest.mark.parametrize(
    "ended",
    [
        "UPDATE ticket SET responded_at = now()",
        "UPDATE ticket SET state = 'closed', closed_at = now()",
    ],
)
def test_a_deadline_that_is_met_reminds_of_nothing_any_more(service, unit, change, ended):
    open_ticket(service, unit)
    look(service, minutes=130)
    assert open_reminders(service) == {"response_due": 50.0}
    change(ended)
    look(service, minutes=1)
    assert open_reminders(service) == {}


def test_the_first_fault_within_a_warranty_stays_the_first(service, unit, change):
    change("UPDATE device SET warranty_until = %s", TODAY + timedelta(days=10))
    for _ in range(2):
        for is_broken in [True] * 30 + [False] * 200:
            service.clock.advance(10)
            service.tell(unit, **HEALTHY, alarm_fan_fault=is_broken)
        look(service)
        change("UPDATE ticket SET state = 'closed', closed_at = now(), closing_code = 'repaired'")
    assert service.one("SELECT count(*) FROM alarm WHERE rule_key = 'fan_fault'") == 2
    rows = service.rows("SELECT w.at = (SELECT min(raised_at) FROM alarm) FROM warranty_fault w")
    assert rows == [(True,)]


def test_people_take_a_reminder_put_it_off_and_undo_both(service, unit, change):
    change("UPDATE device SET warranty_until = %s", TODAY + timedelta(days=65))
    look(service)
    reminder = service.one("SELECT id FROM reminder")
    now = service.clock.now
    with service.pool.connection() as connection:
        with pytest.raises(OperationRefused, match="nobody"):
            reminder_store.give_reminder_back(connection, reminder, actor="anna", now=now)
        reminder_store.take_reminder(connection, reminder, actor="anna", now=now)
        reminder_store.give_reminder_back(connection, reminder, actor="anna", now=now)
        for until, reason, why in (
            (now, "later", "ahead"),
            (now + timedelta(days=1), " ", "reason"),
        ):
            with pytest.raises(OperationRefused, match=why):
                reminder_store.put_reminder_off(
                    connection, reminder, until_at=until, reason=reason, actor="anna", now=now
                )
        reminder_store.put_reminder_off(
            connection,
            reminder,
            until_at=now + timedelta(days=90),
            reason="offer is out",
            actor="anna",
            now=now,
        )
    look(service, days=5)  # the step at 60 days brings it back
    assert service.one("SELECT put_off_until_at FROM reminder") is None
    kinds = [k for (k,) in service.rows("SELECT kind FROM reminder_event ORDER BY id")]
    assert kinds == ["raised", "step", "taken", "given_back", "put_off", "step"]


def test_a_column_of_another_occasion_is_refused(service, unit):
    engine = Engine(catalogue(), Occasion.HEALTH)
    with (
        service.pool.connection() as connection,
        pytest.raises(ValueError, match="not a device's column of the occasion health"),
    ):
        judge_devices(connection, engine, {unit: {"missing_serial": True}}, now=START)


def test_a_unit_that_is_gone_is_left_out(service, unit):
    engine = Engine(catalogue(), Occasion.CALENDAR)
    with service.pool.connection() as connection:
        judge_devices(
            connection,
            engine,
            {unit: {"missing_install_date": True}, unit + 99: {"missing_install_date": True}},
            now=START,
        )
    assert service.rows("SELECT subject_id, rule_key FROM reminder") == [
        (unit, "install_date_missing")
    ]
