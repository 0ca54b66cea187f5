"""`ridethrough record` as its user runs it."""

import pytest

from device_sims.recordings import read_snmp
from service_api.cli import main
from tests.service_api.test_cli_discover import simulated


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def running(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["record", *map(str, arguments)])
        told = capsys.readouterr()
        return exit_.value.code, told.out, told.err

    return running


def test_a_host_is_recorded_into_a_file_of_its_name(run, tmp_path):
    with simulated("a apc-powernet snmp tower-3k") as urls:
        host = urls["a"].partition("@")[2]
        code, out, err = run(host)
        assert code == 0, err
        recorded = tmp_path / "127.0.0.1.snmprec"
        assert "objects" in out
        assert "look it over" in out
        assert len(read_snmp(recorded).values) > 40

        code, _, err = run(host)
        assert code == 2
        assert "--force" in err
        assert run(host, "--force", "--keep", "--root", "1.3.6.1.2.1.1")[0] == 0
        assert len(read_snmp(recorded).values) < 10


def test_what_cannot_be_recorded_is_said_in_one_line(run):
    code, _, err = run("127.0.0.1:9", "--seconds", "1")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert run("snmp://")[0] == 2
    code, _, err = run("snmp://public@127.0.0.1", "--out", "x.yaml")
    assert code == 2
    assert ".snmprec" in err
    code, _, err = run("modbus://127.0.0.1:9/1", "--profile", "nonsense")
    assert code == 2
    assert "apc-modbus" in err


def test_what_snmpwalk_printed_becomes_a_recording(run, tmp_path):
    walked = tmp_path / "unit.walk"
    walked.write_text(
        '.1.3.6.1.2.1.1.5.0 = STRING: "plant-7"\n'
        '.1.3.6.1.4.1.318.1.1.1.1.2.3.0 = STRING: "AS9911"\n'
        ".1.3.6.1.4.1.318.1.1.1.2.2.1.0 = Gauge32: 97\n"
    )
    code, out, err = run(walked)
    assert code == 0, err
    assert "3 objects" in out
    assert (tmp_path / "unit.snmprec").read_text().splitlines()[1:] == [
        "1.3.6.1.2.1.1.5.0|4|XXXXX-0",
        "1.3.6.1.4.1.318.1.1.1.1.2.3.0|4|XX0000",
        "1.3.6.1.4.1.318.1.1.1.2.2.1.0|66|97",
    ]
    walked.write_text("sysDescr.0 = STRING: card\n")
    code, _, err = run(walked, "--force")
    assert code == 2
    assert "snmpwalk -On" in err
