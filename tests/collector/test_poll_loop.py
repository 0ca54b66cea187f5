"""The loop in virtual time against devices that are only functions."""

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

import pytest

from collector.address import Credentials
from collector.convert import Decoded
from collector.credentials import credentials_text
from collector.identify_snmp import Identified
from collector.plan import plan_for
from collector.poll import PollLoop
from collector.probe import Met
from collector.profile import profiles
from collector.raw import Failure, RawReply, ReadFailed
from collector.store import KnownDevice
from rules.facts import Identity
from tests.collector.virtual_time import START, run

UPTIME = "1.3.6.1.2.1.1.3.0"
SOURCE = "1.3.6.1.2.1.33.1.4.1.0"  # upsOutputSource: 3 normal, 5 battery
CHARGE = "1.3.6.1.2.1.33.1.2.4.0"
PLAN = plan_for(profiles()["rfc1628"])
NORMAL = {UPTIME: 100, SOURCE: 3, CHARGE: 90}


def device(number=1, **changes):
    known = KnownDevice(
        device_id=number,
        key=f"u{number}",
        protocol="snmp",
        address=f"snmp://192.0.2.{number % 250}:{1000 + number // 250}",
        sealed_credentials=None,
        profile="rfc1628",
        poll_seconds=30.0,
        deadline_seconds=2.0,
        is_on_battery=False,
    )
    return replace(known, **changes)


@dataclass
class Fleet:
    """Devices, how they answer, and what the loop did with them."""

    devices: list[KnownDevice]
    values: dict[str, object] = field(default_factory=dict)
    load_fails: bool = False
    queue_full: bool = False
    asked: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    full: list[tuple[str, float]] = field(default_factory=list)
    met: list[tuple[str, str | None]] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    arrivals: list = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def answer(self, address):
        """Answer as `values` says: a mapping, an exception to raise, or a coroutine function."""
        answer = self.values.get(address.public, NORMAL)
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            if callable(answer):
                answer = await answer()
            else:
                await asyncio.sleep(0.01)
        finally:
            self.under_way -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def read(self, address, refs, *, memory, deadline, habits):
        self.users.add(address.credentials.user)
        if refs != (UPTIME,):
            self.asked[address.public].append(self.time())
            if set(PLAN.identity_refs) <= set(refs):
                self.full.append((address.public, self.time()))
        values = await self.answer(address)
        return RawReply({ref: value for ref, value in values.items() if ref in refs})

    async def meet(self, address, profile, *, memory):
        self.met.append((address.public, profile))
        self.asked[address.public].append(self.time())
        values = await self.answer(address)
        points = {"status_on_battery": values[SOURCE] == 5}
        return Met(Identified("rfc1628", ()), PLAN, Identity("Maker"), Decoded(points), ())

    def load(self):
        if self.load_fails:
            raise OSError("the database is away")
        return self.devices

    def offer(self, arrival):
        if not self.queue_full:
            self.arrivals.append(arrival)
        return not self.queue_full

    def poll(self, seconds, *, in_flight=200, then=None, unseal=None):
        """Run the loop for so long; `then` maps seconds to what happens at that time."""

        async def main(loop):
            self.time = loop.time
            stop = asyncio.Event()
            loop.call_at(seconds, stop.set)
            for at, action in (then or {}).items():
                loop.call_at(at, action)
            poll_loop = PollLoop(
                load=self.load,
                unseal=unseal or (lambda _: ""),
                offer=self.offer,
                now=loop.now,
                in_flight=in_flight,
                read=self.read,
                first_meet=self.meet,
            )
            self.poll_loop = poll_loop
            await poll_loop.run(stop)
            return poll_loop.counters

        return run(main)

    def gaps(self, known):
        times = self.asked[known.address]
        return [round(b - a) for a, b in pairwise(times)]


def test_every_device_is_polled_in_its_own_rhythm_and_the_fleet_is_spread():
    fleet = Fleet([device(n, poll_seconds=30.0 if n % 2 else 10.0) for n in range(400)])
    counters = fleet.poll(100)
    for known in fleet.devices:
        assert set(fleet.gaps(known)) == {round(known.poll_seconds)}
    assert counters.polls == counters.readings == len(fleet.arrivals)
    assert counters.skipped_ticks == 0
    seconds = [int(at) for times in fleet.asked.values() for at in times if 40 <= at < 100]
    assert max(map(seconds.count, range(40, 100))) <= 45  # 200 / 30 + 200 / 10 on average


def test_a_reading_is_believed_for_three_polls_and_the_deadline():
    fleet = Fleet([device()])
    fleet.poll(70)
    first, *_, last = (arrival.reading for arrival in fleet.arrivals)
    assert last.stays_valid_seconds == 92
    assert last.observed_at == last.received_at > START
    assert last.points["battery_charge"] == 90
    assert first.device_id == 1
    assert fleet.arrivals[0].identity == Identity("Maker")
    assert fleet.arrivals[-1].identity is None


def test_on_battery_the_rhythm_is_fast_until_mains_returns():
    fleet = Fleet([device()])
    here = fleet.devices[0].address
    fleet.poll(
        300,
        then={
            100: lambda: fleet.values.update({here: NORMAL | {SOURCE: 5}}),
            200: lambda: fleet.values.update({here: NORMAL}),
        },
    )
    gaps = fleet.gaps(fleet.devices[0])
    assert set(gaps) == {30, 5}
    assert 15 <= gaps.count(5) <= 21
    assert (gaps[0], gaps[-1]) == (30, 30)
    fast = [a.reading for a in fleet.arrivals if a.reading.points["status_on_battery"]]
    assert {reading.stays_valid_seconds for reading in fast} == {17}


def test_a_collector_that_restarts_during_an_outage_keeps_the_fast_rhythm():
    fleet = Fleet([device(is_on_battery=True)], {device().address: NORMAL | {SOURCE: 5}})
    fleet.poll(30)
    assert fleet.asked[device().address][0] <= 5
    assert set(fleet.gaps(device())) == {5}


def test_a_dead_device_backs_off_is_told_once_and_comes_back(caplog):
    caplog.set_level(logging.INFO)
    fleet = Fleet([device()])
    here = device().address
    dead = ReadFailed(Failure.TIMEOUT, "no answer")
    counters = fleet.poll(
        3_000,
        then={
            50: lambda: fleet.values.update({here: dead}),
            1_500: lambda: fleet.values.pop(here),
        },
    )
    gaps = fleet.gaps(device())
    assert gaps[1:8] == [30, 30, 60, 120, 240, 240, 240]
    assert gaps[-1] == 30
    told = [record.getMessage() for record in caplog.records if "u1" in record.getMessage()]
    assert len(told) == 2
    assert "cannot be read since 2026-03-02T08:0" in told[0]
    assert "no answer" in told[0]
    assert "can be read again" in told[1]
    lost = [at for at in fleet.asked[here] if 50 < at < 1_500]
    assert counters.failures == {"timeout": len(lost)}
    assert counters.unreachable == 0


def test_one_lost_datagram_is_no_news(caplog):
    caplog.set_level(logging.INFO)
    fleet = Fleet([device()])
    here, lost = device().address, ReadFailed(Failure.TIMEOUT, "no answer")
    fleet.poll(
        200,
        then={
            50: lambda: fleet.values.update({here: lost}),
            80: lambda: fleet.values.pop(here),
        },
    )
    assert set(fleet.gaps(device())) == {30}
    assert not [record for record in caplog.records if "u1" in record.getMessage()]


def test_slow_and_dead_devices_do_not_slow_the_fleet():
    def hanging():
        return asyncio.sleep(2.0, ReadFailed(Failure.TIMEOUT, "no answer"))

    fleet = Fleet([device(n) for n in range(1_000)])
    dead, alive = fleet.devices[::5], [d for d in fleet.devices if d.device_id % 5]
    fleet.values = {known.address: hanging for known in dead}
    counters = fleet.poll(300, in_flight=40)
    assert {gap for known in alive for gap in fleet.gaps(known)[2:]} == {30}
    assert counters.unreachable == len(dead)
    assert fleet.most_under_way <= 40


def test_a_poll_that_outlives_its_interval_skips_ticks_and_never_overlaps():
    fleet = Fleet([device()], {})
    under_way = []

    async def slow():
        under_way.append(fleet.under_way)
        await asyncio.sleep(70)
        return NORMAL

    fleet.values = {device().address: slow}
    counters = fleet.poll(700)
    assert set(under_way) == {1}
    assert set(fleet.gaps(device())[1:]) == {90}
    assert counters.skipped_ticks >= 12


def test_the_last_good_list_is_kept_when_loading_fails(caplog):
    caplog.set_level(logging.INFO)
    fleet = Fleet([device()])
    fleet.poll(
        200,
        then={
            15: lambda: setattr(fleet, "load_fails", True),
            120: lambda: setattr(fleet, "load_fails", False),
        },
    )
    assert set(fleet.gaps(device())) == {30}
    told = [r.getMessage() for r in caplog.records if "loaded" in r.getMessage()]
    assert told == [
        "the devices cannot be loaded; going on with the 1 known",
        "the devices can be loaded again",
    ]


def test_devices_come_go_and_change_while_the_loop_runs():
    fleet = Fleet([device(1), device(2), device(3)])
    moved = device(2, address="snmp://198.51.100.2:161")
    slower = device(3, poll_seconds=60.0)
    fleet.poll(400, then={100: lambda: setattr(fleet, "devices", [moved, slower, device(4)])})
    assert max(fleet.asked[device(1).address]) < 110
    assert max(fleet.asked[device(2).address]) < 110
    assert [where for where, _ in fleet.met].count(moved.address) == 1
    assert fleet.gaps(moved)[-1] == 30
    assert (fleet.gaps(device(3))[0], fleet.gaps(device(3))[-1]) == (30, 60)
    assert 100 <= fleet.asked[device(4).address][0] < 116


def test_a_profile_found_is_handed_over_once_and_its_record_is_no_change():
    fleet = Fleet([device(profile=None)])
    fleet.poll(200, then={50: lambda: setattr(fleet, "devices", [device(profile="rfc1628")])})
    assert fleet.met == [(device().address, None)]
    assert [arrival.profile for arrival in fleet.arrivals[:2]] == ["rfc1628", None]


def test_another_profile_in_the_record_makes_the_device_be_met_again():
    fleet = Fleet([device()])
    fleet.poll(100, then={45: lambda: setattr(fleet, "devices", [device(profile="eaton-xups")])})
    assert [profile for _, profile in fleet.met] == ["rfc1628", "eaton-xups"]


def test_slow_points_and_identity_are_read_daily_and_after_a_restart():
    fleet = Fleet([device()])
    here = device().address
    fleet.values = {here: NORMAL | {UPTIME: 50_000}}
    fleet.poll(100_000, then={1_000: lambda: fleet.values.update({here: NORMAL | {UPTIME: 7}})})
    times = [at for _, at in fleet.full]
    assert len(times) == 2
    assert 1_030 <= times[0] <= 1_061
    assert times[1] == pytest.approx(times[0] + 86_400, abs=31)
    assert sum(arrival.identity is not None for arrival in fleet.arrivals) == 3


def test_while_the_queue_is_full_polls_wait_and_nothing_is_lost():
    fleet = Fleet([device(n) for n in range(10)])
    counters = fleet.poll(
        200,
        in_flight=4,
        then={
            60: lambda: setattr(fleet, "queue_full", True),
            120: lambda: setattr(fleet, "queue_full", False),
        },
    )
    assert counters.readings == len(fleet.arrivals)
    assert counters.queue_full == 4
    assert not [at for times in fleet.asked.values() for at in times if 75 < at < 119]
    assert counters.dropped_at_stop == 0


def test_what_nobody_takes_at_the_end_is_counted():
    fleet = Fleet([device()], queue_full=True)
    assert fleet.poll(100).dropped_at_stop == 1


def test_a_value_refused_on_each_poll_is_counted_each_time_and_quarantined_hourly():
    fleet = Fleet([device()], {device().address: NORMAL | {CHARGE: 900}})
    counters = fleet.poll(7_000)
    refused = [one for arrival in fleet.arrivals for one in arrival.rejections]
    assert [one.point for one in refused] == ["battery.charge"] * 2
    assert counters.rejections.total() == counters.readings - 1 > 200


def test_bad_answers_are_quarantined_once_a_streak():
    here = device().address
    fleet = Fleet([device()], {here: ReadFailed(Failure.MALFORMED, "no proper SNMP")})
    fleet.poll(
        4_000,
        then={
            2_000: lambda: fleet.values.pop(here),
            2_500: lambda: fleet.values.update({here: ReadFailed(Failure.MALFORMED, "again")}),
        },
    )
    refused = [one for arrival in fleet.arrivals for one in arrival.rejections]
    assert [(one.reason, one.detail) for one in refused] == [
        ("malformed", "no proper SNMP"),
        ("malformed", "again"),
    ]


def test_a_device_that_answers_nothing_of_its_profile_is_met_again():
    fleet = Fleet([device()])
    here = device().address
    fleet.poll(
        300,
        then={
            70: lambda: fleet.values.update({here: {"1.2.3": 4}}),
            100: lambda: fleet.values.pop(here),
        },
    )
    assert len(fleet.met) == 2
    assert fleet.arrivals[-1].reading.points


class Panic(BaseException):
    """As libraries written in Rust raise it."""


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), Panic("index out of bounds")])
def test_an_error_in_one_device_stops_no_other(caplog, bug):
    fleet = Fleet([device(1), device(2)], {device(1).address: bug})
    counters = fleet.poll(200)
    assert set(fleet.gaps(device(2))) == {30}
    assert counters.failures["error"] >= 3
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_credentials_are_opened_and_a_wrong_key_is_a_failure_of_the_device_alone(caplog):
    def unseal(token):
        if token == b"other key":
            raise ValueError("a stored secret does not open")
        return credentials_text(Credentials("hush"))

    fleet = Fleet(
        [device(1, sealed_credentials=b"good"), device(2, sealed_credentials=b"other key")]
    )
    counters = fleet.poll(100, unseal=unseal)
    assert fleet.users == {"hush"}
    assert fleet.asked.keys() == {device(1).address}
    assert counters.failures["misrecorded"] >= 2
    assert "a stored secret does not open" in caplog.text


def test_devices_that_are_listened_to_are_not_polled():
    fleet = Fleet([device(protocol="mqtt", address="mqtt://broker/ridethrough/v1/u1")])
    counters = fleet.poll(100)
    assert (counters.devices, counters.polls) == (0, 0)


def test_first_meetings_leave_room_for_the_others():
    async def long_meeting():
        await asyncio.sleep(15)
        raise ReadFailed(Failure.UNSUPPORTED, "no UPS")

    known, strange = [device(n) for n in range(50)], [device(n) for n in range(1_000, 1_100)]
    fleet = Fleet(known)
    fleet.values = {one.address: long_meeting for one in strange}
    fleet.poll(300, in_flight=20, then={100: lambda: setattr(fleet, "devices", known + strange)})
    assert {gap for one in known for gap in fleet.gaps(one)} == {30}


def test_a_poked_device_is_polled_at_once_and_a_storm_costs_one_poll_more():
    fleet = Fleet([device(poll_seconds=300.0)])
    storm = {100.0 + n / 1000: lambda: fleet.poll_loop.poke(1) for n in range(1000)}
    counters = fleet.poll(180, then=storm)
    assert counters.pokes == 1000
    met_at, *poked = fleet.asked[fleet.devices[0].address]
    assert met_at < 61
    assert [round(at, 2) for at in poked] == [100.0, 105.0]


def test_after_a_poke_the_rhythm_goes_on():
    fleet = Fleet([device(poll_seconds=30.0)])
    began = fleet.devices[0].device_id * 0.618_033_988_749_894_9 * 30
    fleet.poll(150, then={began + 50: lambda: fleet.poll_loop.poke(1)})
    assert fleet.gaps(fleet.devices[0]) == [30, 20, 30, 30]


def test_a_device_that_backed_off_is_polled_at_once_when_poked():
    fleet = Fleet([device()], {device().address: ReadFailed(Failure.TIMEOUT, "silent")})
    tried = []

    def recover():
        fleet.values.clear()
        tried.append(sum(arrival.reading is not None for arrival in fleet.arrivals))
        fleet.poll_loop.poke(1)

    fleet.poll(500, then={400: recover})
    assert tried == [0]
    readings = [arrival.reading for arrival in fleet.arrivals if arrival.reading is not None]
    assert readings[0].observed_at < START + timedelta(seconds=401)


def test_a_poke_for_a_device_of_somebody_else_does_nothing():
    fleet = Fleet([device()])
    counters = fleet.poll(70, then={40: lambda: fleet.poll_loop.poke(77)})
    assert counters.pokes == 0
    assert fleet.gaps(fleet.devices[0]) == [30]


def test_the_daily_read_compares_the_second_places_and_tells_what_contradicts():
    profile = profiles()["eaton-xups"]
    own, standard = "1.3.6.1.4.1.534.1.4.4.1.2.1", "1.3.6.1.2.1.33.1.4.4.1.2.1"
    fleet = Fleet([device(profile="eaton-xups")])
    here = fleet.devices[0].address
    asked = []

    async def meet(address, profile_name, *, memory):
        fleet.met.append((address.public, profile_name))
        plan = plan_for(profile, 1, frozenset(), frozenset({standard}))
        return Met(Identified("eaton-xups", ()), plan, Identity("Eaton"), Decoded({}), ())

    async def read(address, refs, *, memory, deadline, habits):
        asked.append(standard in refs)
        values = await fleet.answer(address)
        return RawReply({ref: value for ref, value in values.items() if ref in refs})

    fleet.meet, fleet.read = meet, read
    fleet.values[here] = {UPTIME: 100, own: 231, standard: 23}
    fleet.poll(86_500)
    told = [a.reading.extra for a in fleet.arrivals if "check.output.voltage" in a.reading.extra]
    assert told == [{"check.output.voltage": 23.0}]
    assert asked.count(True) == 1
    assert len(fleet.met) == 1


def test_another_unit_behind_the_same_card_is_met_again():
    serial = "1.3.6.1.2.1.33.1.1.2.0"  # the model, which is what this profile reads
    fleet = Fleet([device()])
    here = fleet.devices[0].address
    fleet.values[here] = NORMAL | {serial: b"UPS 10"}
    fleet.poll(
        2 * 86_400 + 200,
        then={86_500: lambda: fleet.values.update({here: NORMAL | {serial: b"UPS 20"}})},
    )
    assert len(fleet.met) == 2
    assert [a.identity.model for a in fleet.arrivals if a.identity][:3] == [
        None,
        "UPS 10",
        "UPS 20",
    ]


def test_what_is_let_go_is_polled_no_more_and_what_came_instead_soon():
    """Another collector of the group has joined, or died."""
    fleet = Fleet([device(1), device(2)])

    def move():
        fleet.devices = [device(2), device(3)]
        fleet.poll_loop.let_go(lambda one: one.key != "u1")

    fleet.poll(200, then={95: move})
    assert max(fleet.asked[device(1).address]) < 96
    assert 95 <= fleet.asked[device(3).address][0] < 101
    assert fleet.gaps(device(2))[-1] == 30
