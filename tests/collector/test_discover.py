"""Searching loopback addresses, each with an agent of its own behind one port."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from collector.address import parse_address
from collector.discover import Kind, RangeInvalid, discover, hosts, networks
from collector.profile import profiles
from collector.raw import Typed
from device_sims.serve import serving as simulating
from rules.facts import Identity
from tests.collector import agent as agents
from tests.collector.agent import Agent, encoded
from tests.device_sims.sims import START, scenario

POINTS = {
    "battery_charge": 97.0,
    "ups_load": 40.0,
    "status_on_battery": False,
    "status_on_line": True,
    "battery_runtime": 1_200.0,
}
WHO = Identity("Maker", "Model 5", "SN-1", "1.0")
DESCRIPTION = "1.3.6.1.2.1.1.1.0"
OBJECT_ID = "1.3.6.1.2.1.1.2.0"


@dataclass
class Guarded(Agent):
    """Answers one community only, and `drops` so many requests before."""

    community: bytes = b"public"
    drops: int = 0

    def answer(self, datagram):
        if agents._parse(datagram)[1] != self.community:
            return []
        if self.drops:
            self.drops -= 1
            return []
        return super().answer(datagram)


def unit(**habits) -> Guarded:
    return Guarded(encoded(profiles()["rfc1628"], POINTS, WHO), **habits)


def searched(served, logins, *, network="127.0.77.0/27", **options):
    """Serve agents by the last part of their address, search, return what was found there."""

    async def main():
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            port = 0
            for last, one in served.items():
                transport, _ = await loop.create_datagram_endpoint(
                    lambda one=one: agents._Protocol(one), local_addr=(f"127.0.77.{last}", port)
                )
                stack.callback(transport.close)
                port = transport.get_extra_info("sockname")[1]
            wanted = [parse_address(login.replace("*", f"127.0.0.1:{port}")) for login in logins]
            found = await discover(networks([network]), wanted, rate=5_000, patience=0.3, **options)
            return {int(one.address.host.rpartition(".")[2]): one for one in found}

    return asyncio.run(main())


def test_what_answers_is_told_apart_by_what_it_is():
    printer = Agent(
        {DESCRIPTION: Typed("string", "A  printer\n"), OBJECT_ID: Typed("oid", "1.3.6.1.4.1.11.2")}
    )
    found = searched({3: unit(), 9: printer}, ["snmp://public@*"])
    assert sorted(found) == [3, 9]
    assert (found[3].kind, found[3].unit.profile) == (Kind.UPS, "rfc1628")
    assert found[3].unit.identity.model == "Model 5"
    assert found[3].unit.evidence
    assert (found[9].kind, found[9].unit, found[9].detail) == (Kind.OTHER, None, "A printer")


def test_each_unit_is_found_by_the_login_that_it_takes():
    found = searched(
        {1: unit(), 2: unit(community=b"secret"), 4: unit(community=b"unknown")},
        ["snmp://public@*", "snmp://secret@*", "snmp://third@*"],
    )
    assert {last: one.address.credentials.user for last, one in found.items()} == {
        1: "public",
        2: "secret",
    }


def test_an_agent_that_loses_a_question_is_found_by_the_repetition():
    assert list(searched({5: unit(drops=1)}, ["snmp://public@*"])) == [5]
    assert list(searched({5: unit(drops=1)}, ["snmp://public@*"], retries=0)) == []


def test_of_several_logins_the_safest_is_told_once():
    found = searched({5: unit()}, ["snmp+v1://public@*", "snmp://public@*"])
    assert [one.address.version for one in found.values()] == ["2c"]


def test_an_agent_that_answers_nonsense_is_told_as_no_unit():
    found = searched(
        {5: Agent({}, garbage=b"\x30\x03\x02\x01\x01"), 6: unit()}, ["snmp://public@*"]
    )
    assert found[6].kind is Kind.UPS
    assert 5 not in found or found[5].kind is Kind.OTHER


def test_version_3_and_modbus_units_are_found_and_a_refused_login_is_said():
    async def main():
        fleet_of = scenario("a rfc1628 snmpv3 rack-5k; b apc-modbus modbus tower-3k")
        async with simulating(fleet_of, start=START) as fleet:
            login = parse_address(fleet.unit("a").url)
            wrong = parse_address(fleet.unit("a").url.replace("simulator:", "stranger:"))
            bank = parse_address(fleet.unit("b").url)
            here = networks(["127.0.0.1"])
            return [
                await discover(here, [login], patience=1.5),
                await discover(here, [wrong], patience=1.5),
                await discover(here, [bank], patience=1.5),
            ]

    right, refused, modbus = asyncio.run(main())
    assert [(one.kind, one.unit.profile) for one in right] == [(Kind.UPS, "rfc1628")]
    assert [one.kind for one in refused] == [Kind.REFUSED]
    assert [(one.kind, one.unit.profile) for one in modbus] == [(Kind.UPS, "apc-modbus")]


def test_the_progress_counts_every_question_and_its_repetition():
    told = []
    searched(
        {5: unit()}, ["snmp://public@*"], progress=lambda p: told.append((p.asked, p.questions))
    )
    assert told[-1] == (30 + 29, 30 + 29)


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (["192.0.2.0/24"], 254),
        (["192.0.2.7"], 1),
        (["192.0.2.0/31"], 2),
        (["192.0.2.0/30", "192.0.2.0/29"], 6),
        (["192.0.2.129/25"], 126),
    ],
)
def test_every_host_of_a_network_is_asked_once(texts, count):
    listed = list(hosts(networks(texts)))
    assert len(listed) == len(set(listed)) == count


@pytest.mark.parametrize("text", ["10.0.0.0/8", "example.org", "192.0.2.0/33", "2001:db8::/64", ""])
def test_what_is_no_network_or_too_large_is_refused(text):
    with pytest.raises(RangeInvalid):
        networks([text])
