"""The center's ears: whose message it is, and that collectors live."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.arrival import Arrival
from collector.readers.mqtt import Message
from collector.shards import shard_of
from collector.uplink_ear import Directory, LivesEar, UplinkEar
from collector.uplink_wire import encode, topic_of
from rules.facts import Reading

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def message(key="ups-1", *, topic=None, payload=None) -> Message:
    reading = Reading(0, AT, AT, {"ups_load": 40.0})
    arrival = Arrival(key, AT, "snmp", reading=reading)
    said_topic, said = encode(arrival, collector="site-3", skew=None)
    return Message(topic or said_topic, said if payload is None else payload, AT)


def ear(devices=None, skews=None) -> UplinkEar:
    known = {"ups-1": 7} if devices is None else devices
    directory = Directory(load=lambda: known, load_skews=lambda: skews or {})
    return UplinkEar(range(64), directory)


def reasons(arrivals) -> list[str]:
    return [one.reason for arrival in arrivals for one in arrival.rejections]


def test_a_message_becomes_an_arrival_of_its_device():
    (arrival,) = ear().hear(message())
    assert (arrival.device_id, arrival.reading.device_id) == (7, 7)
    assert arrival.reading.points == {"ups_load": 40.0}


def test_what_the_center_knows_of_a_clock_is_used_where_a_message_says_nothing():
    (arrival,) = ear(skews={"site-3": 10.0}).hear(message())
    assert arrival.reading.observed_at == AT - timedelta(seconds=10)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (message("ups-2"), "unknown_device"),
        (message(payload=b"{}"), "bad_message"),
        (message(topic="ridethrough/v1/uplink/00/a/b/reading"), "unknown_topic"),
        (
            message(topic=f"ridethrough/v1/uplink/{(shard_of('ups-1') + 1) % 64:02}/ups-1/reading"),
            "wrong_shard",
        ),
        (replace(message("ups-2"), topic=topic_of("ups-1")), "wrong_device"),
    ],
)
def test_what_is_not_right_is_refused_with_its_reason(said, reason):
    assert reasons(ear().hear(said)) == [reason]


def test_a_stranger_is_told_of_once_an_hour():
    hearing = ear()
    assert reasons(hearing.hear(message("ups-2"))) == ["unknown_device"]
    assert hearing.hear(message("ups-2")) == ()


def test_a_filter_a_shard_is_subscribed_to():
    directory = Directory(load=dict, load_skews=dict)
    assert UplinkEar((8, 9), directory).filters() == {
        "ridethrough/v1/uplink/08/+/reading",
        "ridethrough/v1/uplink/09/+/reading",
    }


def test_while_nobody_can_tell_who_the_devices_are_a_message_waits():
    fails = [True]

    def load():
        if fails:
            raise OSError("the database is away")
        return {"ups-1": 7}

    hearing = UplinkEar(range(64), Directory(load=load, load_skews=dict))
    heard = []
    thread = threading.Thread(target=lambda: heard.extend(hearing.hear(message())))
    thread.start()
    fails.clear()
    thread.join(30)
    assert [arrival.device_id for arrival in heard] == [7]


def test_devices_that_were_forgotten_while_they_were_loaded_are_loaded_again():
    """Shards came while the list was asked for: their devices are no strangers."""
    lists = [{"ups-1": 7}, {"ups-1": 7, "ups-2": 8}]

    def load():
        if len(lists) == 2:
            directory.forget()
        return lists.pop(0)

    directory = Directory(load=load, load_skews=dict)
    assert directory.device_id("ups-2", threading.Event()) == 8


class Book:
    """What a lives ear wrote."""

    def __init__(self) -> None:
        self.beats = []
        self.ends = []
        self.ear = LivesEar(
            note_beat=lambda name, beat, skew: self.beats.append((name, beat, skew)),
            note_end=self.ends.append,
            list_of=lambda group: ("abc", b"the list of " + group.encode()),
        )


def beat(number=1, **changes) -> Message:
    document = {"v": 1, "at": AT.isoformat(), "group": "g", "life": "l", "number": number}
    payload = json.dumps(document | changes).encode()
    topic = "ridethrough/v1/uplink/collectors/site-3/beat"
    return Message(topic, payload, AT + timedelta(seconds=1))


def test_a_beat_is_noted_and_answered_with_our_time():
    book = Book()
    assert book.ear.hear(beat(4)) == ()
    ((name, told, skew),) = book.beats
    assert (name, told.group, skew) == ("site-3", "g", -1.0)
    said = []
    assert book.ear.tend(lambda topic, payload: said.append((topic, json.loads(payload)))) == ()
    assert said == [
        (
            "ridethrough/v1/uplink/collectors/site-3/clock",
            {"life": "l", "number": 4, "at": (AT + timedelta(seconds=1)).isoformat()},
        )
    ]
    book.ear.tend(lambda *_: pytest.fail("answered twice"))


@pytest.mark.parametrize(("has", "is_sent"), [(None, False), ("abc", False), ("", True)])
def test_a_collector_that_asks_for_its_devices_gets_the_list_it_has_not(has, is_sent):
    book = Book()
    book.ear.hear(beat() if has is None else beat(devices=has))
    said = {}
    book.ear.tend(said.__setitem__)
    assert ("ridethrough/v1/uplink/collectors/site-3/devices" in said) is is_sent
    assert (b"the list of g" in said.values()) is is_sent


@pytest.mark.parametrize("changes", [{"v": 2}, {"more": 1}, {"group": ""}, {"number": -1}])
def test_a_beat_that_is_not_of_the_form_is_refused(changes):
    book = Book()
    assert reasons(book.ear.hear(beat(**changes))) == ["bad_message"]
    assert book.beats == []


def test_a_last_will_ends_a_life_and_one_from_before_does_not():
    book = Book()
    topic = "ridethrough/v1/uplink/collectors/site-3/availability"
    book.ear.hear(Message(topic, b"online", AT))
    book.ear.hear(Message(topic, b"offline", AT, is_retained=True))
    assert book.ends == []
    book.ear.hear(Message(topic, b"offline", AT))
    assert book.ends == ["site-3"]


def test_an_end_has_to_be_heard_and_a_beat_must_not_be_late():
    lives = Book().ear
    assert {one.rpartition("/")[2]: lives.qos(one) for one in lives.filters()} == {
        "availability": 1,
        "beat": 0,
    }
