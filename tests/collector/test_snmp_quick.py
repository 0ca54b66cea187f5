"""Settled cards over real sockets: asked the quick way, and what is told when they are odd."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from collector.address import Credentials, SnmpAddress
from collector.raw import CardMemory, Habits, RawReply, Typed, Walk
from collector.readers import snmp
from collector.readers.snmp_quick import Exchange, Unheard, knocking, settled_card
from tests.collector.agent import Agent, serving

BASE = "1.3.6.1.4.1.99999.1"
COUNTER = f"{BASE}.99.0"
WALK = Walk(f"{BASE}.100.1.2", COUNTER)
OIDS = tuple(f"{BASE}.{n}.0" for n in range(1, 13))
HABITS = Habits(varbinds=5)


def card(**habits) -> Agent:
    return Agent({oid: Typed("integer", n) for n, oid in enumerate(OIDS)}, **habits)


class Asker:
    """Reads an agent with care, and then again the quick way."""

    def __init__(self, port: int, version: str) -> None:
        self.address = SnmpAddress("127.0.0.1", port, version, Credentials("public"))
        self.memory = CardMemory()
        self.exchange = Exchange()

    async def settle(self, refs, *, times=1, patience=5.0):
        for _ in range(times):
            self.reply = await snmp.read(
                self.address, refs, deadline=5.0, memory=self.memory, habits=HABITS
            )
        return settled_card(
            self.address, refs, self.reply, memory=self.memory, habits=HABITS, patience=patience
        )

    async def ask(self, settled):
        heard = asyncio.get_running_loop().create_future()
        assert self.exchange.ask(settled, heard.set_result)
        return await asyncio.wait_for(heard, 30)


@asynccontextmanager
async def asking(agent: Agent, version: str = "2c"):
    async with serving(agent) as port:
        asker = Asker(port, version)
        try:
            yield asker
        finally:
            asker.exchange.close()


@pytest.mark.parametrize("version", ["1", "2c"])
def test_a_settled_card_is_asked_the_same_and_tells_the_same(version):
    async def run():
        agent = card()
        async with asking(agent, version) as asker:
            settled = await asker.settle(OIDS)
            for _ in range(3):
                agent.requests.clear()
                assert await asker.ask(settled) == asker.reply.values
                asked = [oids for _, oids in agent.requests]
                assert asked == [[*OIDS[:5]], [*OIDS[5:10]], [*OIDS[10:]]]

    asyncio.run(run())


def test_values_that_take_more_bytes_than_before_are_read():
    async def run():
        agent = card()
        async with asking(agent) as asker:
            settled = await asker.settle(OIDS)
            for value in (1, 200, 70_000, -1, 200):
                agent.objects[OIDS[6]] = Typed("integer", value)
                assert (await asker.ask(settled))[OIDS[6]] == value

    asyncio.run(run())


def test_what_a_card_is_known_to_lack_is_left_out():
    async def run():
        async with asking(card()) as asker:
            refs = (*OIDS, f"{BASE}.50.0")
            assert await asker.settle(refs) is None
            settled = await asker.settle(refs)
            assert set(await asker.ask(settled)) == set(OIDS)
            assert settled.until == asker.memory.forget_at

    asyncio.run(run())


def test_an_object_that_is_gone_is_odd():
    async def run():
        agent = card()
        async with asking(agent) as asker:
            settled = await asker.settle(OIDS)
            del agent.objects[OIDS[7]]
            assert await asker.ask(settled) is Unheard.ODD
            assert asker.exchange.under_way == 0

    asyncio.run(run())


def test_a_table_is_empty_while_its_counter_says_so_and_odd_once_it_does_not():
    async def run():
        agent = card()
        agent.objects[COUNTER] = Typed("gauge", 0)
        async with asking(agent) as asker:
            settled = await asker.settle((*OIDS, WALK))
            told = await asker.ask(settled)
            assert told[WALK] == ()
            assert COUNTER not in told
            agent.objects[COUNTER] = Typed("gauge", 1)
            assert await asker.ask(settled) is Unheard.ODD

    asyncio.run(run())


def test_cells_at_odd_instances_are_asked_where_they_are():
    async def run():
        agent = card()
        agent.objects[f"{BASE}.60.1.0"] = Typed("integer", 7)
        async with asking(agent) as asker:
            asker.memory.aliases[f"{BASE}.60.1"] = f"{BASE}.60.1.0"
            settled = await asker.settle((*OIDS, f"{BASE}.60.1"))
            assert (await asker.ask(settled))[f"{BASE}.60.1"] == 7

    asyncio.run(run())


@pytest.mark.parametrize(
    ("habits", "told"), [({"silent": True}, Unheard.SILENCE), ({"garbage": b"\x30\x03"}, None)]
)
def test_silence_and_garbage_end_when_patience_does(habits, told):
    async def run():
        agent = card()
        async with asking(agent) as asker:
            settled = await asker.settle(OIDS, patience=0.2)
            for name, value in habits.items():
                setattr(agent, name, value)
            assert await asker.ask(settled) is (told or Unheard.SILENCE)
            assert asker.exchange.under_way == 0

    asyncio.run(run())


def test_an_answer_from_elsewhere_is_no_answer():
    async def run():
        async with asking(card()) as asker:
            settled = await asker.settle(OIDS, patience=0.2)
            settled.where = ("127.0.0.2", settled.where[1])
            assert await asker.ask(settled) is Unheard.SILENCE

    asyncio.run(run())


def test_many_cards_are_asked_at_once_as_far_as_there_is_room():
    async def run():
        async with asking(card()) as asker:
            settled = await asker.settle(OIDS, patience=1.0)
            heard, all_heard = [], asyncio.Event()

            def hear(told):
                heard.append(told)
                if not asker.exchange.under_way:
                    all_heard.set()

            asked = 0
            while asker.exchange.ask(settled, hear):
                asked += 1
            assert asker.exchange.is_full
            assert asked == asker.exchange.under_way > 16
            await asyncio.wait_for(all_heard.wait(), 60)
            assert len(heard) == asked
            # The one agent's buffer may be too small for so many.
            assert all(told in (asker.reply.values, Unheard.SILENCE) for told in heard)
            assert asker.reply.values in heard

    asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        SnmpAddress("ups.example", 161, "2c"),
        SnmpAddress("::1", 161, "2c"),
        SnmpAddress("127.0.0.1", 161, "3"),
    ],
)
def test_names_other_protocols_and_version_3_are_read_with_care(address):
    reply = RawReply(dict.fromkeys(OIDS, 1))
    assert knocking(address, OIDS[0], patience=1.0) is None
    memory = CardMemory()
    assert settled_card(address, OIDS, reply, memory=memory, habits=HABITS, patience=1.0) is None
