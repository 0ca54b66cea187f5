"""TLS with client certificates: against a real broker that asks for them."""

import asyncio
import json

import pytest

from collector.address import parse_address
from collector.ear import DeviceEar
from collector.listen import Listener
from collector.overhear import overhear
from collector.raw import ReadFailed
from collector.tls import TlsInvalid, client_tls
from service_api.broker_tls import broker_tls
from service_api.settings import Settings
from tests.cast import START
from tests.collector.brokers import Mosquitto, Publisher, until
from tests.collector.certificates import Authority
from tests.collector.test_listener import Ingest, known

pytestmark = [
    pytest.mark.mosquitto,
    # paho leaves a socket whose handshake failed to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def broker(tmp_path, authority):
    cert, key = authority.issue("broker")
    settings = f"cafile {authority.file}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true"
    with Mosquitto(tmp_path, settings=settings, tls=True) as running:
        yield running


def ours(authority, name="hub"):
    cert, key = authority.issue(name)
    return client_tls(ca_file=authority.file, cert_file=cert, key_file=key)


class Unit(Publisher):
    """A unit that proves who it is."""

    def __init__(self, url, tls):
        super().__init__(url)
        self._client.tls_set_context(tls)


@pytest.mark.parametrize("version", [3, 5])
def test_the_listener_proves_who_it_is_and_hears_what_is_said(broker, authority, version):
    ingest = Ingest(at_once=True)
    listener = Listener(
        broker.url,
        ear=DeviceEar(load=lambda: [known()]),
        offer=ingest.offer,
        now=lambda: START,
        client_id="hub",
        version=version,
        tls=ours(authority),
    )
    listener.start()
    try:
        until(lambda: listener.is_connected)
        with Unit(broker.url, ours(authority, "unit")) as unit:
            unit.say("u1/reading", json.dumps({"at": START.isoformat(), "points": {"ups.load": 5}}))
        until(lambda: ingest.taken)
        assert ingest.taken[0].reading.points == {"ups_load": 5.0}
    finally:
        listener.stop()


def test_a_probe_proves_who_it_is(broker, authority):
    with Unit(broker.url, ours(authority, "unit")) as unit:
        unit.publish("home/rack/battery/charge", "81", retain=True)
    address = parse_address(f"{broker.url}/home/rack/%23")
    found = asyncio.run(overhear(address, now=lambda: START, tls=ours(authority)))
    assert found.points == {"battery.charge": 81.0}


def test_who_proves_nothing_or_by_another_authority_is_not_heard(broker, authority, tmp_path):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    cert, key = other.issue("hub")
    address = parse_address(f"{broker.url}/%23")
    for tls in (
        client_tls(ca_file=authority.file),
        client_tls(ca_file=authority.file, cert_file=cert, key_file=key),
        client_tls(ca_file=other.file),
    ):
        with pytest.raises(ReadFailed):
            asyncio.run(overhear(address, now=lambda: START, deadline=1.0, tls=tls))


def test_the_settings_name_the_files(authority):
    cert, key = authority.issue("hub")
    files = {"mqtt_ca_file": authority.file, "mqtt_cert_file": cert, "mqtt_key_file": key}
    assert broker_tls(Settings()) is None
    tls = broker_tls(Settings(**files))
    assert tls is not None
    assert [one["issuer"][0][0][1] for one in tls.get_ca_certs()] == ["authority"]


def test_what_cannot_be_used_is_told_with_its_file_and_cure(authority, tmp_path):
    cert, key = authority.issue("hub")
    other_cert, _ = authority.issue("other")
    _, locked = authority.issue("locked", passphrase=b"secret")
    (tmp_path / "empty.pem").write_text("")
    cases = [
        ({"ca_file": tmp_path / "none.pem"}, "none.pem holds no certificate"),
        ({"ca_file": tmp_path / "empty.pem"}, "empty.pem holds no certificate"),
        ({"cert_file": tmp_path / "none.pem"}, "none.pem is no certificate with its key"),
        ({"cert_file": other_cert, "key_file": key}, "is no certificate with its key"),
        ({"cert_file": cert, "key_file": locked}, "locked by a passphrase: give a key without"),
        ({"key_file": key}, "a key without its certificate"),
    ]
    for files, told in cases:
        with pytest.raises(TlsInvalid, match=told):
            client_tls(**files)
