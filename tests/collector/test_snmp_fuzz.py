"""Malformed SNMP over real sockets: that poll fails or tells what is right, and the next works."""

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.address import Credentials, SnmpAddress
from collector.raw import CardMemory, Failure, Habits, RawReply, ReadFailed, Typed, Walk
from collector.readers import snmp, snmp_ber
from tests.collector.agent import Agent, serving

BASE = "1.3.6.1.4.1.99999.1"
OIDS = tuple(f"{BASE}.{n}.0" for n in range(1, 6))
COUNTER = f"{BASE}.99.0"
COLUMN = f"{BASE}.100.1.2"
REFS = (*OIDS, Walk(COLUMN, COUNTER))
OBJECTS = (
    {oid: Typed("integer", n) for n, oid in enumerate(OIDS)}
    | {COUNTER: Typed("gauge", 2)}
    | {f"{COLUMN}.{n}": Typed("oid", f"{BASE}.7.{n}") for n in (1, 2)}
)
MOST_REQUESTS = 400

NAMED = "300c06082b060102010105000500"


def message(bindings: str, *, version: str = "01", tag: str = "a2") -> bytes:
    """Return a message with these bindings, in hexadecimal like all of it."""
    pdu = f"02040000000102010002010030{len(bindings) // 2:02x}{bindings}"
    body = f"0201{version}04067075626c6963{tag}{len(pdu) // 2:02x}{pdu}"
    return bytes.fromhex(f"30{len(body) // 2:02x}{body}")


CORPUS = {
    "nothing": b"",
    "one byte": b"\x30",
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(300),
    "ones": b"\xff" * 300,
    "length beyond the datagram": bytes.fromhex("3082ffff020101"),
    "length of lengths cut off": bytes.fromhex("3088ff"),
    "boundless length": bytes.fromhex("30800201010000"),
    "nested sequences": b"\x30\x7e" * 40 + b"\x30\x00",
    "endless tag": b"\x30\x20\x1f" + b"\xff" * 29,
    "no community": bytes.fromhex("3003020101"),
    "version 9": message(NAMED, version="09"),
    "empty binding": message("3000"),
    "binding without a value": message("300706052b06010201"),
    "binding without a name": message("3003020105"),
    "a trap": message(NAMED, tag="a7"),
    "real number": message("300d06082b06010201010500090180"),
    "number of nine bytes": message("301506082b060102010105000209" + "01" * 9),
    "version 3 without security": bytes.fromhex("300e020103300902010002020fff040000"),
}


class Spoiled(Agent):
    """Answers properly, and then `spoil` makes something else of the answer."""

    def answer(self, datagram):
        return [one for proper in super().answer(datagram) for one in self.spoil(proper)]


def polled(spoil, *, version="2c", memory=None):
    """Poll a card that spoils its answers, then the same one when it is well again."""
    agent = Spoiled(OBJECTS)
    agent.spoil = spoil
    memory = CardMemory() if memory is None else memory

    async def once():
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port, version)
            try:
                first = await snmp.read(address, REFS, deadline=0.3, memory=memory, habits=Habits())
            except ReadFailed as failed:
                first = failed
            questions = len(agent.requests)
            agent.spoil = lambda proper: [proper]
            memory.absent.clear()
            again = await snmp.read(address, REFS, deadline=5.0, memory=memory)
            return first, questions, again

    first, questions, again = asyncio.run(once())
    assert questions <= MOST_REQUESTS
    assert again.values[OIDS[3]] == 3
    assert again.values[REFS[-1]] == (f"{BASE}.7.1", f"{BASE}.7.2")
    return first


@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize("datagram", CORPUS.values(), ids=CORPUS)
def test_what_is_no_answer_fails_that_poll_as_malformed(datagram, version, capfd):
    failed = polled(lambda _: [datagram], version=version)
    assert isinstance(failed, ReadFailed)
    assert failed.kind in (Failure.MALFORMED, Failure.TIMEOUT)
    assert "\n" not in failed.detail
    assert "panicked" not in capfd.readouterr().err


def mutated(data: bytes, changes) -> bytes:
    out = bytearray(data)
    for where, value, kind in changes:
        at = where % max(len(out), 1)
        if kind == "set" and out:
            out[at] = value
        elif kind == "drop":
            del out[at : at + value % 4]
        elif kind == "insert":
            out[at:at] = bytes([value])
        elif kind == "cut":
            del out[at:]
    return bytes(out)


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.one_of(st.integers(0, 255), st.sampled_from([0, 0x1F, 0x30, 0x7F, 0x80, 0x84, 0xFF])),
        st.sampled_from(["set", "set", "set", "drop", "insert", "cut"]),
    ),
    min_size=1,
    max_size=5,
)


def test_answers_spoiled_in_any_way_surprise_nobody_and_wake_no_panic(capfd):
    outcomes = []

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(CHANGES)
    def spoil(changes):
        outcomes.append(polled(lambda proper: [mutated(proper, changes)]))

    spoil()
    kinds = {one.kind for one in outcomes if isinstance(one, ReadFailed)}
    assert Failure.MALFORMED in kinds
    assert kinds <= {Failure.MALFORMED, Failure.TIMEOUT, Failure.AUTH}
    for one in outcomes:
        if isinstance(one, RawReply):
            assert set(one.values) <= set(REFS)
    assert "panicked" not in capfd.readouterr().err


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: b"\x30\x80" + tail))
)
def test_the_look_at_a_datagram_ends_in_a_refusal_or_an_answer(data):
    for look in (snmp_ber.check, snmp_ber.answer_of, snmp_ber.header_of):
        with contextlib.suppress(snmp_ber.BerInvalid):
            look(data)


class Circling(Agent):
    """A table whose rows come round again, or never in order."""

    def _rows(self, kind, oids, repetitions, *, v1):
        if kind == 0xA0:
            return super()._rows(kind, oids, repetitions, v1=v1)
        self.step += 1
        name = self.name(self.step)
        return 0, 0, [(name, Typed("oid", BASE))] * (repetitions if kind == 0xA5 else 1)


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        lambda step: f"{COLUMN}.1",
        lambda step: f"{COLUMN}.{step % 3 + 1}",
        lambda step: f"{COLUMN}.{10_000 - step}",
        lambda step: f"{COLUMN}.{step}",
    ],
    ids=["the same", "in a circle", "backwards", "for ever"],
)
def test_a_table_without_end_is_left_after_a_bounded_number_of_rows(name, bulk):
    agent = Circling(OBJECTS)
    agent.step, agent.name = 0, name

    async def run():
        async with serving(agent) as port:
            return await snmp.read(
                SnmpAddress("127.0.0.1", port),
                REFS,
                deadline=20.0,
                memory=CardMemory(),
                habits=Habits(bulk=bulk),
            )

    reply = asyncio.run(run())
    assert len(reply.values[REFS[-1]]) <= 64
    assert len(agent.requests) < 200
    assert reply.values[OIDS[3]] == 3


def test_rows_that_are_null_are_passed_and_the_others_read():
    rows = {f"{COLUMN}.{n}": Typed("integer", n) for n in (1, 4, 6)}
    rows |= {f"{COLUMN}.{n}": Typed("null", 0) for n in (2, 3, 5, 7)}
    agent = Agent({oid: OBJECTS[oid] for oid in OIDS} | rows | {COUNTER: Typed("gauge", 7)})

    async def run(version):
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port, version)
            return await snmp.read(
                address, REFS, deadline=5.0, memory=CardMemory(), habits=Habits(bulk=False)
            )

    for version in ("1", "2c"):
        assert asyncio.run(run(version)).values[REFS[-1]] == (1, 4, 6)


class Flooding(Agent):
    """Answers each question with a storm of answers to other ones."""

    def answer(self, datagram):
        other = Agent(OBJECTS).answer(datagram.replace(b"\x02\x04", b"\x02\x04", 1))
        at = other[0].index(b"\xa2") + 2
        if other[0][at - 1] & 0x80:
            at += other[0][at - 1] & 0x7F
        wrong = bytearray(other[0])
        wrong[at + 2] ^= 0x55
        self.requests.append((0, []))
        return [bytes(wrong)] * 300


def test_a_storm_of_answers_to_other_questions_ends_with_the_deadline():
    agent = Flooding(OBJECTS)

    async def run():
        async with serving(agent) as port:
            async with asyncio.timeout(20):
                with pytest.raises(ReadFailed) as failed:
                    await snmp.read(
                        SnmpAddress("127.0.0.1", port), REFS, deadline=0.5, memory=CardMemory()
                    )
            return failed.value.kind

    assert asyncio.run(run()) in (Failure.TIMEOUT, Failure.MALFORMED)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=0, max_size=120))
def test_noise_instead_of_version_3_fails_that_poll(noise):
    async def run():
        loop = asyncio.get_running_loop()

        class Noise(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, _, address):
                self.transport.sendto(noise, address)

        transport, _ = await loop.create_datagram_endpoint(Noise, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        secrets = Credentials("user", "authentication", "privacy-phrase")
        address = SnmpAddress("127.0.0.1", port, "3", "sha256", "aes128", secrets)
        try:
            with pytest.raises(ReadFailed) as failed:
                await snmp.read(address, OIDS, deadline=0.3, memory=CardMemory())
        finally:
            transport.close()
        return failed.value.kind

    assert asyncio.run(run()) in (Failure.MALFORMED, Failure.TIMEOUT, Failure.AUTH)


def test_an_answer_about_another_object_is_not_asked_for_until_the_deadline():
    polled(lambda proper: [mutated(proper, [(130, 0, "set")])])
