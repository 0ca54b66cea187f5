import asyncio
import os
from pathlib import Path

import pytest
from gufo.snmp import NoSuchInstance
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pysnmp.proto import rfc1902

from collector.raw import Registers
from device_sims.message_log import Message, read_messages, write_messages
from device_sims.mqtt_publisher import LinkLost
from device_sims.recordings import RecordingInvalid, read_snmp
from device_sims.registers import read_registers, write_registers
from device_sims.replay import serve_recording, serving_recording
from service_api.embedded_broker import EmbeddedBroker
from tests.device_sims.sims import answers, get_request, session

SMALL = """\
# a card that was recorded
1.3.6.1.2.1.1.1.0|4|UPS card | with a bar
1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.318.1.3.27
.1.3.6.1.2.1.1.3.0|67|456000
1.3.6.1.2.1.4.20.1.1|64|10.0.0.7
1.3.6.1.2.1.33.1.2.4.0|2|-97

1.3.6.1.2.1.33.1.10.0|65|4294967295
1.3.6.1.2.1.33.1.2.10.0|66|1000
1.3.6.1.2.1.33.1.11.0|70|18446744073709551615
1.3.6.1.2.1.33.1.12.0|4x|00ff41
1.3.6.1.2.1.33.1.13.0|4|电池
"""

EXPECTED = {
    "1.3.6.1.2.1.1.1.0": b"UPS card | with a bar",
    "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.318.1.3.27",
    "1.3.6.1.2.1.1.3.0": 456_000,
    "1.3.6.1.2.1.4.20.1.1": "10.0.0.7",
    "1.3.6.1.2.1.33.1.2.4.0": -97,
    "1.3.6.1.2.1.33.1.2.10.0": 1_000,
    "1.3.6.1.2.1.33.1.10.0": 4_294_967_295,
    "1.3.6.1.2.1.33.1.11.0": 18_446_744_073_709_551_615,
    "1.3.6.1.2.1.33.1.12.0": b"\x00\xff\x41",
    "1.3.6.1.2.1.33.1.13.0": "电池".encode(),
}


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "card.snmprec"
    path.write_text(SMALL, encoding="utf-8")
    return path


async def walked(port, version, *, bulk=False, root="1.3.6.1"):
    async with session(port, version) as client:
        rows = client.getbulk(root, max_repetitions=7) if bulk else client.getnext(root)
        return [(oid, value) async for oid, value in rows]


@pytest.mark.parametrize(("version", "bulk"), [("1", False), ("2c", False), ("2c", True)])
def test_a_replayed_card_tells_its_values_in_the_order_of_their_numbers(recording, version, bulk):
    async def run():
        async with serving_recording(recording) as port:
            return await walked(port, version, bulk=bulk)

    expected = dict(EXPECTED)
    if version == "1":
        # Version 1 has no 64-bit counters.
        del expected["1.3.6.1.2.1.33.1.11.0"]
    assert asyncio.run(run()) == list(expected.items())


async def is_null(port, oid):
    """Return whether a GET of an object is answered without error and with NULL.

    Walks of the client library pass NULL over, so the answer is looked at byte by byte.
    """
    (answer,) = await answers(port, get_request(oid), count=1)
    return bytes.fromhex("020107020100020100") in answer and answer.endswith(b"\x05\x00")


def test_null_is_replayed_as_null_and_not_left_out(tmp_path):
    path = tmp_path / "card.snmprec"
    path.write_text("1.3.6.1.2.1.33.1.2.9.0|5|\n1.3.6.1.2.1.33.1.2.10.0|2|1\n")

    async def run():
        async with serving_recording(path) as port:
            return [await is_null(port, f"1.3.6.1.2.1.33.1.2.{row}.0") for row in (9, 10, 11)]

    assert asyncio.run(run()) == [True, False, False]


def test_a_replayed_card_says_what_it_does_not_have(recording):
    async def run():
        async with serving_recording(recording) as port:
            async with session(port) as client:
                with pytest.raises(NoSuchInstance):
                    await client.get("1.3.6.1.2.1.33.1.2.5.0")
            async with session(port, "1") as client:
                return await client.get("1.3.6.1.2.1.33.1.2.5.0")

    assert asyncio.run(run()) is None


def test_a_recording_is_served_until_it_is_cancelled(recording):
    async def run():
        serving = asyncio.create_task(serve_recording(recording, port=0))
        await asyncio.sleep(0)
        assert not serving.done()
        serving.cancel()
        (result,) = await asyncio.gather(serving, return_exceptions=True)
        return result

    assert isinstance(asyncio.run(run()), asyncio.CancelledError)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.3.6.1", "a line is OID|tag|value"),
        ("1.3.6.x|2|1", "no object identifier"),
        ("1.3.6.4294967296|2|1", "an arc is too large"),
        ("3.3.6.1|2|1", "no object identifier"),
        ("1.3.6.1.9|2|twelve", "no whole number from"),
        ("1.3.6.1.9|2|2147483648", "no whole number from"),
        ("1.3.6.1.9|66|-1", "no whole number from"),
        ("1.3.6.1.9|66x|ff", "tag 66 cannot be hexadecimal"),
        ("1.3.6.1.9|2e|1", "tag 2 cannot be hexadecimal or escaped"),
        ("1.3.6.1.9|4xx|00", "unknown tag '4xx'"),
        ("1.3.6.1.9|4x|f", "not hexadecimal"),
        ("1.3.6.1.9|64|10.0.0", "no IPv4 address"),
        ("1.3.6.1.9|64x|0a00", "an address has four bytes"),
        ("1.3.6.1.9|6|one", "no object identifier"),
        ("1.3.6.1.9|5|x", "a NULL has no value"),
        ("1.3.6.1.9|99|1", "unknown tag '99'"),
        (r"1.3.6.1.2.1.1.1.1|4e|cut \x", "ends in the middle of an escape"),
    ],
)
def test_a_fault_in_a_recording_is_named_by_its_line(tmp_path, line, message):
    path = tmp_path / "bad.snmprec"
    path.write_text("# head\n1.3.6.1.2.1.1.1.0|4|x\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(RecordingInvalid) as caught:
        read_snmp(path)
    assert caught.value.line == 4
    assert message.replace("|", "") in str(caught.value).replace("|", "")


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "bad.snmprec"
    path.write_bytes(b"1.3.6.1.2.1.1.1.0|4|x\n1.3.6.1.2.1.1.2.0|4|\xff\n")
    with pytest.raises(RecordingInvalid, match="line 2: the line is not UTF-8"):
        read_snmp(path)


def test_an_empty_recording_is_refused(tmp_path):
    path = tmp_path / "empty.snmprec"
    path.write_text("# nothing\n")
    with pytest.raises(RecordingInvalid, match="holds no object"):
        read_snmp(path)


def test_another_kind_of_file_is_refused(tmp_path):
    async def run():
        async with serving_recording(tmp_path / "card.pcap"):
            pass

    with pytest.raises(RecordingInvalid, match=r"\.snmprec, \.yaml or \.jsonl"):
        asyncio.run(run())


def test_registers_are_replayed_to_both_read_functions(tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text("0: 2\n0x80: [1, 65535, 3]\n")

    async def run():
        async with serving_recording(path) as port:
            card = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
            assert await card.connect()
            holding = await card.read_holding_registers(127, count=5, device_id=1)
            inputs = await card.read_input_registers(0, device_id=1)
            card.close()
            await asyncio.sleep(0)
            return holding.registers, inputs.registers

    assert asyncio.run(run()) == ([0, 1, 65_535, 3, 0], [2])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1: 2\n2: 65536\n", 2, "a register is a number"),
        ("1: 2\n2: [1,\n  -1]\n", 3, "a register is a number"),
        ("1: 2\nx: 3\n", 2, "FUNCTION/ADDRESS"),
        ("3/1: 2\n5/1: 3\n", 2, "FUNCTION/ADDRESS"),
        ("1: 2\n4/1: 3\n", 2, "register 1 is there twice"),
        ("2/7: [1, 2]\n", 1, "is 0 or 1"),
        ("object/136: [1]\n", 1, "an object is a text"),
        ("object/256: a\n", 1, "above 255"),
        ("1: \x01\n", 1, "not YAML"),
        ("1: [2, 3]\n2: 4\n", 2, "register 2 is there twice"),
        ("65535: [1, 2]\n", 1, "the last register is 65535"),
        ("- 1\n", 1, "a mapping of address: value"),
        ("", 1, "a mapping of address: value"),
        ("1: 2\n2: [\n", 3, "not YAML"),
    ],
)
def test_a_fault_in_a_register_file_is_named_by_its_line(tmp_path, text, line, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecordingInvalid) as caught:
        read_registers(path)
    assert (caught.value.line, message in str(caught.value)) == (line, True)


def test_what_a_reader_brought_is_a_register_file_and_read_again(tmp_path):
    path = tmp_path / "unit.yaml"
    brought = {
        Registers(3, 5, 3): (1, 2, 65_535),
        Registers(4, 40_000, 1): (7,),
        Registers(2, 0x100, 4): 0b1010,
        "object/135/136": b'1=UPS2000;4="A\\B"',
        "object/135/135": b"\0\0\0\1",
        "object/0/0": "Maker",
    }
    write_registers(path, brought, comment="UPS2000\nas of its first day")
    found = read_registers(path)
    assert found.words == {
        1: {},
        2: {0x100: 0, 0x101: 1, 0x102: 0, 0x103: 1},
        3: {5: 1, 6: 2, 7: 65_535},
        4: {40_000: 7},
    }
    assert found.objects == {0: b"Maker", 135: b"\0\0\0\1", 136: b'1=UPS2000;4="A\\B"'}
    assert path.read_text().startswith("# UPS2000\n# as of its first day\n")


@given(
    words=st.dictionaries(
        st.builds(Registers, st.sampled_from([3, 4]), st.integers(0, 65_535), st.just(1)),
        st.tuples(st.integers(0, 65_535)),
        min_size=1,
        max_size=60,
    )
)
def test_no_register_is_lost_in_a_file(words, tmp_path_factory):
    path = tmp_path_factory.mktemp("registers") / "unit.yaml"
    write_registers(path, words)
    found = read_registers(path).words
    assert {Registers(f, at, 1): (word,) for f in found for at, word in found[f].items()} == words


def test_a_message_log_is_read_in_the_order_of_its_offsets(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"topic": "a/b", "payload": {"v": 1}, "offset": 0.02}\n'
        '{"topic": "a/c", "payload": "text", "offset": 0}\n'
    )
    assert [(message.topic, message.payload) for message in read_messages(path)] == [
        ("a/c", b"text"),
        ("a/b", b'{"v": 1}'),
    ]


def test_a_message_log_tells_bytes_pauses_and_how_each_was_published(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '# recorded at a gateway\n{"topic": "a", "payload": null, "retain": true}\n'
        '{"after": 1.5, "topic": "b", "payload_base64": "/wA=", "qos": 0}\n'
        '{"after": 0.5, "topic": "c", "payload": "x"}\n'
    )
    messages = read_messages(path)
    assert messages == [
        Message(0.0, "a", b"", retain=True),
        Message(1.5, "b", b"\xff\x00", qos=0),
        Message(2.0, "c", b"x"),
    ]
    write_messages(tmp_path / "again.jsonl", messages)
    assert read_messages(tmp_path / "again.jsonl") == messages


def test_a_log_for_a_broker_that_is_not_there_is_a_lost_link(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"topic": "a/b", "payload": 1, "offset": 0}\n')
    with EmbeddedBroker(tmp_path) as gone:
        port = gone.port
    with pytest.raises(LinkLost):
        asyncio.run(serve_recording(path, port=port))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "an object with topic, payload and after"),
        ('{"payload": 1}', "an object with topic, payload and after"),
        ('{"topic": "a"}', "give payload or payload_base64"),
        ('{"topic": "a", "payload": 1, "payload_base64": "AA=="}', "one of them"),
        ('{"topic": "a", "payload_base64": "?"}', "not base64"),
        ('{"topic": "a", "payload": 1, "after": 1, "offset": 1}', "not both"),
        ('{"topic": "a", "payload": 1, "after": -1}', "not negative"),
        ('{"topic": "a", "payload": 1, "after": 1e12}', "more than a year"),
        ('{"topic": "a", "payload": 1, "qos": 3}', "qos is 0 or 1"),
        ('{"topic": "a", "payload": 1, "retain": "yes"}', "true or false"),
        ('{"topic": "a", "payload": 1, "at": 1}', "unknown key 'at'"),
        ('{"topic": "a/#", "payload": 1, "offset": 0}', "without wildcards"),
        ('{"topic": "a", "payload": 1, "offset": -1}', "not negative"),
        ('{"topic": "a", "payload": 1, "offset": "x"}', "not negative"),
    ],
)
def test_a_fault_in_a_message_log_is_named_by_its_line(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"topic": "a", "payload": 1, "offset": 0}\n' + line + "\n")
    with pytest.raises(RecordingInvalid, match=f"line 2: .*{message}"):
        read_messages(path)


CAPTURES = os.environ.get("RIDETHROUGH_CAPTURES")


@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES, reason="no recordings at hand: RIDETHROUGH_CAPTURES is not set")
def test_every_recording_of_a_real_card_is_replayed_value_by_value():
    recordings = sorted(Path(CAPTURES or "").glob("*.snmprec"))
    assert recordings

    async def run(path, recorded, nulls):
        found = {}
        async with serving_recording(path) as port:
            async with session(port) as client:
                for place in range(0, len(recorded), 20):
                    found |= await client.get_many(list(recorded)[place : place + 20])
            if not nulls:
                assert dict(await walked(port, "2c", bulk=True)) == recorded, path.name
            return found, [await is_null(port, oid) for oid in nulls]

    for path in recordings:
        recorded, nulls = {}, []
        for line in path.read_text(encoding="utf-8").splitlines():
            oid, tag, value = line.split("|", 2)
            if tag == "5":
                nulls.append(oid)
            else:
                recorded[oid] = _plain(tag, value)
        found, are_null = asyncio.run(run(path, recorded, nulls))
        assert found == recorded, path.name
        assert all(are_null), path.name


def _plain(tag, value):
    """Return a recorded value as the client gives it."""
    match tag:
        case "4":
            return value.encode()
        case "4x":
            return bytes.fromhex(value)
        case "6":
            return ".".join(map(str, rfc1902.ObjectIdentifier(value)))
        case _:
            return int(value)


def test_an_object_recorded_twice_keeps_its_first_value_and_escapes_are_read(tmp_path):
    path = tmp_path / "walked.snmprec"
    path.write_text(
        "1.3.6.1.2.1.33.1.2.4.0|2|97\n1.3.6.1.2.1.33.1.2.4.0|2|98\n"
        "1.3.6.1.2.1.1.1.0|4e|two\\r\\nlines \\xff\n"
    )
    values = read_snmp(path).values
    assert values[1, 3, 6, 1, 2, 1, 33, 1, 2, 4, 0] == 97
    assert bytes(values[1, 3, 6, 1, 2, 1, 1, 1, 0]) == b"two\r\nlines \xff"


def test_what_somebody_blotted_out_is_left_out_of_a_replay_and_told(tmp_path, caplog):
    path = tmp_path / "blotted.snmprec"
    path.write_text(
        "1.3.6.1.2.1.1.1.0|4|UPS card\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.318.\n"
        "1.3.6.1.2.1.4.20.1.1.127.0.0.1|64e|\\x7f\\x00\\x00\\x01\n"
        "1.3.6.1.2.1.2.2.1.6.1|4x|0050XXYYZZ\n"
        "1.3.6.1.2.1.4.20.1.2.<IPADDR>|2|1\n1.3.6.1.2.1.33.1.2.4.0|2|\n"
        "1.3.6.1.2.1.33.1.2.5.0|2|545\n"
    )
    left_out = []
    values = read_snmp(path, left_out).values
    assert [invalid.line for invalid in left_out] == [4, 5, 6]
    assert [str(value.prettyPrint()) for value in values.values()] == [
        "UPS card",
        "1.3.6.1.4.1.318",
        "127.0.0.1",
        "545",
    ]

    async def run():
        async with serving_recording(path) as port, session(port) as client:
            return await client.get("1.3.6.1.2.1.33.1.2.5.0")

    assert asyncio.run(run()) == 545
    assert "line 4: '0050XXYYZZ' is not hexadecimal: left out" in caplog.text
