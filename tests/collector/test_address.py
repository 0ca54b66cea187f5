from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.address import (
    AddressInvalid,
    Credentials,
    Framing,
    ModbusAddress,
    MqttAddress,
    SerialLine,
    SnmpAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("snmp://198.51.100.7", SnmpAddress("198.51.100.7")),
        ("snmp://public@host:1161", SnmpAddress("host", 1161)),
        ("SNMP://public@Host", SnmpAddress("host")),
        ("snmp://a%40b%2Fc@h", SnmpAddress("h", credentials=Credentials("a@b/c"))),
        ("snmp+v1://private@h", SnmpAddress("h", version="1", credentials=Credentials("private"))),
        ("snmp://c@[2001:db8::7]:99", SnmpAddress("2001:db8::7", 99, credentials=Credentials("c"))),
        ("snmpv3://ops@h", SnmpAddress("h", version="3", credentials=Credentials("ops"))),
        (
            "snmpv3://ops:authpass1@h",
            SnmpAddress("h", 161, "3", "sha256", None, Credentials("ops", "authpass1")),
        ),
        (
            "snmpv3://ops:auth%3Apass:privpass1@h?auth=SHA-512&priv=AES",
            SnmpAddress(
                "h", 161, "3", "sha512", "aes128", Credentials("ops", "auth:pass", "privpass1")
            ),
        ),
        ("modbus://h", ModbusAddress("h")),
        ("modbus://h:1502/17", ModbusAddress("h", 1502, 17)),
        ("modbus+tcp://h/0", ModbusAddress("h", 502, 0)),
        ("modbus+rtu://h:4001/9", ModbusAddress("h", 4001, 9, Framing.RTU_OVER_TCP)),
        (
            "modbus+serial:///dev/ttyUSB0?baud=19200&parity=e&stop=2&unit=192",
            ModbusAddress(
                "/dev/ttyUSB0", 0, 192, Framing.SERIAL, SerialLine(19_200, "E", stop_bits=2)
            ),
        ),
        (
            "modbus+serial:///dev/serial/by-id/usb-0:1.2-port0",
            ModbusAddress("/dev/serial/by-id/usb-0:1.2-port0", 0, 1, Framing.SERIAL, SerialLine()),
        ),
        ("mqtt://h/a/+/b/#", MqttAddress("h", "a/+/b/#")),
        (
            "mqtts://u:p%23@h:99/ridethrough/v1/x",
            MqttAddress("h", "ridethrough/v1/x", 99, True, Credentials("u", "p#")),
        ),
    ],
)
def test_an_address_is_parsed(url, address):
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("198.51.100.7", "begin it with snmp://"),
        ("http://h", "use snmp://"),
        ("snmp://", "names no host"),
        ("snmp://a:b@h", "snmpv3://USER:AUTHPASS:PRIVPASS@HOST"),
        ("snmp://@h", "community is empty"),
        ("snmp://h/1", "no path"),
        ("snmp://h:0", "1 to 65535"),
        ("snmp://h:70000", "1 to 65535"),
        ("snmp://2001:db8::7", "needs brackets"),
        ("snmp://[2001:db8", "IPv6 in brackets"),
        ("snmp://h?auth=md5", "unknown option 'auth'"),
        ("snmpv3://h", "needs a user"),
        ("snmpv3://u:authpass1:privpass1@h?priv=rot13", "des, aes128"),
        ("snmpv3://u:authpass1@h?priv=aes256", "privacy passphrase"),
        ("snmpv3://u@h?auth=sha1", "authentication passphrase"),
        ("snmpv3://u:short@h", "at least 8 characters"),
        ("snmpv3://u::privpass1@h", "no privacy without authentication"),
        ("modbus://h/256", "0 to 255"),
        ("modbus://h/one", "0 to 255"),
        ("modbus://u:p@h", "no users"),
        ("modbus+rtu://h:4001/0", "1 to 247"),
        ("modbus+rtu://h/248", "1 to 247"),
        ("modbus+udp://h/1", "unknown scheme"),
        ("modbus+serial://host/dev/ttyUSB0", "three slashes"),
        ("modbus+serial:///etc/passwd", "under /dev"),
        ("modbus+serial:///dev/../etc/passwd", "under /dev"),
        ("modbus+serial:///dev/ttyS0?baud=1234", "9600"),
        ("modbus+serial:///dev/ttyS0?parity=X", "N, E, O"),
        ("modbus+serial:///dev/ttyS0?stop=3", "1 or 2"),
        ("modbus+serial:///dev/ttyS0?unit=0", "1 to 247"),
        ("modbus+serial:///dev/ttyS0?unit=1&unit=2", "twice"),
        ("modbus+serial:///dev/ttyS0?bits=7", "unknown option 'bits'"),
        ("modbus+serial:///dev/ttyS0#2", "%23"),
        ("mqtt://h", "names no topic"),
        ("mqtt://h/a/#/b", "last level"),
        ("mqtt://h/a+/b", "whole level"),
    ],
)
def test_a_wrong_address_is_refused_with_one_line_that_names_the_cure(url, cure):
    with pytest.raises(AddressInvalid) as refused:
        parse_address(url)
    assert cure in str(refused.value)
    assert "\n" not in str(refused.value)


_SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=8)


def shown_with(password, private):
    url = f"snmpv3://user:{quote(password)}:{quote(private)}@192.0.2.9?auth=sha1&priv=aes256"
    address, secrets = parse_address(url), Credentials("user", password, private)
    return f"{address!r} {address} {address.public} {secrets!r} {secrets}"


@given(user=_SECRET, password=_SECRET, private=_SECRET)
def test_secrets_survive_the_url_and_show_nowhere(user, password, private):
    secrets = Credentials(user, password, private)
    userinfo = ":".join(quote(text, safe="") for text in (user, password, private))
    address = parse_address(f"snmpv3://{userinfo}@192.0.2.9?auth=sha1&priv=aes256")
    assert address.credentials == secrets
    shown = f"{address!r} {address} {address.public} {secrets!r} {secrets}"
    harmless = shown_with("other pass", "third pass")
    for secret in (password, private):
        assert secret in harmless or secret not in shown
    assert parse_address(address.public, secrets) == address


@pytest.mark.parametrize(
    "url",
    [
        "snmp://h:161",
        "snmp+v1://h:161",
        "modbus://h:502/3",
        "modbus+rtu://[::1]:4001/3",
        "modbus+serial:///dev/ttyS0?baud=9600&parity=N&stop=1&unit=7",
        "mqtts://h:8883/a/%23",
        "snmp://[::1]:5",
    ],
)
def test_the_public_form_is_a_url_again(url):
    assert parse_address(url).public == url


def test_units_behind_one_gateway_share_their_endpoint():
    urls = ("modbus+rtu://h:4001/1", "modbus+rtu://h:4001/2", "modbus+rtu://h:4002/1")
    first, second, other = (parse_address(url).endpoint for url in urls)
    assert first == second != other


def test_credentials_are_put_back_onto_a_stored_endpoint():
    stored = parse_address("snmp://secret@h").public
    assert "secret" not in stored
    assert parse_address(stored, Credentials("secret")).credentials.user == "secret"


@pytest.mark.parametrize(
    "url",
    [
        "snmp://tulip:x@h",
        "snmpv3://u:pa/ss:tulip@h",
        "snmp://p@ss:tulip@[h",
        "snmpv3://u:ab?tulip@h",
    ],
)
def test_a_refusal_does_not_repeat_a_passphrase(url):
    with pytest.raises(AddressInvalid) as refused:
        parse_address(url)
    assert "tulip" not in str(refused.value)
