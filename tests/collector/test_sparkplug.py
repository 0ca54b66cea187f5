"""Sparkplug B: the form on the wire, and what a node's messages mean in their order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.family import families
from collector.readers import sparkplug_node
from collector.readers.mqtt import Message
from collector.readers.sparkplug import (
    BOOLEAN,
    DOUBLE,
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT64,
    Metric,
    Payload,
    SparkplugInvalid,
    as_signed,
    decode_payload,
    encode_payload,
    parse_topic,
    rebirth_request,
)
from collector.readers.sparkplug_node import Node, Unit
from collector.store import KnownDevice

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def metric(name=None, value=None, datatype=DOUBLE, **more):
    fields = {"alias": None, "at_milliseconds": None} | more
    return Metric(
        name, fields.pop("alias"), fields.pop("at_milliseconds"), datatype, value, **fields
    )


def known(number=1, key="u1", **more):
    address = "mqtt://broker/spBv1.0/plant/+/gate/u1"
    return KnownDevice(number, key, "mqtt", address, None, "sparkplug-b", 30.0, 2.0, False, **more)


def node(*names, **more):
    family = families()["sparkplug-b"]
    units = {name: Unit(known(at), family, **more) for at, name in enumerate(names, start=1)}
    return Node("plant", "gate", units)


class Gate:
    """An edge node's messages, numbered as they should be."""

    def __init__(self, *names, **more):
        self.node = node(*names, **more)
        self.seq = -1
        self.at = NOW_MS

    def hears(self, kind, *metrics, device="u1", seq=None, at=None, payload=None):
        if kind != "NDEATH":
            self.seq = (self.seq + 1) % 256 if seq is None else seq
        topic = f"spBv1.0/plant/{kind}/gate" + (f"/{device}" if kind[0] == "D" else "")
        numbered = None if kind == "NDEATH" else self.seq
        self.at = self.at + 1000 if at is None else at
        content = (
            encode_payload(Payload(self.at, numbered, metrics)) if payload is None else payload
        )
        message = Message(topic, content, NOW + timedelta(seconds=60))
        return sparkplug_node.hear(self.node, parse_topic(topic), message)

    def born(self, *metrics, bd_seq=0):
        self.seq = -1
        told = self.hears("NBIRTH", metric("bdSeq", bd_seq, INT64))
        return told + self.hears("DBIRTH", *metrics)


def points(arrivals):
    return [dict(one.reading.points) for one in arrivals if one.reading]


def reasons(arrivals):
    return [why.reason for one in arrivals for why in one.rejections]


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("spBv1.0/g/NDATA/n", ("g", "NDATA", "n", "")),
        ("spBv1.0/g/DDATA/n/d", ("g", "DDATA", "n", "d")),
        ("spBv1.0/g/DDATA/n", None),
        ("spBv1.0/g/NDATA/n/d", None),
        ("spBv1.0/STATE/host", None),
        ("spBv1.0/g/XDATA/n", None),
        ("spBv1.0//NDATA/n", None),
        ("spBv1.0/g/DDATA/n/", None),
        ("spAv1.0/g/NDATA/n", None),
    ],
)
def test_a_topic_tells_group_kind_node_and_device(topic, told):
    assert parse_topic(topic) == told


def test_a_payload_is_read_as_it_was_written():
    payload = Payload(
        NOW_MS,
        7,
        (
            metric("battery/charge", 97.3, FLOAT, unit="%"),
            metric("a", -5, INT8, alias=3, is_historical=True, at_milliseconds=5),
            metric("b", -(2**40), INT64),
            metric("c", 2**63, UINT64),
            metric("d", True, BOOLEAN),
            metric("e", "Text ☂", STRING),
            metric("f", None, STRING),
            metric(None, 1.25, DOUBLE, alias=2**60),
        ),
    )
    assert decode_payload(encode_payload(payload)) == payload


def test_the_wire_form_is_that_of_the_specification():
    # Written by hand: timestamp 1, one metric (name "a", alias 2, datatype 9, float 1.0), seq 3.
    wire = b"\x08\x01\x12\x0c\x0a\x01a\x10\x02\x20\x09\x65\x00\x00\x80\x3f\x18\x03"
    assert decode_payload(wire) == Payload(1, 3, (metric("a", 1.0, FLOAT, alias=2),))
    assert encode_payload(decode_payload(wire)) == wire


@pytest.mark.parametrize(
    ("value", "datatype", "told"),
    [
        (0xFF, INT8, -1),
        (0xFFFFFFFF, INT8, -1),
        (0x8000, INT16, -32768),
        (0xFFFFFFFF, INT32, -1),
        (2**64 - 1, INT64, -1),
        (0xFFFF, None, 0xFFFF),
        (127, INT8, 127),
    ],
)
def test_signed_numbers_travel_as_twos_complement(value, datatype, told):
    assert as_signed(value, datatype) == told


@pytest.mark.parametrize("payload", [b"\xff", b"\x12\x05abc", b"{}", b"\x08"])
def test_what_is_no_payload_is_refused(payload):
    with pytest.raises(SparkplugInvalid):
        decode_payload(payload)


def test_too_many_metrics_are_refused():
    with pytest.raises(SparkplugInvalid, match="2001 metrics"):
        decode_payload(b"\x12\x00" * 2001)


@pytest.mark.parametrize(("field", "told"), [(17, "a data set"), (18, "a template"), (16, "bytes")])
def test_values_that_are_no_plain_ones_are_told_and_the_others_read(field, told):
    datatype = {17: 16, 18: 19, 16: 17}[field]
    odd = bytes(
        [0x0A, 1, ord("x"), 0x20, datatype, 0x80 | (field << 3 & 0x7F) | 2, field >> 4, 1, 0]
    )
    wire = b"\x12" + bytes([len(odd)]) + odd
    first, second = decode_payload(
        wire + encode_payload(Payload(None, None, (metric("ups/load", 5.0),)))
    ).metrics
    assert first.value is None
    assert told in first.problem
    assert second.value == 5.0


def test_births_tell_names_and_data_by_alias_only_what_changed():
    gate = Gate("u1")
    told = gate.born(
        metric("battery/charge", 90.0, alias=1),
        metric("Input/L1-N/Voltage", 231.0, alias=2),
        metric("ups/status", "OL CHRG", STRING, alias=3),
        metric("device/model", "M1", STRING),
    )
    (first,) = points(told)
    assert first["battery_charge"] == 90.0
    assert first["input_l1_n_voltage"] == 231.0
    assert first["status_on_line"] is True
    assert first["status_on_battery"] is False
    assert told[-1].identity.model == "M1"
    assert told[-1].reading.stays_valid_seconds is None
    assert points(gate.hears("DDATA", metric(None, 89.5, alias=1))) == [{"battery_charge": 89.5}]
    (last,) = points(gate.hears("DDATA", metric(None, "OB DISCHRG", STRING, alias=3)))
    assert (last["status_on_battery"], last["status_on_line"]) == (True, False)


def test_units_in_the_metadata_are_taken_into_account():
    gate = Gate("u1")
    told = gate.born(
        metric("battery/runtime", 12, INT32, alias=1, unit="min"),
        metric("ups/realpower", 1.5, unit="kW"),
        metric("ups/temperature", 77.0, unit="°F"),
    )
    assert points(told) == [
        {"battery_runtime": 720.0, "ups_realpower": 1500.0, "ups_temperature": pytest.approx(25.0)}
    ]
    assert points(gate.hears("DDATA", metric(None, 11, INT32, alias=1))) == [
        {"battery_runtime": 660.0}
    ]


def test_without_a_birth_names_are_understood_and_aliases_wait_for_one():
    gate = Gate("u1")
    told = gate.hears("DDATA", metric("ups/load", 30.0), metric(None, 1.0, alias=9), seq=17)
    assert points(told) == [{"ups_load": 30.0}]
    assert reasons(told) == ["no_birth"]
    assert gate.node.wants_birth
    assert reasons(gate.hears("DDATA", metric(None, 1.0, alias=9))) == []  # told within the hour
    gate.born(metric("ups/load", 31.0, alias=9))
    assert not gate.node.wants_birth
    assert points(gate.hears("DDATA", metric(None, 32.0, alias=9))) == [{"ups_load": 32.0}]


def test_a_gap_is_told_its_message_used_and_a_repeated_one_left_out():
    gate = Gate("u1")
    gate.born(metric("ups/load", 30.0))
    told = gate.hears("DDATA", metric("ups/load", 31.0), seq=5)
    assert reasons(told) == ["sequence_gap"]
    assert points(told) == [{"ups_load": 31.0}]
    assert gate.node.wants_birth
    assert gate.hears("DDATA", metric("ups/load", 32.0), seq=5) == []


def test_numbers_begin_anew_after_255():
    gate = Gate("u1")
    gate.born(metric("ups/load", 0.0))
    for number in range(600):
        assert reasons(gate.hears("DDATA", metric("ups/load", float(number % 100)))) == []
    assert gate.node.gaps == 0


def test_a_death_ends_values_once_and_a_stale_one_none():
    gate = Gate("u1", "u2")
    gate.born(metric("ups/load", 30.0), bd_seq=4)
    gate.hears("DBIRTH", metric("ups/load", 40.0), device="u2")
    assert gate.hears("NDEATH", metric("bdSeq", 3, INT64)) == []
    (end,) = gate.hears("DDEATH")
    assert (end.reading.points, end.reading.stays_valid_seconds) == ({}, 0.0)
    (other,) = gate.hears("NDEATH", metric("bdSeq", 4, INT64))
    assert other.reading.device_id == 2
    assert gate.hears("NDEATH", metric("bdSeq", 4, INT64)) == []
    gate.born(metric("ups/load", 31.0), bd_seq=5)
    assert points(gate.hears("DDATA", metric("ups/load", 33.0))) == [{"ups_load": 33.0}]


def test_historical_values_are_readings_of_their_own_time():
    gate = Gate("u1")
    gate.born(metric("ups/load", 30.0))
    past = [
        metric("ups/load", 10.0 + at, is_historical=True, at_milliseconds=NOW_MS - 5000 + at * 1000)
        for at in (1, 0)
    ]
    told = gate.hears("DDATA", *past, metric("ups/load", 50.0))
    assert points(told) == [{"ups_load": 10.0}, {"ups_load": 11.0}, {"ups_load": 50.0}]
    times = [one.reading.observed_at for one in told]
    assert times == sorted(times)
    assert times[0] == NOW - timedelta(seconds=5)


def test_two_messages_of_one_millisecond_are_two_readings():
    gate = Gate("u1")
    gate.born(metric("ups/load", 30.0))
    times = [
        gate.hears("DDATA", metric("ups/load", load), at=NOW_MS + 9_000)[0].reading.observed_at
        for load in (31.0, 32.0, 33.0)
    ]
    assert len(set(times)) == 3
    assert times == sorted(times)


def test_values_without_quality_are_left_out():
    gate = Gate("u1")
    # Properties: key "Quality", int 0.
    wire = b"\x0a\x08ups/load\x20\x0a\x4a\x0d\x0a\x07Quality\x12\x02\x18\x00"
    wire += b"\x69" + bytes(8)
    payload = b"\x12" + bytes([len(wire)]) + wire + b"\x18\x00"
    assert decode_payload(payload).metrics[0].value is None
    assert points(gate.hears("DDATA", payload=payload)) == []


def test_a_wish_for_a_birth_is_the_command_of_the_specification():
    (wish,) = decode_payload(rebirth_request(5)).metrics
    assert (wish.name, wish.value, wish.datatype) == ("Node Control/Rebirth", True, BOOLEAN)


def test_aliases_are_bounded():
    gate = Gate("u1")
    for start in range(0, 8000, 2000):
        some = [metric(f"m{one}", 1.0, alias=one) for one in range(start, start + 1990)]
        gate.hears("DBIRTH", *some, device=f"u{start}")
        gate.hears("DBIRTH", *some)
    assert len(gate.node.aliases) <= sparkplug_node.MOST_ALIASES
    assert len(gate.node.units["u1"].values) <= sparkplug_node.MOST_VALUES


KINDS = ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH", "NCMD")
names = st.sampled_from(["ups/load", "battery/charge", "ups/status", "x", "bdSeq", ""])
values = st.one_of(
    st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(max_size=20), st.none()
)
metrics = st.builds(
    Metric,
    st.one_of(st.none(), names, st.text(max_size=20)),
    st.one_of(st.none(), st.integers(0, 5)),
    st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    st.one_of(st.none(), st.integers(0, 40)),
    values,
    st.booleans(),
)
payloads = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda at, seq, some: encode_payload(Payload(at, seq, tuple(some))),
        st.one_of(st.none(), st.integers(0, 2**64 - 1)),
        st.one_of(st.none(), st.integers(0, 300)),
        st.lists(metrics, max_size=5),
    ),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), payloads), max_size=6))
@example([("DDATA", b"\x12\x04\x0a\x02\xff\xfe")])
@example([("NDATA", b"\x12\x00" * 2000)])
def test_no_payload_whatever_stops_a_node(said):
    gate = Gate("u1", "")
    for kind, payload in said:
        for arrival in gate.hears(kind, payload=payload):
            assert arrival.reading or arrival.rejections or arrival.identity or arrival.profile


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0, 7, 128, 255])), max_size=6))
def test_a_sound_payload_with_spoiled_bytes_is_read_or_refused(spoils):
    sound = bytearray(
        encode_payload(Payload(NOW_MS, 3, (metric("ups/load", 5.0), metric("ups/id", "x", STRING))))
    )
    for at, byte in spoils:
        sound[at % len(sound)] = byte
    gate = Gate("u1")
    gate.hears("DDATA", payload=bytes(sound))
