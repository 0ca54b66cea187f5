"""The loop and its cards: what is learned, told and kept apart while devices are polled."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from collector.patience import Seen
from collector.poll import PollLoop
from collector.poll_tools import PollCounters, Tools
from collector.polled import PolledDevice
from collector.raw import Failure, ReadFailed
from tests.collector.test_poll_loop import CHARGE, NORMAL, SOURCE, UPTIME, Fleet, device
from tests.collector.virtual_time import START, run

SILENT = ReadFailed(Failure.TIMEOUT, "no answer")
REFUSED = ReadFailed(Failure.AUTH, "the card knows no such user")


@dataclass
class Cards(Fleet):
    """A fleet that also remembers how it was asked, and shows what `seen` says."""

    seen: Seen | None = None
    manners: list[tuple[int | None, float, float]] = field(default_factory=list)

    async def read(self, address, refs, *, memory, deadline, habits):
        reply = await super().read(address, refs, memory=memory, deadline=deadline, habits=habits)
        if habits is not None:
            self.manners.append((memory.request_size, habits.gap_seconds, deadline))
        return replace(reply, seen=self.seen)

    def news(self):
        return [arrival.card for arrival in self.arrivals if arrival.card is not None]


def seconds_of(at) -> float:
    return (at - START).total_seconds()


def test_a_card_is_asked_as_was_learned_before_and_as_people_set_it():
    known = device(
        patience={"objects": 5, "ceiling": 6, "pause_seconds": 0.2},
        patience_set={"deadline_seconds": 7.0},
    )
    fleet = Cards([known])
    fleet.poll(50)
    assert fleet.manners[0] == (5, 0.2, 7.0)
    assert fleet.news() == []


def test_what_people_set_while_the_loop_runs_is_taken_over():
    fleet = Cards([device(patience={"objects": 30})])

    def set_it():
        fleet.devices[0] = replace(fleet.devices[0], patience_set={"objects": 3})

    fleet.poll(120, then={60: set_it})
    assert {objects for objects, _, _ in fleet.manners} == {10, 3}
    assert fleet.manners[-1][0] == 3


def test_a_pause_that_people_set_between_polls_is_kept_on_battery_too():
    fleet = Cards(
        [device(patience_set={"interval_seconds": 45.0}, is_on_battery=True)],
        {device().address: NORMAL | {SOURCE: 5}},
    )
    fleet.poll(300)
    assert set(fleet.gaps(fleet.devices[0])) == {45}


def test_a_faultless_card_is_trusted_with_more_in_its_first_polls_and_that_is_news():
    fleet = Cards([device(patience={"objects": 3})])
    fleet.poll(150)
    assert [objects for objects, _, _ in fleet.manners][:4] == [3, 6, 10, 10]
    assert [news.patience for news in fleet.news()] == [{"objects": 6}, {"objects": 10}]


def test_what_a_poll_shows_is_learned_and_told():
    fleet = Cards([device(patience={"objects": 30})], seen=Seen(too_big_at=30))
    fleet.poll(50)
    assert fleet.news()[0].patience == {"objects": 15, "ceiling": 30}


def test_a_slow_card_gets_a_longer_deadline():
    async def slowly():
        await asyncio.sleep(1.8)
        return NORMAL

    fleet = Cards([device(patience={"objects": 30})], {device().address: slowly})
    fleet.poll(100)
    deadlines = [deadline for _, _, deadline in fleet.manners]
    assert deadlines[0] == 2.0
    assert deadlines[1] == pytest.approx(3.0)
    assert fleet.news()[0].patience["deadline_seconds"] == pytest.approx(3.0)


def test_a_card_too_slow_for_its_deadline_is_given_a_long_one_now_and_then_and_learned():
    @dataclass
    class Slow(Cards):
        async def read(self, address, refs, *, memory, deadline, habits):
            if deadline < 5.0:
                await asyncio.sleep(deadline)
                raise SILENT
            await asyncio.sleep(4.0)
            return await super().read(
                address, refs, memory=memory, deadline=deadline, habits=habits
            )

    fleet = Slow([device(patience={"objects": 30})])
    fleet.poll(900)
    readings = [arrival for arrival in fleet.arrivals if arrival.reading is not None]
    assert len(readings) > 5
    assert fleet.news()[-1].failure is None
    assert fleet.manners[-1][2] >= 6.0


def test_a_failing_card_is_told_with_the_second_failure_at_a_change_and_when_it_is_read_again():
    fleet = Cards([device(patience={"objects": 30})])
    at = device().address
    fleet.poll(
        700,
        then={
            60: lambda: fleet.values.update({at: SILENT}),
            250: lambda: fleet.values.update({at: REFUSED}),
            500: lambda: fleet.values.pop(at),
        },
    )
    assert [news.failure for news in fleet.news()] == ["timeout", "auth", None]
    first, second, third = fleet.news()
    assert 60 <= seconds_of(first.failing_since_at) < 95
    assert second.failing_since_at == first.failing_since_at
    assert second.failure_detail == "the card knows no such user"
    assert third.failing_since_at is None


def test_one_lost_poll_is_no_news():
    fleet = Cards([device(patience={"objects": 30})])
    at = device().address
    fleet.poll(
        200,
        then={
            60: lambda: fleet.values.update({at: SILENT}),
            85: lambda: fleet.values.pop(at),
        },
    )
    assert fleet.news() == []


def test_a_restart_is_told_with_its_time_and_a_counter_that_began_anew_is_not():
    fleet = Cards(
        [device(patience={"objects": 30})], {device().address: NORMAL | {UPTIME: 2**32 - 3_000}}
    )
    at = device().address
    fleet.poll(
        200,
        then={
            60: lambda: fleet.values.update({at: NORMAL | {UPTIME: 1_000}}),
            150: lambda: fleet.values.update({at: NORMAL | {UPTIME: 500}}),
        },
    )
    (news,) = fleet.news()
    assert 140 < seconds_of(news.restarted_at) < 200


def test_devices_behind_one_endpoint_are_never_polled_at_once():
    async def slowly():
        await asyncio.sleep(0.5)
        return NORMAL

    shared = [
        device(number, address="snmp://192.0.2.9:161", poll_seconds=5) for number in (1, 2, 3)
    ]
    fleet = Cards(shared, {"snmp://192.0.2.9:161": slowly})
    fleet.poll(60)
    assert fleet.most_under_way == 1
    assert len({arrival.device_key for arrival in fleet.arrivals}) == 3


def test_a_device_that_moved_away_waits_for_nobody_there_any_more():
    async def slowly():
        await asyncio.sleep(0.5)
        return NORMAL

    here, there = "snmp://192.0.2.9:161", "snmp://192.0.2.10:161"
    fleet = Cards(
        [device(number, address=here, poll_seconds=1) for number in (1, 2)],
        {here: slowly, there: slowly},
    )

    def move():
        fleet.devices[1] = replace(fleet.devices[1], address=there)
        fleet.most_under_way = 0

    fleet.poll(90, then={30: move})
    assert fleet.most_under_way == 2


@pytest.mark.parametrize(
    ("lives", "kind"), [(True, Failure.AUTH), (False, Failure.TIMEOUT)], ids=["alive", "silent"]
)
def test_a_card_that_ignores_the_community_but_lives_is_suspected_of_other_credentials(lives, kind):
    asked = []

    async def is_alive(address, *, seconds):
        asked.append(address.public)
        return lives

    async def read(address, refs, *, memory, deadline, habits):
        raise SILENT

    async def main(loop):
        polled = PolledDevice(device(), 0.0, on_battery=False)
        tools = Tools(read, None, lambda _: "", loop.now, PollCounters(), is_alive)
        kinds, news = [], []
        for _ in range(3):
            with pytest.raises(ReadFailed) as failed:
                await polled.poll(tools)
            kinds.append(failed.value.kind)
            told = polled.fail(tools, failed.value.kind.value, failed.value.detail)
            news.append(told and told.card and told.card.failure)
        return kinds, news

    kinds, news = run(main)
    assert kinds == [Failure.TIMEOUT, kind, kind]
    assert news == [None, kind.value, None]
    assert len(asked) == (2 if lives else 1)


def test_a_clock_set_back_a_little_does_not_make_readings_late():
    fleet = Cards([device(patience={"objects": 30})])
    back = timedelta()

    async def main(loop):
        nonlocal back
        fleet.time = loop.time
        stop = asyncio.Event()
        loop.call_at(200, stop.set)

        def set_back():
            nonlocal back
            back = timedelta(seconds=90)

        loop.call_at(100, set_back)
        poll_loop = PollLoop(
            load=fleet.load,
            unseal=lambda _: "",
            offer=fleet.offer,
            now=lambda: loop.now() - back,
            read=fleet.read,
            first_meet=fleet.meet,
        )
        await poll_loop.run(stop)

    run(main)
    times = [arrival.reading.observed_at for arrival in fleet.arrivals]
    assert len(times) > 5
    assert times == sorted(times)


def test_a_reading_is_complete_whatever_is_learned_meanwhile():
    fleet = Cards([device()], seen=Seen(lost_at=30))
    fleet.poll(400)
    readings = [arrival.reading for arrival in fleet.arrivals]
    assert all(reading.points["battery_charge"] == NORMAL[CHARGE] for reading in readings[1:])
