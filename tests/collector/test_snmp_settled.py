"""A card that answered everything is asked the quick way, and with care again once it does not."""

import asyncio

import pytest

from collector.address import SnmpAddress
from collector.raw import CardMemory, Failure, Habits, ReadFailed, Typed, Walk
from collector.readers import snmp
from tests.collector.agent import Agent, serving

BASE = "1.3.6.1.4.1.99999.1"
COUNTER = f"{BASE}.99.0"
WALK = Walk(f"{BASE}.100.1.2", COUNTER)
OIDS = tuple(f"{BASE}.{n}.0" for n in range(1, 13))


def card(**habits) -> Agent:
    return Agent({oid: Typed("integer", n) for n, oid in enumerate(OIDS)}, **habits)


def polls(agent, refs, memory, *, times=1, version="2c", change=None):
    """Read so many times and return the last reply; `change` the agent before that."""

    async def run():
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port, version)
            reply = None
            for turn in range(times):
                if change is not None and turn == times - 1:
                    change()
                agent.requests.clear()
                reply = await snmp.read(
                    address, refs, deadline=2.0, memory=memory, habits=Habits(varbinds=5)
                )
            return reply

    return asyncio.run(run())


@pytest.mark.parametrize("version", ["1", "2c"])
def test_a_settled_card_is_asked_the_same_and_tells_the_same(version):
    agent, memory = card(), CardMemory()
    first = polls(agent, OIDS, memory, version=version)
    assert memory.settled == OIDS
    again = polls(agent, OIDS, memory, version=version)
    assert again == first
    assert [oids for _, oids in agent.requests] == [[*OIDS[:5]], [*OIDS[5:10]], [*OIDS[10:]]]


def test_an_object_that_is_gone_is_missing_and_the_others_come():
    agent, memory = card(), CardMemory()
    reply = polls(agent, OIDS, memory, times=2, change=lambda: agent.objects.pop(OIDS[7]))
    assert set(reply.values) == {*OIDS} - {OIDS[7]}
    assert memory.settled is None


def test_a_table_is_empty_while_its_counter_says_so_and_read_once_it_does_not():
    agent, memory = card(), CardMemory()
    agent.objects[COUNTER] = Typed("gauge", 0)
    reply = polls(agent, (*OIDS, WALK), memory, times=2)
    assert reply.values[WALK] == ()
    assert COUNTER not in reply.values
    assert memory.settled is not None
    raised = Agent(
        agent.objects | {COUNTER: Typed("gauge", 1), f"{WALK.column}.1": Typed("oid", f"{BASE}.7")}
    )
    reply = polls(raised, (*OIDS, WALK), memory)
    assert reply.values[WALK] == (f"{BASE}.7",)


def test_a_card_that_answered_less_than_everything_is_not_settled():
    agent, memory = card(), CardMemory()
    polls(agent, (*OIDS, f"{BASE}.50.0"), memory, times=2)
    assert memory.settled is None


@pytest.mark.parametrize(
    ("habit", "kind"),
    [({"garbage": b"\x30\x03\x02\x01"}, Failure.MALFORMED), ({"silent": True}, Failure.TIMEOUT)],
)
def test_a_settled_card_that_goes_wrong_fails_as_any_other(habit, kind):
    memory = CardMemory()
    polls(card(), OIDS, memory)
    with pytest.raises(ReadFailed) as failed:
        polls(card(**habit), OIDS, memory)
    assert failed.value.kind is kind
    assert memory.settled is None


class Chatterbox(asyncio.DatagramProtocol):
    """Answers each question again and again, never the one that was asked."""

    def connection_made(self, transport):
        self.transport, self.talking = transport, []

    def datagram_received(self, data, address):
        self.talking.append(asyncio.ensure_future(self.talk(data, address)))

    async def talk(self, data, address):
        at = data.index(b"\xa0") + 2  # the request's number follows the request's tag and length
        length = data[at + 1]
        other = data[: at + 2] + bytes(length - 1) + b"\x01" + data[at + 2 + length :]
        while True:
            self.transport.sendto(other.replace(b"\xa0", b"\xa2", 1), address)
            await asyncio.sleep(0.02)


def test_a_card_that_never_stops_talking_of_something_else_is_left_at_the_deadline():
    async def run():
        loop = asyncio.get_running_loop()
        transport, talker = await loop.create_datagram_endpoint(
            Chatterbox, local_addr=("127.0.0.1", 0)
        )
        address = SnmpAddress("127.0.0.1", transport.get_extra_info("sockname")[1], "2c")
        memory = CardMemory(settled=OIDS[:1])
        try:
            async with asyncio.timeout(30):
                with pytest.raises(ReadFailed):
                    await snmp.read(address, OIDS[:1], deadline=0.5, memory=memory)
        finally:
            for talking in talker.talking:
                talking.cancel()
            transport.close()

    asyncio.run(run())
