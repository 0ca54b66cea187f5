"""Judging: 1,000 readings against 60 rules, with `advance` and the rows that remember states.

One device in twenty is not normal: on battery, too hot, or overloaded. Measured is what ingest does
between the facts and the alarms: read the remembered states, judge, write what changed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median

import psycopg

from bench import card
from bench.figures import Figure, at_most
from bench.stage import Stage
from rules.believed import Facts
from rules.catalogue import Rule, catalogue
from rules.engine import Engine
from rules.facts import Reading, Value
from rules.in_force import InForce
from rules.incident_store import join_incidents
from rules.store import record, remembered_states

READINGS = 1_000
RULES = 60
OVERRIDDEN = 20
_ABNORMAL_EVERY = 20
_REPETITIONS = 15
_BEGAN_AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_POLL = timedelta(seconds=30)
_ABNORMAL: tuple[Mapping[str, Value], ...] = (
    {"status_on_line": False, "status_on_battery": True, "input_voltage": 0.0},
    {"battery_temperature": 44.0},
    {"ups_load": 104.0, "status_overload": True},
)


def measure(stage: Stage) -> list[Figure]:
    """Return the milliseconds of a judgement, without overrides and with some."""
    rules = _rules()
    name = f"judging {READINGS:,} readings with {RULES} rules"
    cpu, wall = _measured(stage, lambda _devices: Engine(rules))
    overridden_cpu, overridden_wall = _measured(stage, lambda ids: Engine(_overridden(rules, ids)))
    name_of_others = f"{name}, {OVERRIDDEN} of them overridden for one unit in ten"
    return [
        at_most(name, wall, "ms", 30),
        Figure(f"{name}: CPU of the daemon", cpu, "ms"),
        Figure(name_of_others, overridden_wall, "ms"),
        Figure(f"{name_of_others}: CPU of the daemon", overridden_cpu, "ms"),
    ]


def _measured(stage: Stage, engine_for: Callable[[list[int]], Engine]) -> tuple[float, float]:
    """Return the median milliseconds of the CPU and on the clock."""
    devices = stage.register(["snmp://127.0.0.1"] * READINGS, protocol="snmp")
    engine = engine_for(devices)
    cpu, wall = [], []
    with psycopg.connect(stage.dsn("ingest"), options="-c timezone=UTC") as connection:
        facts = {device_id: _nothing_known(engine, device_id) for device_id in devices}
        for turn in range(-3, _REPETITIONS):
            at = _BEGAN_AT + (turn + 3) * _POLL
            readings = _readings(devices, turn, at)
            began, began_cpu = time.perf_counter(), time.process_time()
            remembered = remembered_states(connection, devices)
            judged = engine.judge_readings(facts, readings, remembered.states)
            ready = record(connection, judged, remembered, engine.rules, at)
            join_incidents(connection, ready, engine.rules, at)
            if turn >= 0:  # the first turns raise what the others find standing
                cpu.append(time.process_time() - began_cpu)
                wall.append(time.perf_counter() - began)
            connection.commit()
    stage.forget_devices()
    return median(cpu) * 1e3, median(wall) * 1e3


def _overridden(rules: Mapping[str, Rule], devices: list[int]) -> InForce:
    """Return the rules with another severity and longer times for every tenth device."""
    some = list(rules.values())[:OVERRIDDEN]
    return InForce(
        rules,
        {
            rule.key: (
                replace(rule, severity="minor", raise_after=rule.raise_after + timedelta(hours=1)),
            )
            for rule in some
        },
        {rule.key: dict.fromkeys(devices[::10], 0) for rule in some},
    )


def _rules() -> dict[str, Rule]:
    """Return the shipped rules, and the same again under other names until there are enough."""
    shipped = list(catalogue().values())
    rules = {rule.key: rule for rule in shipped}
    while len(rules) < RULES:
        number = len(rules)
        key = f"bench_{number}"
        rules[key] = replace(shipped[number % len(shipped)], key=key, cause=None, inhibited_by=())
    return rules


def _nothing_known(engine: Engine, device_id: int) -> Facts:
    return Facts(device_id, dict.fromkeys(engine.columns), None, None, None)


def _readings(devices: list[int], turn: int, at: datetime) -> dict[int, list[Reading]]:
    """Return one reading a device; a few of those that are not normal change in each turn."""
    found = {}
    for number, device_id in enumerate(devices):
        points = dict(card.HEALTHY)
        if number % _ABNORMAL_EVERY == 0 and (number + turn) % 10:
            points |= _ABNORMAL[number // _ABNORMAL_EVERY % len(_ABNORMAL)]
        points["ups_load"] = float(points["ups_load"]) + number % 7 / 10
        found[device_id] = [Reading(device_id, at, at, points, stays_valid_seconds=92.0)]
    return found
