"""What goes over the uplink comes out as it went in, and nothing else comes in."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.arrival import Arrival, CardNews, TrapNews
from collector.shards import shard_of
from collector.uplink_wire import (
    LARGEST_BYTES,
    UplinkRefused,
    decode,
    encode,
    filter_of,
    parse_topic,
    topic_of,
)
from rules.facts import Identity, Reading, Rejection, Source

AT = datetime(2026, 3, 2, 8, 0, 0, 123_456, tzinfo=UTC)


def no_skew(_):
    return None


def reading(points=None, **more):
    return Reading(0, AT, AT, points or {"battery_charge": 97.5, "status_on_battery": True}, **more)


def arrival(**more):
    return Arrival("ups-1", AT, "snmp", **more)


def sent(one, *, skew=0.0):
    return encode(one, collector="site-3", skew=skew)[1]


def received(payload, *, at=AT, skew_of=no_skew):
    return decode(payload, received_at=at, skew_of=skew_of)


def refusal(payload):
    with pytest.raises(UplinkRefused) as refused:
        received(payload)
    return refused.value.reason


EVERYTHING = arrival(
    reading=reading(extra={"outlet.1": "on"}, stays_valid_seconds=92.0),
    rejections=(Rejection("input.voltage", "9999", "implausible", "too high"),),
    identity=Identity("Maker", "Model A", details={"battery.date": "2024-01-01"}),
    profile="rfc1628",
    card=CardNews({"pause": 0.5, "single": True}, b"\x80\x00", AT, AT, "timeout", "no answer"),
    trap=TrapNews("192.0.2.1", "1.3.6", None, {"1.3": "x"}, 2),
)


@pytest.mark.parametrize(
    "one",
    [EVERYTHING, arrival(), arrival(reading=reading(source=Source.PUSH, stays_valid_seconds=None))],
)
def test_an_arrival_comes_out_as_it_went_in(one):
    assert received(sent(one)) == one


@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=50) | st.booleans(), max_size=5),
    st.text(max_size=50),
    st.text(max_size=50),
)
def test_any_text_is_carried_or_made_storable(extra, raw, model):
    one = arrival(
        reading=reading(extra=extra),
        rejections=(Rejection(None, raw, "odd", raw),),
        identity=Identity(model=model),
    )
    out = received(sent(one))
    assert out.identity.model == model.replace("\0", "\N{SYMBOL FOR NULL}")
    assert len(out.rejections) == 1


def test_lone_surrogates_are_replaced():
    assert received(sent(arrival(identity=Identity(model="a\ud800b")))).identity.model == "a?b"


def test_a_message_that_would_be_too_long_is_told_instead():
    one = arrival(identity=Identity(details={str(n): "x" * 1_000 for n in range(400)}))
    out = received(sent(one))
    assert out.identity is None
    assert [told.reason for told in out.rejections] == ["too_large"]


@pytest.mark.parametrize("ahead", [-3_600.0, -2.5, 2.5, 3_600.0])
def test_a_clock_that_is_wrong_is_corrected_and_its_own_time_kept(ahead):
    out = received(sent(arrival(reading=reading()), skew=ahead)).reading
    assert out.observed_at == AT - timedelta(seconds=ahead)
    assert out.extra["collector.clock"] == "2026-03-02T08:00:00.123+00:00"


@pytest.mark.parametrize("ahead", [-1.9, 0.0, 1.9])
def test_a_clock_that_is_nearly_right_is_believed(ahead):
    assert received(sent(arrival(reading=reading()), skew=ahead)).reading == reading()


def test_what_the_center_believes_counts_only_where_the_collector_does_not_know():
    payload = sent(arrival(reading=reading()), skew=None)
    out = received(payload, skew_of={"site-3": 10.0}.get)
    assert out.reading.observed_at == AT - timedelta(seconds=10)
    known = sent(arrival(reading=reading()), skew=0.5)
    assert received(known, skew_of={"site-3": 10.0}.get).reading.observed_at == AT


def test_a_message_delivered_twice_tells_the_same_instant_twice():
    payload = sent(arrival(reading=reading()), skew=7.3)
    later = received(payload, at=AT + timedelta(hours=1), skew_of=lambda _: 99.0)
    assert later.reading.observed_at == received(payload).reading.observed_at


def test_what_waited_for_the_line_is_marked():
    payload = sent(arrival(reading=reading()))
    assert received(payload, at=AT + timedelta(seconds=59)).reading.source is Source.POLL
    assert received(payload, at=AT + timedelta(seconds=61)).reading.source is Source.REPLAY


def test_a_cards_times_are_corrected_too():
    card = CardNews(restarted_at=AT, failing_since_at=None)
    out = received(sent(arrival(card=card), skew=10.0)).card
    assert out.restarted_at == AT - timedelta(seconds=10)
    assert out.failing_since_at is None


def test_values_that_cannot_be_are_refused_one_by_one():
    document = json.loads(sent(arrival(reading=reading())))
    document["reading"]["points"] = {
        "battery.charge": 97.5,
        "input.voltage": 99_999,
        "status.on_battery": 1,
        "battery.flavor": 1,
    }
    out = received(json.dumps(document).encode())
    assert dict(out.reading.points) == {"battery_charge": 97.5}
    assert {(one.point, one.reason) for one in out.rejections} == {
        ("input.voltage", "implausible"),
        ("status.on_battery", "implausible"),
        ("battery.flavor", "unknown_point"),
    }


def changed(**changes):
    return json.dumps(json.loads(sent(EVERYTHING)) | changes).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_message"),
        (b"[]", "bad_message"),
        (b"{" * 100_000, "bad_message"),
        (b"\xff\xfe", "bad_message"),
        (b" " * (LARGEST_BYTES + 1), "too_large"),
        (changed(v=2), "bad_message"),
        (changed(more=1), "bad_message"),
        (changed(at="2026-03-02T08:00:00"), "bad_message"),
        (changed(key=""), "bad_message"),
        (changed(skew="NaN"), "bad_message"),
        (changed(reading={"at": AT.isoformat(), "points": {"a": None}}), "bad_message"),
        (changed(reading={"at": AT.isoformat(), "points": {}, "extra": {"x": [1]}}), "bad_message"),
        (changed(card={"patience": {}, "odd": 1}), "bad_message"),
        (changed(identity={"model": "x" * 5_000}), "bad_message"),
        (changed(profile="\0"), "bad_text"),
        (changed(rejections=[EVERYTHING.rejections[0].__doc__]), "bad_message"),
    ],
)
def test_what_is_not_of_the_form_is_refused_whole(payload, reason):
    assert refusal(payload) == reason


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_that_comes_in_raises_anything_else(payload):
    with pytest.raises(UplinkRefused):
        received(payload)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_message_is_refused_or_read(place, byte):
    payload = bytearray(sent(EVERYTHING))
    payload[place % len(payload)] = byte
    with contextlib.suppress(UplinkRefused):
        received(bytes(payload))


def test_a_topic_names_shard_and_device():
    topic = topic_of("ups-1")
    assert parse_topic(topic) == (shard_of("ups-1"), "ups-1")
    assert topic.startswith(filter_of(shard_of("ups-1")).partition("+")[0])
    for other in ("ridethrough/v1/ups-1/reading", "ridethrough/v1/uplink/xx/a/reading", ""):
        assert parse_topic(other) is None
