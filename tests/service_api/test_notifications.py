import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg_pool import ConnectionPool

from rules import operations as tickets
from rules.deadline_lines import Line
from rules.incident_store import open_incident
from rules.incidents import COMMUNICATION_LOST, MAINS_FAILURE
from service_api.consumers import HANDLERS
from service_api.notifications import channels, texts
from service_api.notifications.sending import WAITS, deliver_one, next_attempt
from service_api.notifications.texts import IncidentFacts, TicketFacts, Unit
from service_api.outbox import LET_SETTLE, take_one
from service_api.secrets import Sealer
from tests.conftest import NOW
from tests.service_world import lay_crew, lay_world

INCIDENT = IncidentFacts(
    cause=MAINS_FAILURE,
    site=Line("Site 3", "三号站"),
    time_zone="Asia/Shanghai",
    opened_at=NOW,
    closed_at=NOW + timedelta(minutes=9),
    units=[Unit("UPS 1", 14.2), Unit("UPS 2", 0.2), Unit("UPS 3")],
)
TICKET = TicketFacts(
    id=12,
    title=Line("UPS 2: Low battery", "UPS 2：电量低"),
    site=Line("Site 3", "三号站"),
    time_zone="Asia/Shanghai",
    unit=Unit("UPS 2", 6.4),
    opened_at=NOW,
    respond_by_at=NOW + timedelta(hours=4),
    condition_cleared_at=None,
    closing_code="battery_replaced",
    contract=Line("Care", "维保"),
    covered=True,
    has_order=True,
    first_arrival_at=NOW + timedelta(hours=1),
    part=Line("Battery set", "电池组"),
)


def test_a_mains_failure_is_told_with_the_minutes_that_are_left():
    said = texts.incident_opened(INCIDENT)
    assert said.title == Line("Site 3: mains power failed", "三号站：市电中断")
    assert (
        "3 units run on battery; time left at this load: UPS 2 about 1 min, UPS 1 about 14 min."
        in said.body.en
    )
    assert "3 台设备由电池供电，按当前负载预计可维持：UPS 2 约 1 分钟" in said.body.zh


@pytest.mark.parametrize(
    ("units", "en"),
    [
        ([], "Units run on battery."),
        ([Unit("UPS 1")], "1 unit runs on battery."),
        (
            [Unit("UPS 1", 3.0)],
            "1 unit runs on battery; time left at this load: UPS 1 about 3 min.",
        ),
    ],
)
def test_minutes_that_nobody_knows_are_not_told(units, en):
    assert en in texts.incident_opened(replace(INCIDENT, units=units)).body.en


def test_a_ticket_is_told_with_what_was_done_and_what_is_promised():
    assert texts.ticket_opened(TICKET).body.en == (
        "At Site 3: “UPS 2: Low battery”, since 2026-03-02 16:00 (Asia/Shanghai). We have opened "
        "ticket 12. Its battery lasts about 6 min more at this load. A visit is being prepared; an "
        "engineer could be on site by 2026-03-02 17:00. The part is set aside: Battery set. By "
        "your contract “Care” we respond by 2026-03-02 20:00."
    )


def test_a_unit_without_a_contract_is_told_that_work_is_charged():
    said = texts.ticket_opened(replace(TICKET, contract=None, covered=False))
    assert "No contract covers this unit; work is charged." in said.body.en


def test_planned_work_is_announced_and_promises_no_response():
    said = texts.ticket_opened(replace(TICKET, is_planned=True)).body
    assert "We will agree on a time with you (ticket 12)." in said.en
    assert "respond" not in said.en
    assert said.zh.endswith("所需材料已预留：电池组。")


@pytest.mark.parametrize("cause", [MAINS_FAILURE, COMMUNICATION_LOST, "something new"])
def test_every_text_is_there_in_both_languages(cause):
    incident = replace(INCIDENT, cause=cause)
    for said in (
        texts.incident_opened(incident),
        texts.incident_closed(incident),
        texts.ticket_opened(TICKET),
        texts.ticket_opened(replace(TICKET, unit=None, has_order=False), again=True),
        texts.condition_cleared(TICKET),
        texts.ticket_closed(TICKET),
    ):
        for line in (said.title, said.body):
            assert line.en.isascii() or "“" in line.en
            assert any("\u4e00" <= character <= "\u9fff" for character in line.zh)
            assert "None" not in line.en + line.zh


SEALER = Sealer(Fernet.generate_key().decode())


@pytest.mark.parametrize("address", ["nonsense", "", "syslog://", "dbus://", "foo://bar"])
def test_an_address_that_reaches_no_contact_is_refused(address):
    with pytest.raises(channels.ChannelInvalid):
        channels.check_channel(address)


def test_waiting_ends_after_the_last_wait():
    assert next_attempt(NOW, 1) == NOW + WAITS[0]
    assert next_attempt(NOW, len(WAITS)) == NOW + WAITS[-1]
    assert next_attempt(NOW, len(WAITS) + 1) is None


@pytest.fixture
def world(database):
    laid = lay_world(database.owner_dsn)
    lay_crew(database.owner_dsn)
    return laid


@pytest.fixture
def pool(database, world):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=4, open=True) as opened:
        yield opened


def change(database, query: str, *values: object) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(query, values)


def open_ticket(pool, device_id: int) -> int:
    with pool.connection() as connection:
        return tickets.open_scheduled_ticket(
            connection,
            device_id=device_id,
            failure_mode="battery_end_of_life",
            title=("UPS u1: battery", "UPS u1：电池"),
            why=("old", "旧"),
            priority=2,
            skills=("battery",),
            part_kinds=("battery_set",),
            action=("Replace", "更换"),
            source="rule",
            now=NOW,
        )


def consume(pool, now=NOW) -> None:
    while take_one(pool, now=now, handlers=HANDLERS):
        pass


def notices(pool) -> list[dict]:
    with pool.connection() as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute("SELECT * FROM notice ORDER BY id").fetchall()


def test_a_ticket_drafts_its_order_and_then_tells_the_contact_of_it(pool, world):
    open_ticket(pool, world.device)
    consume(pool)
    (notice,) = notices(pool)
    assert (notice["contact_id"], notice["language"]) == (world.contact, "en")
    assert "The part is set aside: Part B-A." in notice["body"]
    assert notice["sent_at"] == NOW  # on the page, as the contact has no channel
    with pool.connection() as connection:
        assert connection.execute("SELECT state FROM work_order").fetchall() == [("draft",)]


def test_a_redelivered_message_tells_and_drafts_nothing_twice(database, pool, world):
    open_ticket(pool, world.device)
    consume(pool)
    change(database, "UPDATE outbox SET done_at = NULL")
    consume(pool)
    assert len(notices(pool)) == 1
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM work_order").fetchone() == (1,)
        assert connection.execute("SELECT sum(reserved) FROM stock_balance").fetchone() == (1,)


def test_a_customer_without_contacts_is_told_on_the_page(pool, world):
    open_ticket(pool, world.other_device)
    consume(pool)
    (notice,) = notices(pool)
    assert (notice["customer_id"], notice["contact_id"]) == (world.other_customer, None)
    assert notice["language"] == "zh"


def test_only_contacts_of_the_site_who_want_notices_are_told(database, pool, world):
    change(
        database,
        "INSERT INTO contact (customer_id, site_id, name, language, wants_notices) VALUES"
        " (%s, %s, 'here', 'zh', true), (%s, %s, 'elsewhere', 'zh', true),"
        " (%s, NULL, 'silent', 'zh', false)",
        world.customer,
        world.site,
        world.customer,
        world.other_site,
        world.customer,
    )
    open_ticket(pool, world.device)
    consume(pool)
    assert sorted(notice["language"] for notice in notices(pool)) == ["en", "zh"]


def test_an_incident_and_its_end_are_told(database, pool, world):
    change(
        database,
        "UPDATE device_state SET status_on_battery = true, battery_runtime = 840, fast_at = %s"
        " WHERE device_id = %s",
        NOW,
        world.device,
    )
    with pool.connection() as connection:
        incident = open_incident(
            connection,
            subject=f"site:{world.site}",
            cause=MAINS_FAILURE,
            site_id=world.site,
            customer_id=world.customer,
            at=NOW,
            now=NOW,
        )
        connection.execute(
            "INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state,"
            " raised_at, changed_at, reason, incident_id)"
            " VALUES (%s, %s, %s, 'on_battery', 'major', 'active', %s, %s, '{}', %s)",
            (world.device, world.customer, world.site, NOW, NOW, incident),
        )
    consume(pool)
    assert notices(pool) == []  # other units of the site may be struck within seconds
    consume(pool, NOW + LET_SETTLE["incident.opened"])
    (notice,) = notices(pool)
    assert notice["title"] == "Site s1: mains power failed"
    assert "UPS u1 about 14 min" in notice["body"]


def test_closing_a_ticket_calls_off_the_draft_and_frees_its_part(pool, world):
    ticket = open_ticket(pool, world.device)
    consume(pool)
    with pool.connection() as connection:
        tickets.close_ticket(
            connection, ticket, closing_code="false_alarm", text="", actor="test", now=NOW
        )
    consume(pool)
    with pool.connection() as connection:
        assert connection.execute("SELECT state FROM work_order").fetchall() == [("cancelled",)]
        assert connection.execute("SELECT sum(reserved) FROM stock_balance").fetchone() == (0,)
    assert notices(pool)[-1]["title"] == "Closed: UPS u1: battery"


@pytest.fixture
def customer_server():
    received: list[bytes] = []
    status = [500]

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, received, status
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refused_notice_is_kept_with_its_error_and_sent_later(
    database, pool, world, customer_server
):
    port, received, status = customer_server
    sealed = SEALER.seal(f"json://127.0.0.1:{port}/notify")
    change(database, "UPDATE contact SET channel_sealed = %s", sealed)
    open_ticket(pool, world.device)
    consume(pool)
    assert notices(pool)[0]["sent_at"] is None
    assert deliver_one(pool, now=NOW, unseal=SEALER.unseal)
    (notice,) = notices(pool)
    assert notice["sent_at"] is None
    assert "500" in notice["error"]
    assert notice["next_at"] == NOW + WAITS[0]
    assert not deliver_one(pool, now=NOW, unseal=SEALER.unseal)
    status[0] = 200
    later = NOW + WAITS[0]
    assert deliver_one(pool, now=later, unseal=SEALER.unseal)
    (notice,) = notices(pool)
    assert (notice["sent_at"], notice["error"], notice["attempts"]) == (later, None, 2)
    assert b"UPS u1: battery" in received[-1]
    assert not deliver_one(pool, now=later, unseal=SEALER.unseal)


def test_a_channel_of_another_key_is_an_error_and_not_a_crash(database, pool, world):
    sealed = Sealer(Fernet.generate_key().decode()).seal("json://127.0.0.1:9/x")
    change(database, "UPDATE contact SET channel_sealed = %s", sealed)
    open_ticket(pool, world.device)
    consume(pool)
    assert deliver_one(pool, now=NOW, unseal=SEALER.unseal)
    assert "does not open" in notices(pool)[0]["error"]


def test_two_senders_at_once_send_a_notice_once(database, pool, world):
    change(
        database,
        "UPDATE contact SET channel_sealed = %s",
        SEALER.seal("json://127.0.0.1:9/x"),
    )
    open_ticket(pool, world.device)
    consume(pool)
    sent: list[str] = []

    def slow(_address: str, title: str, _body: str) -> None:
        assert not deliver_one(pool, now=NOW, unseal=SEALER.unseal, send=slow)
        sent.append(title)

    assert deliver_one(pool, now=NOW, unseal=SEALER.unseal, send=slow)
    assert len(sent) == 1


def test_staff_are_told_when_the_service_itself_is_blind(database, pool):
    """Two notices, one a language, to the staff's channel; customers see neither."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        incident_id = admin.execute(
            "INSERT INTO incident (subject, cause, opened_at) VALUES ('fleet', 'no_data', %s)"
            " RETURNING id",
            (NOW,),
        ).fetchone()[0]
        admin.execute(
            "INSERT INTO outbox (at, topic, ref) VALUES (%s, 'incident.opened', %s)",
            (NOW, incident_id),
        )
    later = NOW + timedelta(minutes=1)
    assert take_one(pool, now=later, handlers=HANDLERS)
    sent = []
    while deliver_one(
        pool,
        now=later,
        unseal=lambda _: "unused",
        send=lambda channel, title, _: sent.append((channel, title)),
        staff_channel="json://staff",
    ):
        pass
    assert [channel for channel, _ in sent] == ["json://staff"] * 2
    assert {title.partition(":")[0].partition("：")[0] for _, title in sent} == {
        "No data",
        "无数据",
    }
    with psycopg.connect(database.api_dsn) as api:
        api.execute("SELECT set_config('ridethrough.scope', '1', true)")
        assert api.execute("SELECT count(*) FROM notice").fetchone() == (0,)
