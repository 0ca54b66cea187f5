import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.readers.mqtt import LARGEST_BYTES, Message, Session, Topic, parse_topic, understand
from collector.store import KnownDevice
from rules.facts import Source

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DEVICE = KnownDevice(7, "u1", "mqtt", "mqtt://b/ridethrough/v1/u1", None, None, 30.0, 2.0, False)
AT = "2026-03-02T08:00:00.000Z"


def hear(kind, document, *, session=None, device=DEVICE, at=NOW):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    session = Session() if session is None else session
    return understand(Message(f"ridethrough/v1/u1/{kind}", payload, at), device, session)


def reading(points, at=AT):
    return {"at": at, "points": points}


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("ridethrough/v1/u1/reading", Topic("u1", "reading")),
        ("ridethrough/v1/a.b:c-d/identity", Topic("a.b:c-d", "identity")),
        ("ridethrough/v1/u1/availability", Topic("u1", "availability")),
        ("ridethrough/v2/u1/reading", None),
        ("ridethrough/v1/u1/command", None),
        ("ridethrough/v1/u1", None),
        ("ridethrough/v1//reading", None),
        ("ridethrough/v1/uplink/03/u1/reading", None),
        ("", None),
    ],
)
def test_a_topic_tells_the_device_and_the_kind(topic, told):
    assert parse_topic(topic) == told


def test_a_reading_is_taken_with_both_clocks():
    arrival = hear("reading", reading({"battery.charge": 97.5, "status.on_battery": False}))
    assert (arrival.device_key, arrival.device_id, arrival.source) == ("u1", 7, "mqtt")
    got = arrival.reading
    assert got.points == {"battery_charge": 97.5, "status_on_battery": False}
    assert (got.observed_at, got.received_at, got.source) == (NOW, NOW, Source.PUSH)
    assert arrival.rejections == ()
    assert arrival.acknowledge is None


@pytest.mark.parametrize(
    ("at", "instant"),
    [
        ("2026-03-02T08:00:00Z", NOW),
        ("2026-03-02T16:00:00.500+08:00", NOW + timedelta(seconds=0.5)),
        ("20260302T080000Z", NOW),
    ],
)
def test_the_time_may_have_any_offset(at, instant):
    assert hear("reading", reading({}, at)).reading.observed_at == instant


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": {}} x', "bad_json"),
        (b"\xff\xfe{}", "bad_json"),
        (b"[1]", "bad_json"),
        (b"null", "bad_json"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": {"battery.charge": NaN}}', "not_finite"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": {"battery.charge": -Infinity}}', "not_finite"),
        (b'{"at": "2026-03-02T08:00:00Z", "x": ' + b"9" * 5_000 + b"}", "bad_json"),
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "too_large"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "too_deep"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": ' + b'{"a":' * 8 + b"1" + b"}" * 9, "too_deep"),
        (b" " * (LARGEST_BYTES + 1), "too_large"),
        (b'{"points": {}}', "no_time"),
        (b'{"at": null, "points": {}}', "no_time"),
        (b'{"at": 1772438400, "points": {}}', "bad_time"),
        (b'{"at": "today", "points": {}}', "bad_time"),
        (b'{"at": "2026-03-02T08:00:00", "points": {}}', "bad_time"),
        (b'{"at": "0001-01-01T00:00:00+14:00", "points": {}}', "bad_time"),
        (b'{"at": "2026-03-02T08:00:00Z"}', "no_points"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": 5}', "no_points"),
        (b'{"at": "2026-03-02T08:00:00Z", "points": [1, 2]}', "no_points"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_understood_is_refused_with_its_reason(payload, reason):
    arrival = hear("reading", payload)
    assert arrival.reading is None
    (refused,) = arrival.rejections
    assert (refused.point, refused.reason) == (None, reason)
    assert len(refused.raw) <= 8_000
    assert arrival.device_id == 7


def test_one_bad_value_leaves_the_others():
    points = {
        "battery.charge": 900,
        "ups.load": "high",
        "battery.runtime": 1e999,
        "input.voltage": 230,
    }
    text = json.dumps(reading(points)).replace("Infinity", "1e999").encode()
    arrival = hear("reading", text)
    assert arrival.reading.points == {"input_voltage": 230.0}
    assert {(one.point, one.reason) for one in arrival.rejections} == {
        ("battery.charge", "implausible"),
        ("ups.load", "wrong_type"),
        ("battery.runtime", "not_finite"),
    }


def test_a_flood_of_unknown_points_is_told_in_few_lines():
    arrival = hear("reading", reading({f"nonsense{n}": n for n in range(500)}))
    assert len(arrival.rejections) == 21
    assert arrival.rejections[-1].detail == "480 more values were refused"


def test_texts_that_no_database_takes_are_made_storable():
    points = {"input.transfer.reason": "a\0b\ud800c", "ups.id": "\0", "x\0y": 1}
    arrival = hear("reading", reading(points))
    assert arrival.reading.points["input_transfer_reason"] == "ab?c"
    everything = repr(arrival.reading) + "".join(str(one.point) for one in arrival.rejections)
    assert "\0" not in everything
    everything.encode()


@pytest.mark.parametrize("kind", ["reading", "identity", "availability"])
def test_an_unknown_device_or_topic_is_refused(kind):
    arrival = hear(kind, b"{}", device=None)
    assert (arrival.device_key, arrival.device_id) == ("u1", None)
    assert [one.reason for one in arrival.rejections] == ["unknown_device"]
    stray = understand(Message("somewhere/else", b"{}", NOW), None, Session())
    assert [one.reason for one in stray.rejections] == ["unknown_topic"]


def test_who_a_device_is_comes_with_its_nominal_values_for_the_next_reading():
    session = Session()
    document = {
        "manufacturer": "Maker", "model": "Model A", "serial": "S1", "firmware": "1.0",
        "details": {"battery.date": "2024-01-31"},
        "points": {"ups.power.nominal": 3000, "battery.charge": 50},
    }  # fmt: skip
    arrival = hear("identity", document, session=session)
    assert (arrival.identity.model, arrival.identity.serial) == ("Model A", "S1")
    assert arrival.identity.details == {"battery.date": "2024-01-31"}
    assert arrival.reading is None
    assert arrival.profile == "ridethrough-json"
    times = [f"2026-03-02T08:00:{n:02}Z" for n in (10, 20)] + ["2026-03-03T08:00:11Z"]
    told = [
        hear(
            "reading",
            reading({"ups.load": 1}, at),
            session=session,
            at=datetime.fromisoformat(at),
        )
        for at in times
    ]
    assert ["ups_power_nominal" in one.reading.points for one in told] == [True, False, True]
    assert "battery_charge" not in told[0].reading.points


def test_a_retained_message_that_is_taken_back_says_nothing():
    for kind in ("identity", "availability"):
        arrival = hear(kind, b"")
        assert (arrival.reading, arrival.identity, arrival.rejections) == (None, None, ())


def test_values_are_believed_for_three_intervals_or_while_the_session_lives():
    session = Session()
    stays = [hear("reading", reading({}), session=session).reading.stays_valid_seconds]
    for word in (b"online", b"offline", b" ONLINE\n", b""):
        hear("availability", word, session=session)
        stays.append(hear("reading", reading({}), session=session).reading.stays_valid_seconds)
    assert stays == [92, None, 92, None, 92]


def test_offline_ends_the_values_right_behind_the_last_word_and_only_once():
    session = Session(is_live=True)
    slow_clock = NOW - timedelta(minutes=3)
    hear("reading", reading({"ups.load": 1}, slow_clock.isoformat()), session=session)
    ended = hear("availability", b"offline", session=session).reading
    assert (dict(ended.points), ended.stays_valid_seconds) == ({}, 0)
    assert ended.observed_at == slow_clock + timedelta(milliseconds=1)
    assert ended.received_at == NOW
    assert hear("availability", b"offline", session=session).reading is None
    later = (slow_clock + timedelta(seconds=10)).isoformat()
    assert (
        hear("reading", reading({}, later), session=session).reading.observed_at > ended.observed_at
    )
    assert hear("availability", b"offline", session=session).reading is not None


def test_a_device_that_never_spoke_has_nothing_to_end():
    assert hear("availability", b"offline").reading is None


def test_a_clock_far_ahead_is_no_last_word():
    session = Session()
    hear("reading", reading({}, "2036-01-01T00:00:00Z"), session=session)
    assert session.last_at is None


def test_an_availability_of_another_word_is_refused():
    arrival = hear("availability", b"maybe")
    assert [one.reason for one in arrival.rejections] == ["bad_availability"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    kind=st.sampled_from(["reading", "identity", "availability"]),
    document=st.fixed_dictionaries({}, optional={"at": st.just(AT) | _JSON, "points": _JSON})
    | _JSON,
)
def test_no_document_raises(kind, document):
    arrival = hear(kind, document)
    assert arrival.device_id == 7
    assert arrival.reading or arrival.identity or arrival.rejections or kind == "availability"


@given(kind=st.sampled_from(["reading", "identity", "availability"]), payload=st.binary())
def test_no_payload_raises(kind, payload):
    assert hear(kind, payload).device_key == "u1"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "2026-03-02T09:00:00Z"])
def test_a_clock_far_ahead_neither_breaks_a_message_nor_what_comes_after(at):
    session = Session()
    hear("identity", {"points": {"ups.power.nominal": 3000}}, session=session)
    wrong = hear("reading", reading({"ups.load": 5}, at), session=session)
    assert wrong.reading.observed_at.isoformat().startswith(at[:19])
    right = hear("reading", reading({"ups.load": 6}), session=session)
    assert right.reading.points == {"ups_load": 6.0, "ups_power_nominal": 3000.0}
