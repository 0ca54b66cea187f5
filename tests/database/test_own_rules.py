"""Own rules and overrides through ingest: who they judge, what goes on when they come and go."""

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import psycopg
import pytest

from collector.ingest import Ingest
from collector.tick import tick
from rules.catalogue import catalogue
from rules.conditions import Condition
from rules.engine import Engine
from rules.live import LOOK_EVERY, LiveRules
from rules.occasion_store import judge_devices
from rules.occasions import Occasion
from rules.version_store import known_rules, save_version
from rules.versions import ALL, RULE, Scope
from tests.cast import HEALTHY, Service, register

OWN = """
[steady_load]
title = {en = "Loaded", zh = "负载偏高"}
severity = "minor"
condition = "ups_load > 55"
raise_after_seconds = 0
clear_after_seconds = 0
source = "ours"
ticket = {failure_mode = "steady_load", impact = "low", urgency = "low", \
action = {en = "Look", zh = "查看"}}
"""


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn, connections=4)
    yield made
    made.close()


@pytest.fixture
def save(database, service):
    """Save a version as the API does, and let the rules be looked at again."""

    def saving(key: str, scope: Scope, text: str | None) -> None:
        with psycopg.connect(database.api_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            save_version(
                connection, key, scope, text, actor="desk", reason="test", now=service.clock.now
            )
        service.clock.advance(LOOK_EVERY.total_seconds())

    return saving


def alarms(service: Service, rule: str) -> list[tuple]:
    return service.rows(
        "SELECT device_id, severity, state FROM alarm WHERE rule_key = %s ORDER BY id", rule
    )


def load(service: Service, units: list[int], percent: float) -> None:
    service.tell(*units, valid=90, **HEALTHY | {"ups_load": percent})


def test_an_own_rule_raises_and_opens_its_ticket_and_is_quiet_once_retired(service, save, database):
    (ups,) = register(database.admin_dsn)
    load(service, [ups], 60.0)
    save("steady_load", RULE, OWN)
    load(service, [ups], 60.0)
    assert alarms(service, "steady_load") == [(ups, "minor", "active")]
    assert service.one("SELECT failure_mode FROM ticket") == "steady_load"

    save("steady_load", RULE, None)
    service.tick()
    assert alarms(service, "steady_load") == [(ups, "minor", "stale")]
    save("steady_load", RULE, OWN.replace("55", "65"))
    service.beat()
    load(service, [ups], 60.0)
    assert alarms(service, "steady_load") == [(ups, "minor", "cleared")]


def test_an_override_for_one_unit_raises_where_the_rule_would_not(service, save, database):
    first, second = register(database.admin_dsn, devices=2)
    key = service.one("SELECT key FROM device WHERE id = %s", first)
    save(
        "overload",
        Scope("device", key),
        '[overload]\nseverity = "critical"\ncondition = "ups_load > 50"\nraise_after_seconds = 0\n'
        "no_ticket = true\n",
    )
    load(service, [first, second], 60.0)
    assert alarms(service, "overload") == [(first, "critical", "active")]
    assert service.one("SELECT count(*) FROM ticket") == 0
    reason = service.one("SELECT reason ->> 'condition' FROM alarm")
    assert reason == "ups_load > 50"


def test_the_most_specific_override_counts_and_the_others_judge_nobody(service, save, database):
    units = register(database.admin_dsn, devices=2, sites=2)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(
            "UPDATE device SET manufacturer = 'APC', model = 'SRT' WHERE id <> %s", (units[3],)
        )
    keys = [key for (key,) in service.rows("SELECT key FROM device ORDER BY id")]
    site = service.one("SELECT key FROM site ORDER BY id DESC LIMIT 1")

    def over(percent: int) -> str:
        return f'[overload]\ncondition = "ups_load > {percent}"\nraise_after_seconds = 0\n'

    save("overload", ALL, over(90))
    save("overload", Scope("model", "SRT"), over(80))
    save("overload", Scope("model", "SRT", "APC"), over(70))
    save("overload", Scope("site", site), over(60))
    save("overload", Scope("device", keys[2]), over(95))

    def raised_at(percent: float) -> set[int]:
        service.clock.advance(30)
        load(service, units, percent)
        return {device for device, _, state in alarms(service, "overload") if state == "active"}

    assert raised_at(65.0) == {units[3]}
    assert raised_at(75.0) == {units[0], units[1], units[3]}
    assert raised_at(94.0) == {units[0], units[1], units[3]}
    assert raised_at(96.0) == set(units)


def test_what_is_remembered_goes_on_when_an_override_comes_and_goes(service, save, database):
    """Held for 10 of 15 min: an override of 12 min raises 2 min later, and the alarm stays."""
    (ups,) = register(database.admin_dsn)
    scope = Scope("device", service.one("SELECT key FROM device"))
    service.rules.engine(service.pool, service.clock.now)
    began = service.clock.now

    def until(minutes: float) -> None:
        while service.clock.now < began + timedelta(minutes=minutes):
            service.clock.advance(30)
            load(service, [ups], 85.0)

    load(service, [ups], 85.0)
    until(10)
    save("high_load", scope, "[high_load]\nraise_after_seconds = 720\n")
    until(11.5)
    assert alarms(service, "high_load") == []
    until(12.5)
    assert alarms(service, "high_load") == [(ups, "warning", "active")]
    assert service.one("SELECT raised_at FROM alarm") == began + timedelta(minutes=12)
    save("high_load", scope, None)
    until(20)
    assert alarms(service, "high_load") == [(ups, "warning", "active")]


def test_an_override_survives_a_restart_and_reaches_every_worker_within_seconds(
    service, save, database
):
    (ups,) = register(database.admin_dsn)
    other = Ingest(
        service.pool,
        rules=LiveRules(catalogue()),
        now=service.clock,
        oldest=lambda now: now - timedelta(days=14),
    )
    other.store([service.arrive(ups, HEALTHY, valid=90)])
    key = service.one("SELECT key FROM device")
    save("overload", Scope("device", key), '[overload]\ncondition = "ups_load > 40"\n')
    other.store([service.arrive(ups, HEALTHY, valid=90)])
    assert service.one("SELECT rule_key FROM rule_state") == "overload"

    restarted = LiveRules(catalogue())
    service.clock.advance(61)
    tick(service.pool, restarted, now=service.clock.now)
    assert alarms(service, "overload") == [(ups, "major", "active")]


def test_a_tick_that_does_not_know_a_new_rule_yet_leaves_what_it_remembers(service, save, database):
    (ups,) = register(database.admin_dsn)
    save("steady_load", RULE, OWN.replace("raise_after_seconds = 0", "raise_after_seconds = 60"))
    save("steady_load", RULE, None)
    behind = LiveRules(catalogue())
    assert "steady_load" not in behind.engine(service.pool, service.clock.advance(60)).rules
    service.clock.advance(-LOOK_EVERY.total_seconds())
    save("steady_load", RULE, OWN.replace("raise_after_seconds = 0", "raise_after_seconds = 60"))
    load(service, [ups], 60.0)
    tick(service.pool, behind, now=service.clock.now)
    assert service.one("SELECT rule_key FROM rule_state") == "steady_load"


def test_a_version_that_cannot_be_used_is_put_aside_with_a_finding_and_the_others_go_on(
    service, save, database
):
    (ups,) = register(database.admin_dsn)
    save("broken", RULE, OWN.replace("steady_load", "broken").replace("ups_load >", "gone_word >"))
    save("steady_load", RULE, OWN)
    save("nobody", Scope("device", "ups-0-1"), '[nobody]\nseverity = "minor"\n')
    load(service, [ups], 60.0)
    assert alarms(service, "steady_load") == [(ups, "minor", "active")]
    findings = dict(
        service.rows("SELECT subject, detail FROM finding WHERE kind = 'rule_unusable'")
    )
    assert set(findings) == {"broken", "nobody@device:ups-0-1"}
    assert "gone_word" in findings["broken"]

    save("broken", RULE, None)
    load(service, [ups], 60.0)
    assert service.rows(
        "SELECT subject FROM finding WHERE kind = 'rule_unusable' AND closed_at IS NULL"
    ) == [("nobody@device:ups-0-1",)]


def test_a_rule_that_fails_live_is_switched_off_alone(service, save, database, monkeypatch):
    (ups,) = register(database.admin_dsn)
    written = Condition.to_polars
    monkeypatch.setattr(
        Condition,
        "to_polars",
        lambda self: pl.col("gone") > 0 if "55" in self.text else written(self),
    )
    save("steady_load", RULE, OWN)
    save("other_load", RULE, OWN.replace("steady_load", "other_load").replace("55", "50"))
    load(service, [ups], 60.0)
    assert service.rows("SELECT rule_key, enabled FROM rule_override") == [("steady_load", False)]
    assert service.rows("SELECT kind, subject FROM finding") == [("rule_failed", "steady_load")]
    assert alarms(service, "other_load") == [(ups, "minor", "active")]
    load(service, [ups], 60.0)
    assert service.one("SELECT count(*) FROM quarantine") == 0


def test_overrides_of_a_retired_rule_rest_with_it(service, save, database):
    (ups,) = register(database.admin_dsn)
    key = service.one("SELECT key FROM device")
    save("steady_load", RULE, OWN)
    save("steady_load", Scope("device", key), '[steady_load]\ncondition = "ups_load > 10"\n')
    save("steady_load", RULE, None)
    load(service, [ups], 60.0)
    assert alarms(service, "steady_load") == []
    assert service.one("SELECT count(*) FROM finding") == 0
    save("steady_load", RULE, OWN)
    load(service, [ups], 20.0)
    assert alarms(service, "steady_load") == [(ups, "minor", "active")]


def test_health_and_calendar_go_by_overrides_too(service, save, database):
    worn, fine = register(database.admin_dsn, devices=2)
    key = service.one("SELECT key FROM device WHERE id = %s", worn)
    of_one = Scope("device", key)
    save("battery_worn", of_one, '[battery_worn]\ncondition = "battery_index_high < 95"\n')
    save("install_date_missing", of_one, "[install_date_missing]\nraise_after_seconds = 600\n")
    rules = service.rules.engine(service.pool, service.clock.now).rules
    with service.pool.connection() as connection:
        judge_devices(
            connection,
            Engine(rules, Occasion.HEALTH),
            {one: {"battery_index_high": 90.0} for one in (worn, fine)},
            now=service.clock.now,
        )
        judge_devices(
            connection,
            Engine(rules, Occasion.CALENDAR),
            {one: {"missing_install_date": True} for one in (worn, fine)},
            now=service.clock.now,
        )
    assert alarms(service, "battery_worn") == [(worn, "minor", "active")]
    assert service.rows(
        "SELECT device_id, raised_at IS NOT NULL FROM reminder ORDER BY device_id"
    ) == [(worn, False), (fine, True)]


def test_titles_of_retired_rules_stay_known(service, save, database):
    save("steady_load", RULE, OWN)
    save("steady_load", RULE, None)
    with service.pool.connection() as connection:
        known = known_rules(connection)
    assert "steady_load" not in known.rules
    assert known.title("steady_load") == ("Loaded", "负载偏高")
    assert known.title("never_was") == ("never_was", "never_was")
    assert known.title("overload") == ("Overload", "过载")


def test_versions_are_numbered_and_never_changed(service, save, database):
    save("steady_load", RULE, OWN)
    save("steady_load", RULE, OWN)
    save("steady_load", RULE, None)
    save("steady_load", Scope("device", "ups-0-1"), '[steady_load]\nseverity = "major"\n')
    assert service.rows("SELECT version, text IS NULL FROM rule_version ORDER BY id") == [
        (1, False),
        (2, True),
        (1, False),
    ]
    with (
        psycopg.connect(database.admin_dsn) as admin,
        pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
    ):
        admin.execute("UPDATE rule_version SET actor = 'somebody else'")
