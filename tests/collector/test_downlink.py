"""The list of devices as it goes to a collector that has no other."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from collector.downlink import FILE, HeardList, ListInvalid, pack, unpack
from collector.store import KnownDevice

DEVICE = KnownDevice(
    7, "ups-1", "snmp", "snmp://192.0.2.1:161", b"gAAAAAsealed", "rfc1628", 30.0, 2.0, False
)


def test_a_list_comes_out_as_it_went_in():
    digest, payload = pack([DEVICE, replace(DEVICE, device_id=8, key="ups-2")])
    assert unpack(payload) == (digest, [DEVICE, replace(DEVICE, device_id=8, key="ups-2")])


def test_a_reading_does_not_make_another_list():
    at = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    assert pack([DEVICE]) == pack([replace(DEVICE, is_on_battery=True, observed_at=at)])
    assert pack([DEVICE]) != pack([replace(DEVICE, address="snmp://192.0.2.2:161")])


@pytest.mark.parametrize("payload", [b"", b"x" * 200, pack([DEVICE])[1][:-1]])
def test_what_is_no_list_is_refused(payload):
    with pytest.raises(ListInvalid):
        unpack(payload)


def test_what_was_heard_is_remembered(tmp_path, caplog):
    heard = HeardList(tmp_path)
    assert (heard.digest, heard.devices()) == ("", [])
    digest, payload = pack([DEVICE])
    heard.take(payload)
    heard.take(b"nonsense")
    assert "is left" in caplog.text
    assert (heard.digest, heard.devices()) == (digest, [DEVICE])
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    again = HeardList(tmp_path)
    assert (again.digest, again.devices()) == (digest, [DEVICE])


def test_what_was_remembered_and_is_damaged_is_asked_for_again(tmp_path, caplog):
    (tmp_path / FILE).write_bytes(b"nonsense")
    assert HeardList(tmp_path).digest == ""
    assert "no use" in caplog.text
