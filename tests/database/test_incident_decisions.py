"""What people decide about incidents, and that the machine leaves it so."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from rules.incident_operations import expect_restoration, merge, split, undo
from rules.operations import NotThere, OperationRefused
from tests.cast import HEALTHY, ON_BATTERY, Service, register
from tests.topology import enter


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def live(service: Service, seconds: int, said: dict[int, dict], *, step: int = 5) -> None:
    for _ in range(0, seconds, step):
        for unit, points in said.items():
            service.tell(unit, **points)
        service.run(step, step=step)


def decide(service: Service, operation, *what, **more) -> int:
    with service.pool.connection() as connection:
        return operation(connection, *what, actor="desk", now=service.clock.now, **more)


def where(service: Service) -> dict[int, int]:
    """Return the incident of each unit's standing alarm."""
    return dict(
        service.rows("SELECT device_id, incident_id FROM alarm WHERE cleared_at IS NULL ORDER BY 1")
    )


def test_a_unit_that_was_parted_stays_apart_and_comes_back_when_that_is_undone(service, database):
    first, second, third = units = register(database.admin_dsn, devices=3)
    live(service, 75, dict.fromkeys(units, ON_BATTERY))
    (incident,) = set(where(service).values())
    apart = decide(service, split, incident, device_ids=[third], reason="its breaker tripped")
    assert where(service) == {first: incident, second: incident, third: apart}
    # Its alarm clears and comes again while its own case lasts: the rest of the site is unmoved.
    live(service, 20, {first: ON_BATTERY, second: ON_BATTERY, third: HEALTHY})
    live(service, 75, dict.fromkeys(units, ON_BATTERY))
    assert where(service)[first] == incident
    assert service.rows("SELECT count(*) FROM incident WHERE subject LIKE '%%#%%'") == [(1,)]
    (decision,) = service.rows("SELECT id, kind, actor, reason FROM incident_decision")
    assert decision[1:] == ("split", "desk", "its breaker tripped")
    decide(service, undo, decision[0])
    assert set(where(service).values()) == {incident}
    live(service, 20, dict.fromkeys(units, HEALTHY))
    assert service.rows("SELECT id FROM incident WHERE closed_at IS NULL") == []
    with pytest.raises(OperationRefused, match="taken back already"):
        decide(service, undo, decision[0])


def test_while_its_own_case_lasts_a_parted_unit_keeps_its_new_alarms(service, database):
    first, second = units = register(database.admin_dsn, devices=2)
    live(service, 75, dict.fromkeys(units, ON_BATTERY))
    (incident,) = set(where(service).values())
    apart = decide(service, split, incident, device_ids=[second], reason="rectifier")
    low = ON_BATTERY | {"status_low_battery": True}
    live(service, 15, {first: ON_BATTERY, second: low})
    assert service.rows(
        "SELECT rule_key, incident_id FROM alarm WHERE device_id = %s ORDER BY id", second
    ) == [("on_battery", apart), ("low_battery", apart)]


def test_two_incidents_of_a_site_become_one_and_stay_so(service, database):
    quiet, failing = register(database.admin_dsn, devices=2)
    enter(database.admin_dsn, [quiet], path="Switch 1")
    live(service, 960, {failing: HEALTHY}, step=15)
    live(service, 75, {failing: ON_BATTERY})
    lost, mains = where(service)[quiet], where(service)[failing]
    assert lost != mains
    kept = decide(service, merge, [mains, lost], reason="the switch is on the same breaker")
    assert kept == mains
    live(service, 30, {failing: ON_BATTERY})
    assert set(where(service).values()) == {mains}
    assert service.rows("SELECT merged_into_id FROM incident WHERE id = %s", lost) == [(mains,)]
    # Silence that comes again goes where people said that it belongs.
    live(service, 90, {failing: ON_BATTERY, quiet: HEALTHY})
    live(service, 960, {failing: ON_BATTERY}, step=15)
    assert set(where(service).values()) == {mains}
    decide(service, undo, service.one("SELECT id FROM incident_decision"))
    assert service.one("SELECT merged_into_id IS NULL FROM incident WHERE id = %s", lost)


def test_a_site_taken_out_of_a_region_is_not_gathered_back(service, database):
    plant = register(database.admin_dsn, prefix="plant-")
    mill = register(database.admin_dsn, prefix="mill-")
    for units in (plant, mill):
        enter(database.admin_dsn, units, substation="Lingang")
    said = dict.fromkeys(plant + mill, ON_BATTERY)
    live(service, 75, said)
    parent, child = service.rows(
        "SELECT parent_id, id FROM incident WHERE parent_id IS NOT NULL ORDER BY id"
    )[0]
    decide(service, split, parent, child_ids=[child], reason="their own transformer")
    live(service, 30, said)
    assert service.one("SELECT parent_id FROM incident WHERE id = %s", child) is None
    decide(service, undo, service.one("SELECT id FROM incident_decision"))
    assert service.one("SELECT parent_id FROM incident WHERE id = %s", child) == parent


def test_sites_without_a_topology_are_gathered_by_hand_and_released_again(service, database):
    units = register(database.admin_dsn, devices=1, sites=2)
    said = dict.fromkeys(units, ON_BATTERY)
    live(service, 75, said)
    children = sorted(set(where(service).values()))
    parent = decide(service, merge, children, reason="the utility called")
    live(service, 10, said)
    assert service.rows("SELECT DISTINCT parent_id FROM incident WHERE parent_id IS NOT NULL") == [
        (parent,)
    ]
    decide(service, undo, service.one("SELECT id FROM incident_decision"))
    live(service, 10, said)
    assert service.rows("SELECT id FROM incident WHERE parent_id IS NOT NULL") == []
    assert service.one("SELECT closed_at IS NOT NULL FROM incident WHERE id = %s", parent)


def test_what_makes_no_sense_is_refused_with_its_reason(service, database):
    units = register(database.admin_dsn, devices=1, sites=2)
    live(service, 75, {units[0]: ON_BATTERY, units[1]: HEALTHY})
    live(service, 960, {units[0]: ON_BATTERY}, step=15)
    mains, lost = where(service)[units[0]], where(service)[units[1]]
    for what, more, says in (
        ([mains], {"reason": "x"}, "takes two"),
        ([mains, lost], {"reason": " "}, "needs a reason"),
        ([mains, lost], {"reason": "x"}, "different sites"),
    ):
        with pytest.raises(OperationRefused, match=says):
            decide(service, merge, what, **more)
    for more, says in (
        ({}, "either"),
        ({"device_ids": units[:1], "child_ids": [lost]}, "either"),
        ({"device_ids": units[:1]}, "nothing would be left"),
        ({"device_ids": units[1:]}, "does not belong"),
        ({"child_ids": [lost]}, "does not belong"),
    ):
        with pytest.raises(OperationRefused, match=says):
            decide(service, split, mains, reason="x", **more)
    with pytest.raises(NotThere):
        decide(service, merge, [mains, 999_999], reason="x")
    with pytest.raises(NotThere):
        decide(service, undo, 999_999)
    for ahead, says in ((timedelta(0), "ahead"), (timedelta(days=8), "seven days")):
        with pytest.raises(OperationRefused, match=says):
            decide(service, expect_restoration, mains, at=service.clock.now + ahead)
    with pytest.raises(OperationRefused, match="only mains"):
        decide(service, expect_restoration, lost, at=service.clock.now + timedelta(hours=1))


def test_units_that_end_before_mains_is_expected_back_get_a_ticket(service, database):
    short, long = register(database.admin_dsn, devices=2)
    said = {
        short: ON_BATTERY | {"battery_runtime": 1_800.0},
        long: ON_BATTERY | {"battery_runtime": 9_000.0},
    }
    live(service, 75, said)
    assert service.rows("SELECT * FROM ticket") == []
    (incident,) = set(where(service).values())
    at = service.clock.now + timedelta(hours=1)
    decide(service, expect_restoration, incident, at=at)
    live(service, 10, said)
    assert service.rows("SELECT device_id, failure_mode FROM ticket") == [(short, "load_at_risk")]


def test_the_log_of_an_incident_cannot_be_changed(service, database):
    (unit,) = register(database.admin_dsn)
    live(service, 75, {unit: ON_BATTERY})
    with (
        psycopg.connect(database.admin_dsn) as admin,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        admin.execute("UPDATE incident_event SET actor = 'somebody'")
