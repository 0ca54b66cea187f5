"""One vocabulary: columns, profiles, rules and simulators agree with the table of points."""

import re

import psycopg
import pytest

from collector.form import EXTRA_POINTS
from collector.profile import profiles
from device_sims.fleet import units
from device_sims.scenario import load_scenario
from device_sims.ups import SimulatedUps
from rules.catalogue import COLUMNS, catalogue
from rules.occasions import FACTS
from rules.points import (
    BY_COLUMN,
    BY_NAME,
    EXTRA_FLAGS,
    FACT_COLUMNS,
    POINTS,
    TREND_FLAGS,
    TREND_NUMBERS,
    Kind,
    column_of,
)
from tests.cast import START

SQL_TYPES = {Kind.NUMBER: "double precision", Kind.FLAG: "boolean", Kind.TEXT: "text"}


def columns_of(dsn: str, table: str) -> dict[str, str]:
    with psycopg.connect(dsn) as connection:
        return dict(
            connection.execute(
                """
                SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
                WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
                """,
                (table,),
            ).fetchall()
        )


def test_names_and_columns_are_unique_and_speak_two_languages():
    assert len(BY_NAME) == len(BY_COLUMN) == len(POINTS) <= 110
    for point in POINTS:
        assert re.fullmatch(r"[a-z][a-zA-Z0-9.\-]*(_[a-z]+)*(\.[a-zA-Z0-9_\-]+)*", point.name)
        assert re.search(r"[一-鿿]", point.zh), point.name
        assert point.en
        assert (point.low is None) == (point.kind is not Kind.NUMBER)


@pytest.mark.parametrize("table", ["telemetry", "device_state"])
def test_the_tables_of_readings_have_a_column_for_each_point_and_no_other(database, table):
    bookkeeping = {
        "telemetry": {
            "device_id",
            "observed_at",
            "received_at",
            "believed_seconds",
            "told",
            "withheld",
            "extra",
        },
        "device_state": {
            "device_id",
            "observed_at",
            "received_at",
            "fast_at",
            "slow_at",
            "stays_valid_seconds",
            "silence_check_at",
            "extra",
        },
    }[table]
    found = columns_of(database.owner_dsn, table)
    assert {name: found[name] for name in found.keys() - bookkeeping} == {
        point.column: SQL_TYPES[point.kind] for point in POINTS
    }


@pytest.mark.parametrize("table", ["telemetry_15m", "telemetry_1h", "telemetry_1d"])
def test_rollups_keep_the_trend_points_and_no_other(database, table):
    wanted = {f"{p.column}_{part}" for p in TREND_NUMBERS for part in ("avg", "min", "max")}
    wanted |= {f"{p.column}_{part}" for p in TREND_FLAGS for part in ("any", "seconds")}
    assert columns_of(database.owner_dsn, table).keys() == wanted | {"device_id", "bucket", "n"}


def test_rules_speak_of_known_columns_and_explain_themselves_in_two_languages():
    assert COLUMNS.keys() == BY_COLUMN.keys() | FACT_COLUMNS.keys() | FACTS.keys()
    assert len(COLUMNS) == len(BY_COLUMN) + len(FACT_COLUMNS) + len(FACTS)
    for rule in catalogue().values():
        assert rule.condition.columns <= COLUMNS.keys()
        assert rule.source
        texts = [(rule.title_en, rule.title_zh)]
        if rule.ticket is not None:
            texts.append((rule.ticket.action_en, rule.ticket.action_zh))
        for en, zh in texts:
            assert en
            assert re.search(r"[一-鿿]", zh), rule.key


LINES = {"{L}": "L1", "{L-N}": "L1-N", "{L-L}": "L1-L2"}


def test_every_profile_gives_only_points_of_the_vocabulary():
    """Points by name, flags and alarm codes by name; further probes and outlets are `extra`."""
    checked = 0
    for profile in profiles().values():
        names = set()
        for pattern in profile.points:
            name = pattern
            for placeholder, line in LINES.items():
                name = name.replace(placeholder, line)
            names.add(name)
        for state in profile.states:
            for flags in (*state.codes.values(), *state.bits.values()):
                names |= set(flags or ())
            names |= set(state.texts)
        for table in profile.alarms:
            for codes in table.codes.values():
                names.update(flag for flags in codes.values() for flag in flags)
        unknown = names - BY_NAME.keys() - set(EXTRA_FLAGS) - EXTRA_POINTS.keys()
        assert unknown == set(), profile.name
        checked += len(names)
    assert checked > 200


def test_every_simulated_unit_speaks_only_words_of_the_vocabulary():
    for scenario in ("demo", "faults"):
        for member in units(load_scenario(scenario), epoch=START):
            points = SimulatedUps(member.spec, member.seed, start=START).points()
            for column, value in points.items():
                kind = BY_COLUMN[column].kind
                assert isinstance(value, {"number": float, "flag": bool, "text": str}[kind.value])


def test_columns_are_written_like_names():
    assert column_of("input.L1-N.voltage") == "input_l1_n_voltage"
    assert column_of("status.on_battery") == "status_on_battery"
