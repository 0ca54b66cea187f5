"""Readings of all forms go into the table by column and come out as they were."""

from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.copy_rows import copied, in_order
from collector.telemetry_store import copy_newer, ensure_partition
from rules.facts import Reading
from rules.points import BY_COLUMN, Kind
from tests.cast import START

NUMBERS = st.floats(allow_nan=False)
FLAGS = st.booleans()
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)
VALUES = {Kind.NUMBER: NUMBERS, Kind.FLAG: FLAGS, Kind.TEXT: TEXTS}
COLUMNS = ("battery_charge", "input_voltage", "status_on_line", "status_bypass")
WORDS = ("ups_test_result", "battery_charger_status")
POINTS = st.fixed_dictionaries(
    {}, optional={name: VALUES[BY_COLUMN[name].kind] for name in (*COLUMNS, *WORDS)}
)
EXTRAS = st.dictionaries(TEXTS, st.one_of(st.booleans(), TEXTS, st.integers()), max_size=3)
MICROSECONDS = st.integers(0, 40 * 365 * 86_400 * 1_000_000)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told=st.lists(st.tuples(POINTS, EXTRAS, MICROSECONDS), min_size=1, max_size=12))
def test_what_is_copied_is_what_was_read(database, told):
    readings = [
        Reading(
            number,
            START + timedelta(seconds=number, microseconds=late % 1_000_000),
            START + timedelta(microseconds=late),
            points,
            extra,
        )
        for number, (points, extra, late) in enumerate(told)
    ]
    names = ("device_id", "observed_at", "received_at", *COLUMNS, *WORDS, "extra")
    with psycopg.connect(database.admin_dsn) as connection:
        ensure_partition(connection, START)
        copy_newer(connection, readings)
        rows = connection.execute(
            f"SELECT {', '.join(names)} FROM telemetry ORDER BY device_id"
        ).fetchall()
        connection.rollback()
    assert rows == [
        (
            one.device_id,
            one.observed_at,
            one.received_at,
            *(one.points.get(name) for name in (*COLUMNS, *WORDS)),
            one.extra or None,
        )
        for one in readings
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [("battery_charge", "97"), ("status_on_line", "true"), ("ups_test_result", 3.0)],
)
def test_a_value_of_the_wrong_kind_is_refused_rather_than_written(column, value):
    reading = Reading(1, START, START, {column: value})
    with pytest.raises((TypeError, ValueError)):
        list(copied([reading], in_order([column])))
