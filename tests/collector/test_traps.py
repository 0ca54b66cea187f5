"""What traps mean, whose they are, and how many are told apart."""

import pytest

from collector.traps import (
    MOST_KINDS,
    MOST_SENDERS,
    TOO_MANY,
    TRAP_ADDRESS,
    Gathered,
    Heard,
    Sender,
    Senders,
    alarm_named,
    meaning_of,
)


def heard(host="192.0.2.1", port=162, oid="1.3.6.1.4.1.318.0.5", **variables):
    return Heard(host, port, oid, variables)


@pytest.mark.parametrize(
    ("oid", "name", "raises", "flag"),
    [
        ("1.3.6.1.4.1.318.0.5", "upsOnBattery", True, "status.on_battery"),
        ("1.3.6.1.4.1.318.0.9", "powerRestored", False, "status.on_battery"),
        ("1.3.6.1.2.1.33.2.1", "upsTrapOnBattery", True, "status.on_battery"),
        ("1.3.6.1.2.1.33.2.0.1", "upsTrapOnBattery", True, "status.on_battery"),
        ("1.3.6.1.2.1.33.2.0.3", "upsTrapAlarmEntryAdded", True, "*"),
        ("1.3.6.1.4.1.534.1.11.4.1.0.4", "xupstdLowBattery", True, "status.low_battery"),
        ("1.3.6.1.4.1.705.1.11.0.5", "upsmgAtLowBattery", True, "status.low_battery"),
        ("1.3.6.1.4.1.476.1.42.3.3.0.5", "lgpEventInternalFault", True, "alarm.internal_fault"),
        ("1.3.6.1.6.3.1.1.5.1", "coldStart", None, None),
    ],
)
def test_a_known_trap_has_its_meaning_with_and_without_the_zero_arc(oid, name, raises, flag):
    assert meaning_of(oid) == (name, raises, flag)


@pytest.mark.parametrize("oid", ["1.3.6.1.4.1.99999.0.5", "1.3.6.1.4.1.318.0.99999", "", "5"])
def test_an_unknown_trap_means_nothing(oid):
    assert meaning_of(oid) is None


def test_a_sender_is_known_by_its_address_in_any_spelling():
    senders = Senders([Sender(1, "192.0.2.1", 161), Sender(2, "2001:db8::2", 161)])
    assert senders.behind(heard("192.0.2.1")) == [1]
    assert senders.behind(heard("::ffff:192.0.2.1")) == [1]
    assert senders.behind(heard("2001:DB8:0::2")) == [2]
    assert senders.behind(heard("192.0.2.9")) == []


def test_of_several_units_behind_one_address_the_port_tells_or_all_are_meant():
    senders = Senders([Sender(n, "192.0.2.1", 160 + n) for n in (1, 2, 3)])
    assert senders.behind(heard(port=162)) == [2]
    assert senders.behind(heard(port=40_000)) == [1, 2, 3]


def test_the_address_that_a_relay_names_counts_more_than_the_relay():
    senders = Senders([Sender(1, "192.0.2.1", 161), Sender(2, "192.0.2.2", 161)])
    relayed = Heard("192.0.2.1", 161, "1.3.6.1.4.1.318.0.5", {TRAP_ADDRESS: "192.0.2.2"})
    assert senders.behind(relayed) == [2]
    private = Heard("192.0.2.1", 161, "1.3.6.1.4.1.318.0.5", {TRAP_ADDRESS: "0.0.0.0"})
    assert senders.behind(private) == [1]


def test_a_crowd_behind_one_address_is_not_polled_as_a_whole():
    senders = Senders([Sender(n, "192.0.2.1", 1000 + n) for n in range(500)])
    assert len(senders.behind(heard())) == 16


def test_traps_of_one_kind_become_one_row_with_their_number_and_the_newest_contents():
    gathered = Gathered()
    for number in range(7):
        gathered.add(1, heard(text=str(number)))
    gathered.add(None, heard("192.0.2.9", oid="1.3.6.1.4.1.99999.0.1"))
    (device, news), (stranger, unknown) = gathered.take()
    assert (device, news.name, news.count, news.variables) == (1, "upsOnBattery", 7, {"text": "6"})
    assert (stranger, unknown.name, unknown.source) == (None, None, "192.0.2.9")
    assert gathered.take() == []


def test_what_a_hostile_sender_can_make_of_it_is_bounded():
    gathered = Gathered()
    for number in range(MOST_KINDS * 3):
        gathered.add(None, heard(oid=f"1.3.6.1.4.1.99999.0.{number}"))
    rows = gathered.take()
    assert len(rows) == MOST_KINDS + 1
    assert sum(news.count for _, news in rows) == MOST_KINDS * 3
    for number in range(MOST_SENDERS * 2):
        gathered.add(None, heard(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"))
    rows = gathered.take()
    assert len(rows) == MOST_SENDERS
    assert sum(news.count for _, news in rows) == MOST_SENDERS * 2
    assert [news.oid for _, news in rows].count(TOO_MANY) == 1


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        ("1.3.6.1.2.1.33.1.6.3.2", "status.on_battery"),
        ("1.3.6.1.2.1.33.1.6.3.16", "alarm.fan_fault"),
        ("1.3.6.1.2.1.33.1.6.3.99", None),
        ("on battery", None),
    ],
)
def test_the_alarm_that_a_trap_carries_is_known_by_its_object(value, flag):
    assert (
        alarm_named({"1.3.6.1.2.1.33.1.6.2.1.1.3": "3", "1.3.6.1.2.1.33.1.6.2.1.2.3": value})
        == flag
    )
