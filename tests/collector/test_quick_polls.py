"""The loop with settled cards: asked through an exchange, in virtual time."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

from collector.convert import Decoded
from collector.identify_snmp import Identified
from collector.plan import plan_for
from collector.poll import PollLoop
from collector.probe import Met
from collector.profile import profiles
from collector.raw import Failure, RawReply, ReadFailed
from collector.readers.snmp_quick import Unheard
from collector.store import KnownDevice
from rules.facts import Identity
from tests.collector.virtual_time import run

UPTIME = "1.3.6.1.2.1.1.3.0"
CHARGE = "1.3.6.1.2.1.33.1.2.4.0"
PROFILE = profiles()["rfc1628"]
WHOLE = plan_for(PROFILE)
PLAN = plan_for(PROFILE, 1, frozenset(WHOLE.fast_refs) - {CHARGE})


def device(number: int) -> KnownDevice:
    return KnownDevice(
        device_id=number,
        key=f"u{number}",
        protocol="snmp",
        address=f"snmp://192.0.2.{number}",
        sealed_credentials=None,
        profile="rfc1628",
        poll_seconds=30.0,
        deadline_seconds=2.0,
        is_on_battery=False,
    )


@dataclass
class Cards:
    """Cards that answer with care and without; `told` is what one says to a quick question."""

    count: int = 1
    told: object = None
    is_dead: bool = False
    is_full: bool = False
    under_way: int = 0
    careful: list[float] = field(default_factory=list)
    quick: list[float] = field(default_factory=list)
    knocks: list[float] = field(default_factory=list)
    arrivals: list = field(default_factory=list)

    async def read(self, address, refs, *, memory, deadline, habits):
        self.careful.append(self.time())
        await asyncio.sleep(0.01)
        if self.is_dead:
            raise ReadFailed(Failure.TIMEOUT, "no answer")
        values = {UPTIME: 100, CHARGE: 90}
        return RawReply({ref: value for ref, value in values.items() if ref in refs})

    async def meet(self, address, profile, *, memory):
        return Met(Identified("rfc1628", ()), PLAN, Identity("Maker"), Decoded({}), ())

    def ask(self, card, heard):
        is_knock = card.questions.names == (UPTIME,)
        (self.knocks if is_knock else self.quick).append(self.time())
        self.under_way += 1

        def answer():
            self.under_way -= 1
            if self.is_dead:
                heard(Unheard.SILENCE)
            else:
                values = dict.fromkeys(card.questions.names, 80) | {UPTIME: 100}
                heard(self.told or values)

        asyncio.get_running_loop().call_later(2.0 if self.is_dead else 0.01, answer)
        return True

    def close(self):
        pass

    def offer(self, arrival):
        self.arrivals.append(arrival)
        return True

    def poll(self, seconds, then=None):
        async def main(loop):
            self.time = loop.time
            stop = asyncio.Event()
            loop.call_at(seconds, stop.set)
            for at, action in (then or {}).items():
                loop.call_at(at, action)
            poll_loop = PollLoop(
                load=lambda: [device(number) for number in range(1, self.count + 1)],
                unseal=lambda _: "",
                offer=self.offer,
                now=loop.now,
                read=self.read,
                first_meet=self.meet,
                exchange=self,
            )
            await poll_loop.run(stop)
            return poll_loop.counters

        return run(main)


def test_a_card_that_answers_everything_is_soon_asked_without_care_in_the_same_rhythm():
    cards = Cards()
    cards.poll(1_000)
    assert len(cards.quick) > 20
    assert {round(later - earlier) for earlier, later in pairwise(cards.quick[-10:])} == {30}
    assert max(cards.careful) < min(cards.quick[-10:])
    assert cards.arrivals[-1].reading.points["battery_charge"] == 80


def test_a_new_card_is_met_only_once_it_answers():
    cards = Cards(is_dead=True)
    cards.poll(2_000, {900: lambda: setattr(cards, "is_dead", False)})
    silent = [at for at in cards.careful if at < 900]
    assert len(silent) == 1  # the second look, to tell what is wrong
    assert len([at for at in cards.knocks if at < 900]) > 3
    assert cards.arrivals[-1].reading is not None


def test_a_settled_card_that_falls_silent_backs_off_and_comes_back():
    cards = Cards()
    counters = cards.poll(
        6_000,
        {
            1_000: lambda: setattr(cards, "is_dead", True),
            4_000: lambda: setattr(cards, "is_dead", False),
        },
    )
    dead = [at for at in cards.knocks if 1_000 < at < 4_000]
    assert 5 < len(dead) < 30
    assert counters.unreachable == 0
    assert counters.failures["timeout"] >= len(dead)
    assert max(cards.quick) > 5_900


def test_an_odd_answer_is_looked_at_with_care_at_once_and_the_poll_is_not_lost():
    cards = Cards()
    counters = cards.poll(2_000, {1_000: lambda: setattr(cards, "told", Unheard.ODD)})
    odd = [at for at in cards.quick if at > 1_000]
    assert len(odd) == 2  # then only with care, for an hour
    assert all(any(0 <= at - one < 0.1 for at in cards.careful) for one in odd)
    assert counters.failures == {}
    readings = [a for a in cards.arrivals if a.reading is not None]
    assert len(readings) >= 65


def test_nothing_is_begun_while_the_exchange_is_full_and_all_goes_on_then():
    cards = Cards(count=5)
    cards.poll(
        1_000,
        {
            500: lambda: setattr(cards, "is_full", True),
            700: lambda: setattr(cards, "is_full", False),
        },
    )
    assert not [at for at in cards.quick if 501 < at < 699]
    assert max(cards.quick) > 960
