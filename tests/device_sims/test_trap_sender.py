"""Simulated cards that speak unasked, heard by the real receiver."""

import asyncio

import pytest

from collector.address import parse_address
from collector.profile import profiles
from collector.readers.traps import TrapReceiver
from device_sims.serve import serving
from device_sims.trap_sender import notifications
from tests.device_sims.sims import START, scenario

OUTAGE = "  - {at: 10, do: mains_fail, site: s, lasting: 20}\n"
ALARM_ADDED, ALARM_REMOVED = "1.3.6.1.2.1.33.2.3", "1.3.6.1.2.1.33.2.4"


def heard_of(units, timeline, seconds, *, every=5):
    """Return what a fleet's cards send while so many seconds pass."""

    async def main():
        heard = []
        receiver = TrapReceiver(heard.append, started_at=START)
        receiver.know([parse_address("snmp://public@127.0.0.1")])
        port = await receiver.open("127.0.0.1", 0)
        target = ("127.0.0.1", port)
        async with serving(scenario(units, timeline), start=START, traps_to=target) as fleet:
            ports = {member.port: member.key for member in fleet.units}
            for _ in range(0, seconds, every):
                await fleet.advance(every)
                await asyncio.sleep(0.02)
        await receiver.close()
        return [(ports[one.port], one.oid, one.variables) for one in heard]

    return asyncio.run(main())


def test_an_outage_is_told_by_each_maker_in_its_own_words():
    units = (
        "apc apc-powernet snmp tower-3k; eaton eaton-xups snmp rack-5k; old rfc1628 snmp+v1 rack-5k"
    )
    told = heard_of(units, OUTAGE, 40)
    words = {key: [oid for k, oid, _ in told if k == key] for key in ("apc", "eaton", "old")}
    assert {"1.3.6.1.4.1.318.0.5", "1.3.6.1.4.1.318.0.9"} <= set(words["apc"])
    eaton = "1.3.6.1.4.1.534.1.11.4.1.0"
    assert {f"{eaton}.3", f"{eaton}.5"} <= set(words["eaton"])
    assert {"1.3.6.1.2.1.33.2.0.1", "1.3.6.1.2.1.33.2.0.4"} <= set(words["old"])


def test_a_card_that_doubles_its_datagrams_doubles_its_traps():
    told = heard_of(
        "apc apc-powernet snmp tower-3k",
        "  - {at: 1, do: duplicate, unit: apc}\n" + OUTAGE,
        15,
    )
    assert [oid for _, oid, _ in told].count("1.3.6.1.4.1.318.0.5") == 2


def test_a_silent_card_sends_nothing():
    silent = "  - {at: 1, do: silent, unit: apc}\n"
    assert heard_of("apc apc-powernet snmp tower-3k", silent + OUTAGE, 40) == []


@pytest.mark.parametrize(
    ("flag", "is_up", "oid", "alarm"),
    [
        ("alarm_fan_fault", True, ALARM_ADDED, "1.3.6.1.2.1.33.1.6.3.16"),
        ("alarm_fan_fault", False, ALARM_REMOVED, "1.3.6.1.2.1.33.1.6.3.16"),
    ],
)
def test_an_alarm_without_a_trap_of_its_own_is_named_inside_the_entry_added(
    flag, is_up, oid, alarm
):
    ((told, variables),) = notifications(profiles()["rfc1628"], flag, is_up=is_up)
    assert told == oid
    assert list(variables.values()) == [alarm]
