"""`ridethrough rules backtest` as its user runs it."""

import json
from datetime import timedelta

import psycopg
import pytest

from collector.telemetry_store import copy_newer, ensure_partition
from rules.facts import Reading
from service_api.cli import main
from tests.cast import START, register

PROPOSED = """
[high_load]
title = {en = "Load above 50 %", zh = "负载率高于 50 %"}
severity = "warning"
condition = "ups_load > 50"
raise_after_seconds = 900
clear_after_seconds = 600
source = "proposed"
"""
SPAN = ("--from", "2026-03-02", "--to", "2026-03-02T18:00:00+08:00")


@pytest.fixture
def run(capsys, monkeypatch, embedded_database):
    """Two hours of minutes: the load is 60 for the first half hour, 90 for the second, then 40."""
    (device,) = register(embedded_database.admin_dsn)
    with psycopg.connect(embedded_database.admin_dsn) as connection:
        ensure_partition(connection, START)
        copy_newer(
            connection,
            [
                Reading(device, at, at, {"ups_load": load}, stays_valid_seconds=180.0)
                for minute in range(120)
                for at in [START + timedelta(minutes=minute)]
                for load in [60.0 if minute < 30 else 90.0 if minute < 60 else 40.0]
            ],
        )
    monkeypatch.setenv("RIDETHROUGH_INGEST_DATABASE_URL", embedded_database.ingest_dsn)

    def running(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["rules", "backtest", *map(str, arguments)])
        told = capsys.readouterr()
        return exit_.value.code, told.out, told.err.splitlines()

    return running


def test_a_rule_and_a_proposal_are_tried_side_by_side(run, tmp_path):
    (tmp_path / "my.toml").write_text(PROPOSED, encoding="utf-8")
    status, told, complaints = run("high_load", "--against", tmp_path / "my.toml", *SPAN, "--json")
    assert (status, complaints) == (0, [])
    shipped, proposed = json.loads(told)["rules"]
    assert (shipped["key"], proposed["key"]) == ("high_load", "high_load_proposed")
    assert shipped["listed"] == [
        {
            "device_id": 1,
            "name": "UPS 1",
            "raised_at": "2026-03-02T08:45:00+00:00",
            "cleared_at": "2026-03-02T09:10:00+00:00",
        }
    ]
    assert proposed["listed"][0]["raised_at"] == "2026-03-02T08:15:00+00:00"
    assert (proposed["alarms"], proposed["seconds"]) == (1, 55 * 60)
    assert proposed["tickets"] == 0


def test_it_is_told_in_plain_words(run):
    status, told, _ = run("high_load", *SPAN)
    assert status == 0
    assert "alarms   1 on 1 units, 25 min in all" in told
    assert "note: readings are kept from 2026-03-02 08:00 UTC" in told
    status, told, _ = run("high_load", *SPAN, "--estimate")
    # 119 min at a poll every 30 s, and 8 h of averages before.
    assert (status, told.splitlines()[0]) == (0, "1 units, about 270 readings, about 0 s")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("nothing", *SPAN), 2, "there is no rule nothing"),
        (("nowhere.toml", *SPAN), 2, "there is no file nowhere.toml"),
        (("high_load", "--from", "yesterday"), 2, "not an instant"),
        (("high_load", "--from", "2026-03-02T08:00:00"), 2, "not an instant"),
        (("high_load", "--from", "2026-03-03", "--to", "2026-03-02"), 2, "ends before it begins"),
        (("high_load", "--from", "9999d"), 2, "5 years at most"),
        (("high_load", *SPAN, "--site", "nowhere"), 1, "no unit is in this scope"),
        (("communication_lost", *SPAN), 1, "silence is not kept"),
    ],
)
def test_what_cannot_be_tried_is_said_in_one_line(run, arguments, status, says):
    code, _, complaints = run(*arguments)
    assert (code, len(complaints)) == (status, 1)
    assert says in complaints[0]
