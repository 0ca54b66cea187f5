"""What the tests of the simulators' servers share: small scenarios and real clients."""

import asyncio
import socket
from datetime import UTC, datetime

from gufo.snmp import Aes128Key, Sha256Key, SnmpVersion, User
from gufo.snmp.aio import SnmpSession

from device_sims.fleet import V3_AUTH_PASSPHRASE, V3_PRIV_PASSPHRASE, V3_USER
from device_sims.scenario import parse_scenario

START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)

HEAD = """
name: small
title: {en: Small, zh: 小}
customers: [{key: c, name: {en: C, zh: 客}}]
sites: [{key: s, customer: c, name: {en: S, zh: 站}, latitude: 31.2, longitude: 121.5}]
"""


def scenario(units, timeline=""):
    """Return a scenario of units given as 'key profile access model' lines."""
    text = HEAD + "units:\n"
    for line in units.split(";"):
        key, profile, access, model = line.split()
        text += (
            f"  - {{key: {key}, site: s, name: {{en: {key}, zh: {key}}}, model: {model}, "
            f"profile: {profile}, access: {access}, installed_days_ago: 300, "
            f"load: {{base: 0.5, working_hump: 0.0}}, called: Smart-UPS 3000}}\n"
        )
    if timeline:
        text += f"timeline:\n{timeline}"
    return parse_scenario(text)


def session(port, version="2c", community="public", *, timeout=2.0):
    """Return an SNMP client for one of the simulated agents."""
    if version == "3":
        return SnmpSession(
            "127.0.0.1",
            port=port,
            version=SnmpVersion.v3,
            user=User(
                V3_USER,
                auth_key=Sha256Key(V3_AUTH_PASSPHRASE.encode()),
                priv_key=Aes128Key(V3_PRIV_PASSPHRASE.encode()),
            ),
            timeout=timeout,
        )
    wanted = {"1": SnmpVersion.v1, "2c": SnmpVersion.v2c}[version]
    return SnmpSession("127.0.0.1", port=port, version=wanted, community=community, timeout=timeout)


def get_request(*oids):
    """Return a version 1 GetRequest with request id 7, short enough for one-byte lengths."""

    def item(tag, content):
        return bytes([tag, len(content)]) + content

    def name(oid):
        first, second, *rest = map(int, oid.split("."))
        content = bytes([40 * first + second])
        for arc in rest:
            groups = [arc & 0x7F]
            while arc := arc >> 7:
                groups.insert(0, arc & 0x7F | 0x80)
            content += bytes(groups)
        return item(0x06, content)

    binds = b"".join(item(0x30, name(oid) + b"\x05\x00") for oid in oids)
    pdu = item(0xA0, bytes.fromhex("020107020100020100") + item(0x30, binds))
    return item(0x30, b"\x02\x01\x00" + item(0x04, b"public") + pdu)


async def answers(port, *requests, count, seconds=5.0):
    """Send datagrams to a port; return what comes back, at most `count` of them."""
    loop = asyncio.get_running_loop()
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        for request in requests:
            await loop.sock_sendall(client, request)
        try:
            async with asyncio.timeout(seconds):
                while len(found) < count:
                    found.append(await loop.sock_recv(client, 4_000))
        except TimeoutError:
            pass
    return found
