"""Wrong usage of every command: exit status 2 and one line on standard error that says the cure."""

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from service_api.cli import main, parser

NOWHERE = "postgresql://somebody:secret@127.0.0.1:1/nothing"
DATABASES = ("DATABASE_URL", "INGEST_DATABASE_URL", "API_DATABASE_URL")

RULE = """
[a]
title = { en = "A", zh = "A" }
severity = "minor"
condition = "CONDITION"
raise_after_seconds = 0
clear_after_seconds = 0
source = "a test"
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in os.environ:
        if name.startswith("RIDETHROUGH_") and "TEST" not in name:
            monkeypatch.delenv(name)


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit status, standard output, lines of standard error."""

    def running(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(one) for one in arguments])
        told = capsys.readouterr()
        return exit_.value.code, told.out, told.err.splitlines()

    return running


@pytest.fixture
def files(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "binary.yaml").write_bytes(b"\x80\x81" * 50)
    (tmp_path / "binary.snmprec").write_bytes(b"\x80\x81" * 50)
    (tmp_path / "empty.snmprec").write_bytes(b"")
    (tmp_path / "one-fault.csv").write_text("key,name,site,customer,address\n-,n,s,c,snmp://a@h\n")
    (tmp_path / "faults.csv").write_text("nonsense\n1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "COMMAND"),
        ("nonsense", "invalid choice"),
        ("--nonsense", "COMMAND"),
        ("demo --port x", "'x' is not a port: give a number from 1 to 65535"),
        ("demo --port 70000", "not a port"),
        ("demo --devices 0", "not a count"),
        ("demo --data-dir FILES/binary", "is a file: give a folder"),
        ("demo extra", "unrecognized arguments: extra"),
        ("run --roles cook", "no role cook: choose from collect, ingest"),
        ("run --roles ,", "no role given"),
        ("run --workers -1", "not a count"),
        ("run", "RIDETHROUGH_INGEST_DATABASE_URL is not set"),
        ("run --roles api", "RIDETHROUGH_API_DATABASE_URL is not set"),
        ("migrate", "RIDETHROUGH_DATABASE_URL is not set"),
        ("migrate --nonsense", "unrecognized arguments"),
        ("doctor extra", "unrecognized arguments"),
        ("job", "COMMAND"),
        ("job run", "name"),
        ("job run nothing", "there is no job nothing: one of rollup"),
        ("job run rollup", "RIDETHROUGH_INGEST_DATABASE_URL is not set"),
        ("job list extra", "unrecognized arguments"),
        ("users", "COMMAND"),
        ("users add", "name, --role"),
        ("users add bob --role admin", "RIDETHROUGH_API_DATABASE_URL is not set"),
        ("sim --scenario nothing", "no scenario 'nothing': give a file or one of demo"),
        ("sim --scenario FILES/binary", "cannot be read as UTF-8 text"),
        ("sim --scenario FILES", "no scenario"),
        ("sim --devices x", "not a count"),
        ("sim --base-port 70000", "not a port"),
        ("sim --epoch yesterday", "not an instant: give one like 2026-03-02T08:00:00+08:00"),
        ("sim --mqtt-url nonsense", "a broker is mqtt://HOST:PORT"),
        ("sim --csv FILES/nowhere/fleet.csv", "there is no folder"),
        ("replay", "recording"),
        ("replay FILES/nowhere", "there is no recording"),
        ("replay FILES", "there is no recording"),
        ("replay FILES/binary", "a recording is a .snmprec, .yaml or .jsonl file"),
        ("replay FILES/binary.snmprec", "line 1"),
        ("replay FILES/binary.yaml", "binary.yaml"),
        ("replay FILES/empty.snmprec", "empty.snmprec"),
        ("replay FILES/binary --port 0", "not a port"),
        ("probe", "url"),
        ("probe nonsense", "begin it with snmp://"),
        ("probe snmp://", "names no host: write snmp://public@HOST:161"),
        ("probe snmp://public@127.0.0.1:99999", "the port is no number from 1 to 65535"),
        ("probe ftp://127.0.0.1", "unknown scheme 'ftp': use snmp://"),
        ("probe snmpv3://u@h?auth=rot13", "unknown auth='rot13': use one of md5"),
        ("probe modbus://h:502/999", "the unit must be a number from 0 to 255"),
        ("probe snmp://public@127.0.0.1:1 --profile nothing", "there is no profile nothing"),
        ("devices", "COMMAND"),
        ("devices import", "file"),
        ("devices import FILES/nowhere.csv", "cannot be read: No such file"),
        ("devices import FILES", "cannot be read: Is a directory"),
        ("devices import FILES/binary", "neither UTF-8 nor GB18030"),
        ("devices import FILES/one-fault.csv", "line 2, key"),
        ("devices import FILES/faults.csv", "more, listed above"),
        ("profile", "COMMAND"),
        ("profile check", "file"),
        ("profile check FILES/nowhere.yaml", "there is no profile"),
        ("profile list extra", "unrecognized arguments"),
        ("rules", "COMMAND"),
        ("rules check FILES/nowhere.toml", "cannot be read: No such file"),
        ("rules check FILES", "cannot be read: Is a directory"),
        ("rules check FILES/binary", "not UTF-8"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(run, files, arguments, says):
    status, _, complaints = run(*arguments.replace("FILES", str(files)).split())
    assert (status, len(complaints)) == (2, 1), complaints
    assert complaints[0].startswith("ridethrough")
    assert says in complaints[0]


def commands(of, name=()):
    """Yield every command of the parser, as words."""
    below = [a.choices for a in of._actions if isinstance(a.choices, dict)]
    if not below:
        yield name
    for choices in below:
        for word, one in choices.items():
            yield from commands(one, (*name, word))


@pytest.mark.parametrize("command", sorted(commands(parser())))
def test_every_command_refuses_an_unknown_option_and_explains_itself(run, command):
    status, _, complaints = run(*command, "--no-such-option")
    assert (status, len(complaints)) == (2, 1), complaints
    status, told, complaints = run(*command, "--help")
    assert (status, complaints) == (0, [])
    assert told.startswith(f"usage: ridethrough {' '.join(command)}")


@pytest.mark.parametrize(
    ("name", "value", "command", "says"),
    [
        ("RAW_DAYS", "many", "run", "RIDETHROUGH_RAW_DAYS"),
        ("RAW_DAYS", "0", "job list", "RIDETHROUGH_RAW_DAYS"),
        ("PORT", "99999", "run", "RIDETHROUGH_PORT"),
        ("MQTT_VERSION", "4", "run", "RIDETHROUGH_MQTT_VERSION"),
        ("INGEST_DATABASE_URL", "nonsense", "run", "give postgresql://USER:PASSWORD@HOST"),
        ("INGEST_DATABASE_URL", "nonsense", "job run rollup", "is no database address"),
        ("DATABASE_URL", "nonsense", "migrate", "is no database address"),
        ("API_DATABASE_URL", "nonsense", "users add bob --role admin", "is no database address"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(run, monkeypatch, name, value, command, says):
    monkeypatch.setenv(f"RIDETHROUGH_{name}", value)
    status, _, complaints = run(*command.split())
    assert (status, len(complaints)) == (2, 1), complaints
    assert says in complaints[0]


@pytest.mark.parametrize(
    "command",
    [
        "run --roles ingest",
        "run --roles api",
        "migrate",
        "job run rollup",
        "users add b --role admin",
    ],
)
def test_a_database_that_is_away_is_one_line_and_shows_no_password(run, monkeypatch, command):
    for name in DATABASES:
        monkeypatch.setenv(f"RIDETHROUGH_{name}", NOWHERE)
    monkeypatch.setenv("RIDETHROUGH_ENCRYPTION_KEY", Fernet.generate_key().decode())
    status, _, complaints = run(*command.split())
    assert (status, len(complaints)) == (1, 1), complaints
    assert "the database cannot be reached" in complaints[0]
    assert "secret" not in complaints[0]


@pytest.mark.parametrize(
    "condition",
    [
        "ups_load > 80 AND pg_sleep(9)",
        "ups_load > 80; DROP TABLE alarm",
        "(" * 500 + "ups_load > 80" + ")" * 500,
        "ups_load > " + "1 + " * 4_000 + "1",
        "ups_load > (SELECT 1)",
        "",
    ],
)
def test_hostile_rule_text_is_refused_in_one_line(run, tmp_path, condition):
    file = tmp_path / "rules.toml"
    file.write_text(RULE.replace("CONDITION", condition))
    status, told, complaints = run("rules", "check", file)
    assert (status, told, len(complaints)) == (1, "", 1), complaints
    assert "rule a, condition" in complaints[0]
    assert len(complaints[0]) < 500


def test_a_recorded_profile_with_faults_names_each_with_its_line(run, tmp_path):
    file = tmp_path / "profile.yaml"
    file.write_text("nonsense: 1\n")
    status, told, complaints = run("profile", "check", file)
    assert (status, len(complaints)) == (1, 1)
    assert all(line.startswith(f"{file}:") for line in told.splitlines())
    assert told


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (["nonsense"], 2, 1),
        (["probe", "nonsense"], 2, 1),
        (["devices", "import", "/nowhere.csv"], 2, 1),
        (["rules", "check", "--json"], 0, 0),
    ],
)
def test_the_real_command_ends_with_that_status(arguments, status, lines):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RIDETHROUGH_")}
    done = subprocess.run(
        [sys.executable, "-m", "service_api.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (status, lines), done.stderr
