"""Real notifications over a real socket, sent by pysnmp's own originator and by hand."""

import asyncio
import socket
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder
from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    NotificationType,
    ObjectIdentity,
    OctetString,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    send_notification,
    usmAesCfb128Protocol,
    usmAesCfb256Protocol,
    usmHMAC192SHA256AuthProtocol,
    usmHMAC384SHA512AuthProtocol,
    usmHMACSHAAuthProtocol,
)
from pysnmp.proto.api import v1 as snmp_v1

from collector.address import parse_address
from collector.readers.traps import HEARD_AT_ONCE, TrapReceiver
from collector.traps import TOO_MANY

ON_BATTERY = "1.3.6.1.4.1.318.0.5"
ARGS = "1.3.6.1.4.1.318.2.3.3.0"
STARTED_AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
V3 = "snmpv3://watch:authentic-pass:private-pass@127.0.0.1?auth=sha256&priv=aes128"


def hearing(work, *logins):
    """Run `work(port, heard)` beside a receiver that knows these logins."""

    async def main():
        heard = []
        receiver = TrapReceiver(heard.append, started_at=STARTED_AT)
        receiver.know([parse_address(login) for login in logins])
        port = await receiver.open("127.0.0.1", 0)
        try:
            await work(port, heard)
        finally:
            await receiver.close()
        return receiver

    return asyncio.run(main())


async def until(heard, count):
    async with asyncio.timeout(10):
        while len(heard) < count:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.01)


async def send(port, login, kind="trap", *, oid=ON_BATTERY, text="UPS: On battery power."):
    engine = SnmpEngine()
    target = await UdpTransportTarget.create(("127.0.0.1", port), timeout=3, retries=0)
    notification = NotificationType(ObjectIdentity(oid)).add_varbinds((ARGS, OctetString(text)))
    try:
        error, status, *_ = await send_notification(
            engine, login, target, ContextData(), kind, notification
        )
    finally:
        engine.close_dispatcher()
    return error or status


@pytest.mark.parametrize("version", [0, 1])
def test_a_trap_of_version_1_or_2c_is_heard_with_its_text(version):
    async def work(port, heard):
        assert not await send(port, CommunityData("secret", mpModel=version))
        await until(heard, 1)
        assert heard[0].oid == ON_BATTERY
        assert heard[0].host == "127.0.0.1"
        assert heard[0].variables[ARGS] == "UPS: On battery power."

    assert hearing(work, "snmp://secret@127.0.0.1").counters.heard == 1


def test_what_is_not_ascii_keeps_its_meaning():
    async def work(port, heard):
        await send(port, CommunityData("public"), text="电池供电".encode())
        await send(port, CommunityData("public"), text=bytes.fromhex("ff00fe"))
        await until(heard, 2)
        assert [one.variables[ARGS] for one in heard] == ["电池供电", "ff00fe"]

    hearing(work, "snmp://public@127.0.0.1")


@pytest.mark.parametrize(
    ("url", "auth", "priv"),
    [
        (V3, usmHMAC192SHA256AuthProtocol, usmAesCfb128Protocol),
        (V3.replace("sha256", "sha1"), usmHMACSHAAuthProtocol, usmAesCfb128Protocol),
        (
            V3.replace("sha256", "sha512").replace("aes128", "aes256"),
            usmHMAC384SHA512AuthProtocol,
            usmAesCfb256Protocol,
        ),
    ],
)
def test_a_version_3_trap_of_an_engine_never_heard_before_is_heard(url, auth, priv):
    login = UsmUserData("watch", "authentic-pass", "private-pass", auth, priv)

    async def work(port, heard):
        for count in (1, 2, 3):  # each time another engine
            assert not await send(port, login)
            await until(heard, count)

    hearing(work, url)


def test_an_inform_is_confirmed_in_version_2c_and_after_discovery_in_3():
    login = UsmUserData(
        "watch",
        "authentic-pass",
        "private-pass",
        usmHMAC192SHA256AuthProtocol,
        usmAesCfb128Protocol,
    )

    async def work(port, heard):
        assert not await send(port, CommunityData("public"), "inform")
        assert not await send(port, login, "inform")
        await until(heard, 2)

    hearing(work, V3, "snmp://public@127.0.0.1")


def test_a_wrong_community_or_passphrase_is_not_heard():
    wrong = UsmUserData(
        "watch", "another-pass!", "private-pass", usmHMAC192SHA256AuthProtocol, usmAesCfb128Protocol
    )

    async def work(port, heard):
        await send(port, CommunityData("guess"))
        await send(port, wrong)
        await send(port, CommunityData("public"))
        await until(heard, 1)
        assert len(heard) == 1

    receiver = hearing(work, V3, "snmp://public@127.0.0.1")
    assert receiver.counters.datagrams == 3
    assert receiver.counters.heard == 1


def test_logins_may_change_while_it_listens():
    async def main():
        heard = []
        receiver = TrapReceiver(heard.append, started_at=STARTED_AT)
        receiver.know([parse_address("snmp://old@127.0.0.1")])
        port = await receiver.open("127.0.0.1", 0)
        receiver.know([parse_address("snmp://new@127.0.0.1")])
        await send(port, CommunityData("old"))
        await send(port, CommunityData("new"))
        await until(heard, 1)
        await receiver.close()
        return receiver.counters

    counters = asyncio.run(main())
    assert (counters.datagrams, counters.heard) == (2, 1)


def trap_bytes(oid=ON_BATTERY):
    """Return a version 1 trap as cards send it: enterprise 318, specific 5, agent 192.0.2.9."""
    pdu = snmp_v1.TrapPDU()
    snmp_v1.apiTrapPDU.set_defaults(pdu)
    snmp_v1.apiTrapPDU.set_enterprise(pdu, tuple(map(int, oid.split(".")))[:-2])
    snmp_v1.apiTrapPDU.set_generic_trap(pdu, "enterpriseSpecific")
    snmp_v1.apiTrapPDU.set_specific_trap(pdu, int(oid.rpartition(".")[2]))
    snmp_v1.apiTrapPDU.set_agent_address(pdu, "192.0.2.9")
    message = snmp_v1.Message()
    snmp_v1.apiMessage.set_defaults(message)
    snmp_v1.apiMessage.set_community(message, "public")
    snmp_v1.apiMessage.set_pdu(message, pdu)
    return encoder.encode(message)


def test_the_agent_address_of_version_1_is_told():
    async def work(port, heard):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(trap_bytes(), ("127.0.0.1", port))
        await until(heard, 1)
        assert heard[0].variables["1.3.6.1.6.3.18.1.3.0"] == "192.0.2.9"

    hearing(work, "snmp://public@127.0.0.1")


def test_a_storm_is_counted_but_not_decoded_one_by_one():
    storm = 500

    async def work(port, heard):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(storm):
                sender.sendto(trap_bytes(), ("127.0.0.1", port))
                if number % 20 == 0:
                    await asyncio.sleep(0)
        await until(heard, storm)
        assert {one.oid for one in heard} == {ON_BATTERY, TOO_MANY}

    counters = hearing(work, "snmp://public@127.0.0.1").counters
    assert counters.datagrams == storm == counters.heard + counters.shed
    assert HEARD_AT_ONCE <= counters.heard < storm / 2


@st.composite
def spoiled(draw):
    """A trap with bytes changed, cut off at any place, or noise."""
    whole = bytearray(trap_bytes())
    for _ in range(draw(st.integers(1, 6))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return draw(st.sampled_from([bytes(whole[: draw(st.integers(0, len(whole)))]), bytes(whole)]))


NOISE = st.one_of(spoiled(), st.binary(max_size=200), st.just(b"\x30\x84\xff\xff\xff\xff"))


@settings(max_examples=20, deadline=None)
@given(datagrams=st.lists(NOISE, min_size=10, max_size=50))
def test_malformed_datagrams_change_nothing(datagrams):
    async def work(port, heard):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in (*datagrams, trap_bytes("1.3.6.1.4.1.318.0.9")):
                sender.sendto(datagram, ("127.0.0.1", port))
        async with asyncio.timeout(10):
            while not any(one.oid == "1.3.6.1.4.1.318.0.9" for one in heard):  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.001)

    counters = hearing(work, V3, "snmp://public@127.0.0.1").counters
    assert counters.datagrams == len(datagrams) + 1


def test_a_taken_port_is_said_in_an_error():
    async def work(port, heard):
        second = TrapReceiver(heard.append, started_at=STARTED_AT)
        with pytest.raises(OSError, match="in use"):
            await second.open("127.0.0.1", port)
        await second.close()

    hearing(work)
