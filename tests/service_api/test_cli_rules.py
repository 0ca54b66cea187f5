"""`ridethrough rules export` and `import` as their user runs them."""

import json

import psycopg
import pytest

from service_api.cli import main
from tests.cast import register
from tests.service_api.test_own_rules import STEADY

OVERRIDE = '\n[[override]]\nrule = "high_load"\ndevice = "ups-0-1"\nraise_after_seconds = 60\n'


@pytest.fixture
def run(capsys, monkeypatch, embedded_database):
    register(embedded_database.admin_dsn)
    monkeypatch.setenv("RIDETHROUGH_API_DATABASE_URL", embedded_database.api_dsn)
    monkeypatch.setenv("RIDETHROUGH_INGEST_DATABASE_URL", embedded_database.ingest_dsn)

    def running(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["rules", *map(str, arguments)])
        told = capsys.readouterr()
        return exit_.value.code, told.out, told.err

    return running


def test_a_file_goes_in_comes_out_the_same_and_changes_nothing_again(
    run, tmp_path, embedded_database
):
    file = tmp_path / "rules.toml"
    file.write_text(STEADY + OVERRIDE, encoding="utf-8")
    why = ("--reason", "new site")
    assert run("check", file)[0] == 0
    code, told, _ = run("import", file, *why, "--dry-run")
    assert (code, told.splitlines()[-1]) == (0, "2 would change")
    assert run("export")[1] == ""
    code, told, _ = run("import", file, *why)
    assert code == 0
    assert "+ steady_load\n" in told
    assert "+ high_load @ device ups-0-1\n    raise_after_seconds: - -> 60\n" in told
    with psycopg.connect(embedded_database.admin_dsn) as admin:
        assert admin.execute("SELECT DISTINCT actor, reason FROM rule_version").fetchall() == [
            ("command line", "new site")
        ]

    assert run("export", file)[0] == 0
    assert run("import", file, *why, "--replace")[1] == "0 changed\n"
    file.write_text(file.read_text(encoding="utf-8").replace("> 70", "> 60"), encoding="utf-8")
    changes = json.loads(run("import", file, *why, "--json")[1])
    assert [(one["rule"], one["deed"]) for one in changes] == [("steady_load", "change")]


def test_a_file_with_a_fault_is_refused_with_its_place(run, tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(STEADY.replace("ups_load", "ups_lod"), encoding="utf-8")
    code, _, complaint = run("import", file, "--reason", "x")
    assert code == 2
    assert "did you mean `ups_load`? (at character 9)" in complaint
    assert run("import", tmp_path / "none.toml", "--reason", "x")[0] == 2
    assert run("import", file, "--reason", " ")[0] == 2
    assert run("export")[1] == ""


def test_a_rule_of_your_own_is_known_to_back_tests(run, tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(STEADY, encoding="utf-8")
    run("import", file, "--reason", "x")
    code, told, complaint = run("backtest", "steady_load", "--from", "1d", "--estimate")
    assert (code, told.splitlines()[0]) == (0, "1 units, about 0 readings, about 0 s"), complaint
