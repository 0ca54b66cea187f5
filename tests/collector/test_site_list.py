"""What a collector away from the center remembers of its devices while the line is cut."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from collector.site_list import FILE, RememberedList
from collector.store import KnownDevice

DEVICE = KnownDevice(
    7,
    "ups-1",
    "snmp",
    "snmp://192.0.2.1:161",
    b"gAAAAAsealed",
    "rfc1628",
    30.0,
    2.0,
    True,
    datetime(2026, 3, 2, 8, 0, tzinfo=UTC),
)


class Cut(Exception):
    """The line is cut."""


class Center:
    """The devices as the center has them, while the line holds."""

    def __init__(self, devices=None):
        self.devices = devices

    def __call__(self):
        if self.devices is None:
            raise Cut
        return self.devices


def test_what_was_loaded_is_remembered_by_the_next_start(tmp_path):
    assert RememberedList(tmp_path, load=Center([DEVICE])).devices() == [DEVICE]
    again = Center()
    later = RememberedList(tmp_path, load=again)
    assert later.devices() == [DEVICE]
    again.devices = [replace(DEVICE, address="snmp://192.0.2.9:161")]
    assert later.devices() == again.devices
    assert RememberedList(tmp_path, load=Center()).devices() == again.devices


def test_only_its_owner_reads_it_and_credentials_stay_sealed(tmp_path):
    RememberedList(tmp_path, load=Center([DEVICE])).devices()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert "gAAAAAsealed" in (tmp_path / FILE).read_text()


def test_where_nothing_is_remembered_the_failure_is_told(tmp_path):
    with pytest.raises(Cut):
        RememberedList(tmp_path, load=Center()).devices()


def test_who_knows_its_devices_hears_of_a_failure(tmp_path):
    center = Center([DEVICE])
    listed = RememberedList(tmp_path, load=center)
    listed.devices()
    center.devices = None
    with pytest.raises(Cut):
        listed.devices()
