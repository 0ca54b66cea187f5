"""`ridethrough discover` as its user runs it: found, told as new or known, registered."""

import asyncio
import json
import stat
import threading
from contextlib import contextmanager

import psycopg
import pytest
from cryptography.fernet import Fernet

from device_sims.serve import serving
from service_api.cli import main
from tests.device_sims.sims import START, scenario


@contextmanager
def simulated(units):
    """Serve units in a thread; yields their addresses by key."""
    ready, stop = threading.Event(), threading.Event()
    told = {}

    async def serve():
        async with serving(scenario(units), start=START) as fleet:
            told.update({member.key: member.url for member in fleet.units})
            ready.set()
            while not stop.is_set():  # noqa: ASYNC110 - a thread sets the event
                await asyncio.sleep(0.05)

    running = threading.Thread(target=lambda: asyncio.run(serve()))
    running.start()
    try:
        assert ready.wait(20)
        yield told
    finally:
        stop.set()
        running.join()


@pytest.fixture
def run(capsys, monkeypatch, embedded_database):
    monkeypatch.setenv("RIDETHROUGH_API_DATABASE_URL", embedded_database.api_dsn)
    monkeypatch.setenv("RIDETHROUGH_ENCRYPTION_KEY", Fernet.generate_key().decode())

    def running(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["discover", *map(str, arguments)])
        told = capsys.readouterr()
        return exit_.value.code, told.out, told.err

    return running


def test_a_unit_is_found_new_then_registered_then_known(run, embedded_database, tmp_path):
    with simulated("a apc-powernet snmp tower-3k") as urls:
        port = urls["a"].rpartition(":")[2]
        listed = tmp_path / "new.csv"
        search = ("127.0.0.1", "--port", port, "--community", "public", "--timeout", "1")

        code, out, _ = run(*search, "--json", "--csv", listed)
        (found,) = json.loads(out)
        assert code == 0
        assert (found["kind"], found["profile"], found["new"]) == ("ups", "apc-powernet", True)
        assert found["identity"]["manufacturer"] == "APC"
        assert "public@" in listed.read_text()
        assert stat.S_IMODE(listed.stat().st_mode) == 0o600

        code, out, err = run(*search, "--register", "--customer", "bank", "--site", "north")
        assert code == 0, err
        assert "1 units, 1 of them new" in out
        with psycopg.connect(embedded_database.admin_dsn) as admin:
            ((key, address, profile),) = admin.execute(
                "SELECT key, address, profile FROM device"
            ).fetchall()
        assert profile == "apc-powernet"
        assert address == f"snmp://127.0.0.1:{port}"

        code, out, _ = run(*search, "--json")
        (found,) = json.loads(out)
        assert (found["device"], found["new"]) == (key, False)


def test_wrong_usage_is_said_with_its_cure_and_without_secrets(run):
    code, _, err = run("127.0.0.1", "--login", "snmpv3://user:hush-hush@example.org")
    assert code == 2
    assert "host as *" in err or "passphrase" in err
    assert "hush" not in err
    code, _, err = run("127.0.0.1", "--register")
    assert code == 2
    assert "--customer and --site" in err
    assert run("10.0.0.0/8")[0] == 2
    assert run("127.0.0.1", "--rate", "0")[0] == 2
