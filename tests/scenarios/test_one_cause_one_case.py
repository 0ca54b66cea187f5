"""One cause, one case: what an outage, a hot room and a lost switch become, as timelines."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.cast import HEALTHY, ON_BATTERY, RUNNING_LOW, START, Service, register
from tests.topology import enter

HOT = HEALTHY | {"ups_temperature": 66.0}


@pytest.fixture
def service(embedded_database) -> Iterator[Service]:
    made = Service(embedded_database.ingest_dsn, connections=6)
    yield made
    made.close()


def live(service: Service, seconds: int, said: dict[int, dict], *, step: int = 5) -> None:
    """Let time pass in which each of these units says the same; the others are silent."""
    for _ in range(0, seconds, step):
        for points in {id(one): one for one in said.values()}.values():
            service.tell(*[unit for unit, one in said.items() if one is points], **points)
        service.run(step, step=step)


def incidents(service: Service) -> list[tuple]:
    """Return (subject kind, cause, open, units, is under another) of each case, in order."""
    return service.rows(
        """
        SELECT split_part(i.subject, ':', 1), i.cause, i.closed_at IS NULL,
            (SELECT count(DISTINCT device_id) FROM alarm a WHERE a.incident_id = i.id),
            i.parent_id IS NOT NULL
        FROM incident i
        WHERE i.merged_into_id IS NULL AND i.cause NOT IN ('collector_down', 'no_data')
        ORDER BY i.id
        """
    )


def test_three_sites_of_one_substation_that_fail_within_minutes_are_one_regional_incident(
    service, embedded_database
):
    dsn = embedded_database.admin_dsn
    plant = register(dsn, devices=3, prefix="plant-")
    mill = register(dsn, devices=2, prefix="mill-")
    bank = register(dsn, devices=2, prefix="bank-")
    far = register(dsn, devices=2, prefix="far-")
    enter(dsn, plant, substation="Lingang 110 kV")
    enter(dsn, mill, substation="lingang  110 kv")  # as another customer writes it
    enter(dsn, bank, substation="Lingang 110 kV")
    enter(dsn, far, substation="Elsewhere")
    everybody = dict.fromkeys(plant + mill + bank + far, HEALTHY)
    live(service, 10, everybody)

    # 0 s: mains fails at the plant, and for its own reason far away; 70 s: alarms
    said = everybody | dict.fromkeys(plant + far, ON_BATTERY)
    live(service, 75, said)
    assert [row[:2] for row in incidents(service)] == [("site", "mains_failure")] * 2
    assert not any(row[4] for row in incidents(service))

    # 75 s: the mill fails too, and 3 min later the bank
    said |= dict.fromkeys(mill, ON_BATTERY)
    live(service, 180, said)
    said |= dict.fromkeys(bank, ON_BATTERY)
    live(service, 75, said)
    found = incidents(service)
    assert [row for row in found if row[1] == "supply_failure"] == [
        ("substation", "supply_failure", True, 0, False)
    ]
    assert sorted(row[3:] for row in found if row[1] == "mains_failure") == [
        (2, False),  # far away
        (2, True),
        (2, True),
        (3, True),
    ]
    assert service.rows("SELECT * FROM ticket") == []  # all of them ride through

    # The bank's mains is back first; the region's incident ends with the last site.
    said |= dict.fromkeys(bank + plant, HEALTHY)
    live(service, 30, said)
    assert ("substation", "supply_failure", True, 0, False) in incidents(service)
    live(service, 30, everybody)
    assert ("substation", "supply_failure", False, 0, False) in incidents(service)
    assert all(not is_open for _, _, is_open, _, _ in incidents(service))
    # Each site's failure was heard of once, the region's is nobody's customer's.
    told = service.rows(
        "SELECT topic, customer_id IS NULL, count(*) FROM outbox"
        " WHERE topic LIKE 'incident.%%' GROUP BY 1, 2 ORDER BY 1"
    )
    assert told == [
        ("incident.closed", False, 4),
        ("incident.opened", False, 4),
        ("incident.over", True, 1),
        ("incident.regional", True, 1),
    ]


def test_sites_that_fail_half_an_hour_apart_are_not_one_failure(service, embedded_database):
    dsn = embedded_database.admin_dsn
    plant = register(dsn, prefix="plant-")
    mill = register(dsn, prefix="mill-")
    for units in (plant, mill):
        enter(dsn, units, substation="Lingang")
    said = dict.fromkeys(plant, ON_BATTERY) | dict.fromkeys(mill, HEALTHY)
    live(service, 1_800, said, step=15)
    live(service, 90, dict.fromkeys(plant + mill, ON_BATTERY))
    assert incidents(service) == [
        ("site", "mains_failure", True, 1, False),
        ("site", "mains_failure", True, 1, False),
    ]


def test_a_site_whose_failure_becomes_known_late_still_belongs_to_the_region(
    service, embedded_database
):
    dsn = embedded_database.admin_dsn
    plant = register(dsn, prefix="plant-")
    mill = register(dsn, prefix="mill-")
    for units in (plant, mill):
        enter(dsn, units, substation="Lingang")
    live(service, 1_500, dict.fromkeys(plant, ON_BATTERY), step=15)
    # The mill's line was down: its collector sends now what it read 25 minutes ago.
    for second in range(0, 100, 5):
        service.ingest.store(
            [service.arrive(mill[0], ON_BATTERY, observed_at=START + timedelta(seconds=second))]
        )
    service.tick()
    assert incidents(service) == [
        ("site", "mains_failure", True, 1, True),
        ("site", "mains_failure", True, 1, True),
        ("substation", "supply_failure", True, 0, False),
    ]
    # It began with the first of them, whichever was known first.
    assert service.one("SELECT opened_at FROM incident WHERE cause = 'supply_failure'") == (
        START + timedelta(seconds=60)
    )


def test_flapping_mains_of_a_region_stays_one_case(service, embedded_database):
    dsn = embedded_database.admin_dsn
    units = register(dsn, prefix="plant-") + register(dsn, prefix="mill-")
    for unit in units:
        enter(dsn, [unit], substation="Lingang")
    for _ in range(4):
        live(service, 90, dict.fromkeys(units, ON_BATTERY))
        live(service, 60, dict.fromkeys(units, HEALTHY))
    assert incidents(service) == [
        ("site", "mains_failure", False, 1, True),
        ("site", "mains_failure", False, 1, True),
        ("substation", "supply_failure", False, 0, False),
    ]


def test_two_hot_units_of_a_room_are_the_rooms_case_and_one_ticket(service, embedded_database):
    dsn = embedded_database.admin_dsn
    first, second, elsewhere, nowhere = register(dsn, devices=4)
    enter(dsn, [first, second], room="Hall A")
    enter(dsn, [elsewhere], room="Hall B")
    live(service, 320, {first: HOT, second: HEALTHY, elsewhere: HOT, nowhere: HOT}, step=10)
    live(service, 320, {first: HOT, second: HOT, elsewhere: HOT, nowhere: HOT}, step=10)
    assert incidents(service) == [
        ("room", "over_temperature", True, 2, False),
        ("room", "over_temperature", True, 1, False),
    ]
    # One ticket a room; the unit of which no room is known has its own.
    assert service.rows(
        """
        SELECT t.device_id, t.incident_id IS NOT NULL, count(*)
        FROM ticket t JOIN ticket_alarm x ON x.ticket_id = t.id GROUP BY t.id ORDER BY t.device_id
        """
    ) == [(first, True, 2), (elsewhere, True, 1), (nowhere, False, 1)]


def test_units_behind_one_switch_that_fall_silent_are_one_case(service, embedded_database):
    dsn = embedded_database.admin_dsn
    behind = register(dsn, devices=4)
    enter(dsn, behind[:3], path="Switch 1")
    live(service, 30, dict.fromkeys(behind, HEALTHY))
    live(service, 960, {behind[3]: HEALTHY}, step=15)
    assert incidents(service) == [("path", "communication_lost", True, 3, False)]
    assert service.one("SELECT count(*) FROM ticket") == 1
    live(service, 90, dict.fromkeys(behind, HEALTHY))
    assert incidents(service) == [("path", "communication_lost", False, 3, False)]


def test_what_falls_silent_while_its_site_has_no_mains_belongs_to_that_failure(
    service, embedded_database
):
    dsn = embedded_database.admin_dsn
    lives, _dies, _dies_too = units = register(dsn, devices=3)
    enter(dsn, units, path="Switch 1")
    live(service, 10, dict.fromkeys(units, HEALTHY))
    live(service, 120, dict.fromkeys(units, ON_BATTERY))
    # The switch loses power; a unit with its own line goes on speaking.
    live(service, 960, {lives: ON_BATTERY}, step=15)
    assert incidents(service) == [("site", "mains_failure", True, 3, False)]
    assert service.rows(
        """
        SELECT m.evidence ->> 'kind', count(*) FROM incident_member m
        JOIN alarm a ON a.id = m.alarm_id WHERE a.rule_key = 'communication_lost' GROUP BY 1
        """
    ) == [("mains", 2)]


def test_mains_that_is_known_after_the_silence_takes_the_silent_units_in(
    service, embedded_database
):
    dsn = embedded_database.admin_dsn
    speaks, _silent, _silent_too = units = register(dsn, devices=3)
    enter(dsn, units, path="Switch 1")
    live(service, 10, dict.fromkeys(units, HEALTHY))
    live(service, 960, {}, step=15)
    assert incidents(service) == [("path", "communication_lost", True, 3, False)]
    assert service.one("SELECT count(*) FROM ticket") == 1
    # The line is back: what one unit says was read while mains was away.
    for second in range(10, 960, 15):
        service.ingest.store(
            [service.arrive(speaks, ON_BATTERY, observed_at=START + timedelta(seconds=second))]
        )
    service.run(90, step=15)
    assert incidents(service) == [("site", "mains_failure", True, 3, False)]
    assert service.rows(
        """
        SELECT e.kind FROM incident_event e JOIN incident i ON i.id = e.incident_id
        WHERE i.cause = 'communication_lost' ORDER BY e.id
        """
    ) == [("opened",), ("merged",)]
    assert service.one("SELECT count(*) FROM ticket") == 1


def tickets(service: Service) -> list[tuple]:
    return service.rows("SELECT device_id, failure_mode, priority FROM ticket ORDER BY id")


def test_in_an_outage_only_the_unit_that_will_not_survive_gets_a_ticket(service, embedded_database):
    short, long, longer = units = register(embedded_database.admin_dsn, devices=3)
    # 30 s to the alarm at 60 s leaves 3 min and a half of a battery that says 4 min at first.
    for second in range(0, 120, 5):
        left = {short: 330 - second, long: 3_000 - second, longer: 6_000 - second}
        for unit in units:
            service.tell(unit, **ON_BATTERY | {"battery_runtime": float(left[unit])})
        service.run(5, step=5)
        # 3 min are left once 150 s have passed
    assert tickets(service) == []
    for second in range(120, 160, 5):
        left = {short: 330 - second, long: 3_000 - second, longer: 6_000 - second}
        for unit in units:
            service.tell(unit, **ON_BATTERY | {"battery_runtime": float(left[unit])})
        service.run(5, step=5)
    assert tickets(service) == [(short, "load_at_risk", 1)]


def test_a_gauge_that_falls_faster_than_the_unit_says_is_believed_in_time(
    service, embedded_database
):
    (unit,) = register(embedded_database.admin_dsn)
    # It says 20 min all the time, and loses half a point of charge a second while voltage sinks.
    for second in range(0, 130, 5):
        if second == 115:
            assert tickets(service) == []
        service.tell(
            unit,
            **ON_BATTERY
            | {
                "battery_runtime": 1_200.0,
                "battery_charge": 100.0 - second / 2,
                "battery_voltage": 54.0 - second / 20,
            },
        )
        service.run(5, step=5)
    # Measured from 72.5 % at 55 s: at 115 s 42.5 % are left, which last 85 s.
    assert tickets(service) == [(unit, "load_at_risk", 1)]


def test_who_does_not_come_back_with_mains_gets_a_ticket_after_ten_minutes(
    service, embedded_database
):
    well, stuck, quiet = register(embedded_database.admin_dsn, devices=3)
    live(service, 120, {well: ON_BATTERY, stuck: ON_BATTERY, quiet: ON_BATTERY})
    # 2 min: `quiet` falls silent. 20 min: mains is back, `stuck` stays on its battery.
    live(service, 1_080, {well: ON_BATTERY, stuck: ON_BATTERY}, step=15)
    assert ("communication_lost",) in service.rows("SELECT rule_key FROM alarm")
    said = {well: HEALTHY, stuck: ON_BATTERY | {"battery_runtime": 3_000.0}}
    live(service, 570, said, step=15)
    assert tickets(service) == []
    live(service, 60, said, step=15)
    # One ticket for the case, and both units behind it.
    assert len(tickets(service)) == 1
    assert service.rows(
        """
        SELECT a.device_id, a.rule_key FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
        ORDER BY a.device_id
        """
    ) == [(stuck, "on_battery"), (quiet, "communication_lost")]


@pytest.mark.slow
def test_an_outage_of_a_site_with_500_units_is_one_incident_and_at_most_one_ticket(
    service, embedded_database
):
    units = register(embedded_database.admin_dsn, devices=500)
    worn = units[17::50]
    said = dict.fromkeys(units, ON_BATTERY) | dict.fromkeys(worn, RUNNING_LOW)
    live(service, 90, said, step=15)
    assert incidents(service) == [("site", "mains_failure", True, 500, False)]
    assert service.one("SELECT count(*) FROM ticket") == 1
    assert service.one("SELECT count(*) FROM ticket_alarm") == len(worn)
    assert service.one("SELECT count(*) FROM incident_member WHERE until_at IS NULL") == 510
    assert service.one("SELECT count(*) FROM outbox WHERE topic = 'incident.opened'") == 1
    live(service, 60, dict.fromkeys(units, HEALTHY), step=15)
    assert incidents(service) == [("site", "mains_failure", False, 500, False)]


def test_two_workers_that_raise_alarms_of_one_site_at_once_open_one_incident(
    service, embedded_database
):
    units = register(embedded_database.admin_dsn, devices=40)
    halves = [units[n::4] for n in range(4)]
    for _ in range(3):
        service.clock.advance(15)
        service.tell(*units, **ON_BATTERY)
    service.clock.advance(20)
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda half: service.tell(*half, **RUNNING_LOW), halves))
    service.clock.advance(10)
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda half: service.tell(*half, **RUNNING_LOW), halves))
    service.tick()
    assert incidents(service) == [("site", "mains_failure", True, 40, False)]
    assert service.one("SELECT count(*) FROM ticket") == 1
    assert service.one("SELECT count(*) FROM incident_member") == 80
    assert service.ingest.counters.quarantined == {}


def test_schedulers_and_workers_at_once_make_one_region_of_many_sites(service, embedded_database):
    dsn = embedded_database.admin_dsn
    sites = [register(dsn, devices=5, prefix=f"site{n}-") for n in range(6)]
    for units in sites:
        enter(dsn, units, substation="Lingang")
    for _ in range(5):
        service.clock.advance(15)
        service.beat()
        for units in sites:
            service.tell(*units, **ON_BATTERY)
    service.clock.advance(15)
    work = [lambda units=units: service.tell(*units, **RUNNING_LOW) for units in sites]
    with ThreadPoolExecutor(5) as workers:
        list(workers.map(lambda one: one(), [*work, service.tick, *work, service.tick]))
        service.clock.advance(10)
        list(workers.map(lambda one: one(), [service.tick, *work, service.tick]))
    service.tick()
    found = incidents(service)
    assert [row for row in found if row[0] == "substation"] == [
        ("substation", "supply_failure", True, 0, False)
    ]
    assert [row for row in found if row[0] == "site"] == [
        ("site", "mains_failure", True, 5, True)
    ] * 6
    assert service.rows(
        "SELECT count(*), count(DISTINCT child_id) FROM incident_member WHERE child_id IS NOT NULL"
    ) == [(6, 6)]
    # One ticket a site: each is another case of work.
    assert service.one("SELECT count(*) FROM ticket") == 6
    assert service.ingest.counters.quarantined == {}
