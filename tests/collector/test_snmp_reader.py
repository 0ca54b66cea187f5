import asyncio
import contextlib
import itertools
import random
import socket

import pytest

from collector.address import Credentials, SnmpAddress
from collector.patience import Seen
from collector.raw import CardMemory, Failure, Habits, ReadFailed, Typed, Walk
from collector.readers import snmp
from tests.collector.agent import Agent, serving

BASE = "1.3.6.1.4.1.99999.1"
NAME = "1.3.6.1.2.1.1.2.0"
OBJECTS = {f"{BASE}.{n}.0": Typed("integer", n) for n in range(1, 41)}
OBJECTS[NAME] = Typed("oid", BASE)
TABLE = {f"{BASE}.100.1.2.{n}": Typed("oid", f"{BASE}.7.{n}") for n in (3, 5, 9)}
COUNTER = f"{BASE}.99.0"
WALK = Walk(f"{BASE}.100.1.2", COUNTER)


def read(agent, refs, *, memory=None, version="2c", deadline=2.0, habits=None):
    memory = CardMemory() if memory is None else memory

    async def run():
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port, version)
            return await snmp.read(address, refs, deadline=deadline, memory=memory, habits=habits)

    return asyncio.run(run())


@pytest.mark.parametrize("version", ["1", "2c"])
def test_values_come_with_their_types(version):
    agent = Agent(
        {
            f"{BASE}.1.0": Typed("integer", -5),
            f"{BASE}.2.0": Typed("gauge", 4_294_967_295),
            f"{BASE}.3.0": Typed("ticks", 456_000),
            f"{BASE}.4.0": Typed("string", "Model"),
            f"{BASE}.5.0": Typed("oid", f"{BASE}.1"),
        }
    )
    reply = read(agent, agent.objects, version=version)
    assert [*reply.values.values()] == [-5, 4_294_967_295, 456_000, b"Model", f"{BASE}.1"]
    assert reply.missing == frozenset()
    assert reply.problems == ()


@pytest.mark.parametrize("version", ["1", "2c"])
def test_what_is_absent_is_found_out_and_not_asked_again(version):
    agent, memory = Agent(OBJECTS), CardMemory()
    absent = {f"{BASE}.{n}.0" for n in (50, 51, 60)}
    wanted = [*OBJECTS, *absent]
    reply = read(agent, wanted, memory=memory, version=version)
    assert reply.missing == absent
    assert len(reply.values) == len(OBJECTS)
    agent.requests.clear()
    again = read(agent, wanted, memory=memory, version=version)
    assert again.values == reply.values
    assert not absent.intersection(oid for _, oids in agent.requests for oid in oids)


def test_what_is_absent_is_asked_again_after_a_day():
    memory = CardMemory()
    read(Agent(OBJECTS), [*OBJECTS, f"{BASE}.50.0"], memory=memory)
    (until,) = memory.absent.values()
    memory.forget(until - 1)
    assert memory.absent
    memory.forget(until)
    assert not memory.absent


def test_what_a_card_once_had_is_asked_for_ever():
    memory = CardMemory()
    read(Agent(OBJECTS), OBJECTS, memory=memory)
    reply = read(Agent({NAME: OBJECTS[NAME]}), OBJECTS, memory=memory)
    assert len(reply.missing) == len(OBJECTS) - 1
    assert not memory.absent
    assert len(read(Agent(OBJECTS), OBJECTS, memory=memory).values) == len(OBJECTS)


@pytest.mark.parametrize("version", ["1", "2c"])
def test_an_answer_too_big_is_asked_for_in_parts(version):
    agent = Agent(OBJECTS, most_varbinds=7)
    reply = read(agent, OBJECTS, version=version)
    assert len(reply.values) == len(OBJECTS)


def test_a_card_that_drops_long_requests_is_read_all_the_same_and_says_how_long_they_may_be():
    agent, memory = Agent(OBJECTS, most_varbinds=16, drops_long=True), CardMemory(request_size=40)
    reply = read(agent, OBJECTS, memory=memory, deadline=4.0, habits=Habits(varbinds=40))
    assert len(reply.values) == len(OBJECTS)
    assert reply.seen == Seen(lost_at=20)
    assert memory.strikes == 1
    agent.requests.clear()
    memory.request_size = 10
    reply = read(agent, OBJECTS, memory=memory)
    assert max(len(oids) for _, oids in agent.requests) <= 10
    assert reply.seen is None
    assert memory.strikes == 0


@pytest.mark.parametrize("version", ["1", "2c"])
def test_what_a_card_calls_too_big_is_noticed_as_such(version):
    agent = Agent(OBJECTS, most_varbinds=7)
    reply = read(agent, OBJECTS, version=version)
    assert reply.seen is not None
    assert reply.seen.too_big_at == 10


def test_an_unknown_card_is_asked_modestly():
    agent = Agent(OBJECTS)
    read(agent, OBJECTS)
    assert max(len(oids) for _, oids in agent.requests) == 10


class Hurried(Agent):
    """Drops its second request, though it had just answered one as long."""

    def answer(self, datagram):
        answers = super().answer(datagram)
        return [] if len(self.requests) == 2 else answers


def test_a_request_lost_after_one_as_long_was_answered_tells_of_hurry_and_not_of_size():
    reply = read(Hurried(OBJECTS), OBJECTS, deadline=4.0)
    assert len(reply.values) == len(OBJECTS)
    assert reply.seen == Seen(hurried=True)


class WithoutBulk(Agent):
    """Does not answer GETBULK at all."""

    def answer(self, datagram):
        answers = super().answer(datagram)
        return [] if self.requests[-1][0] == 0xA5 else answers


def test_a_card_that_does_not_bear_getbulk_is_read_without_and_says_so():
    agent, memory = WithoutBulk(OBJECTS | TABLE | {COUNTER: Typed("gauge", 3)}), CardMemory()
    reply = read(agent, [NAME, WALK], memory=memory, deadline=4.0)
    assert len(reply.values[WALK]) == 3
    assert reply.seen == Seen(bulk_failed=True)
    again = read(agent, [NAME, WALK], memory=memory, habits=Habits(bulk=False))
    assert again.seen is None


def test_a_pause_between_requests_is_kept():
    agent, times = Agent(OBJECTS), []
    answer = agent.answer

    def timed(datagram):
        times.append(asyncio.get_running_loop().time())
        return answer(datagram)

    agent.answer = timed
    read(agent, OBJECTS, habits=Habits(gap_seconds=0.05))
    assert len(times) > 3
    assert min(later - sooner for sooner, later in itertools.pairwise(times)) >= 0.045


def test_one_absent_object_costs_version_1_one_more_request():
    agent = Agent(OBJECTS)
    reply = read(agent, [*OBJECTS, f"{BASE}.50.0"], version="1", habits=Habits(varbinds=5))
    assert reply.missing == {f"{BASE}.50.0"}
    assert len(agent.requests) <= len(OBJECTS) // 5 + 2


def test_a_short_answer_is_completed():
    reply = read(Agent(OBJECTS, cuts_at=3), OBJECTS)
    assert len(reply.values) == len(OBJECTS)
    assert reply.missing == frozenset()


@pytest.mark.parametrize(("version", "bulk"), [("1", True), ("2c", True), ("2c", False)])
def test_a_table_is_read_row_by_row(version, bulk):
    agent = Agent(OBJECTS | TABLE | {COUNTER: Typed("gauge", 3)})
    reply = read(agent, [WALK], version=version, habits=Habits(bulk=bulk))
    assert reply.values == {WALK: tuple(f"{BASE}.7.{n}" for n in (3, 5, 9))}


def test_a_table_at_the_end_of_everything_ends():
    agent = Agent(TABLE | {COUNTER: Typed("gauge", 3)})
    for version in ("1", "2c"):
        assert len(read(agent, [WALK], version=version).values[WALK]) == 3


def test_an_empty_table_is_not_walked():
    agent = Agent(OBJECTS | {COUNTER: Typed("gauge", 0)})
    assert read(agent, [WALK]).values == {WALK: ()}
    assert [kind for kind, _ in agent.requests] == [0xA0]


def test_a_table_that_is_not_there_is_absent_and_not_empty():
    reply = read(Agent(OBJECTS), [WALK, NAME])
    assert WALK not in reply.values
    assert WALK in reply.missing


def test_an_endless_table_is_read_to_a_bound():
    rows = {f"{BASE}.100.1.2.{n}": Typed("oid", f"{BASE}.7.1") for n in range(1, 400)}
    reply = read(Agent(rows | {COUNTER: Typed("gauge", 399)}), [WALK])
    assert len(reply.values[WALK]) == 64
    assert "first 64 rows" in reply.problems[0]


@pytest.mark.parametrize(
    "garbage", [b"", b"hello", b"\x30\x82\xff\xff", bytes(200), b"\x30\x03\x02\x01\x01"]
)
def test_a_malformed_answer_fails_that_read_only(garbage):
    with pytest.raises(ReadFailed) as failed:
        read(Agent(OBJECTS, garbage=garbage), OBJECTS, deadline=1.0)
    assert failed.value.kind in (Failure.MALFORMED, Failure.TIMEOUT)
    assert "\n" not in failed.value.detail


def test_a_silent_host_fails_in_time_with_one_line():
    with pytest.raises(ReadFailed) as failed:
        read(Agent(OBJECTS, silent=True), OBJECTS, deadline=0.4)
    assert failed.value.kind is Failure.TIMEOUT
    assert "no answer from snmp://127.0.0.1" in failed.value.detail
    assert "public" not in failed.value.detail


def test_a_silent_card_is_not_learned_from():
    memory = CardMemory()
    for _ in range(3):
        with pytest.raises(ReadFailed):
            read(Agent(OBJECTS, silent=True), OBJECTS, deadline=0.3, memory=memory)
    assert memory == CardMemory()


def test_a_closed_port_fails_with_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = SnmpAddress("127.0.0.1", free.getsockname()[1])
    with pytest.raises(ReadFailed):
        asyncio.run(snmp.read(address, [NAME], deadline=0.4, memory=CardMemory()))


def test_an_unknown_host_name_fails_with_one_line():
    address = SnmpAddress("no-such-host.invalid")
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(snmp.read(address, [NAME], deadline=5, memory=CardMemory()))
    assert failed.value.kind is Failure.UNREACHABLE


def test_a_late_answer_is_not_taken_for_another_request():
    # The agent answers each request only when the next one comes.
    agent = Agent(OBJECTS, late=1)
    with contextlib.suppress(ReadFailed):
        reply = read(agent, OBJECTS, deadline=1.0, habits=Habits(varbinds=10))
        right = {ref: OBJECTS[ref].value for ref in reply.values}
        assert reply.values == right
    assert len(agent.requests) > 1


def test_cells_at_odd_instances_are_found_and_read():
    column = f"{BASE}.200.1.2"
    cells = tuple(f"{column}.{n}" for n in (1, 2, 3))
    agent = Agent(OBJECTS | {f"{column}.{n}.0": Typed("integer", 230 + n) for n in (1, 2, 3)})
    memory = CardMemory()

    async def run():
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port)
            await snmp.read(address, [NAME, *cells], deadline=2, memory=memory)
            found = await snmp.find_cells(address, {column: cells}, deadline=2, memory=memory)
            return found, await snmp.read(address, cells, deadline=2, memory=memory)

    found, reply = asyncio.run(run())
    assert found == 3
    assert [reply.values[cell] for cell in cells] == [231, 232, 233]


def test_credentials_stay_out_of_failures():
    address = SnmpAddress("127.0.0.1", 1, credentials=Credentials("tulip"))
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(snmp.read(address, [NAME], deadline=0.3, memory=CardMemory()))
    assert "tulip" not in f"{failed.value!r} {failed.value}"


class Garbling(Agent):
    """Answers properly, save for some bytes."""

    def answer(self, datagram):
        garbled = []
        for proper in super().answer(datagram):
            reply = bytearray(proper)
            for _ in range(self.chance.choice((1, 1, 2, 3))):
                reply[self.chance.randrange(len(reply))] = self.chance.randrange(256)
            garbled.append(bytes(reply))
        return garbled


def test_answers_with_any_bytes_wrong_surprise_nobody():
    """On some the decoder, written in Rust, panics: that is no Exception, and must not pass."""
    column = f"{BASE}.200.1.2"
    agent = Garbling(OBJECTS | {f"{column}.1.0": Typed("integer", 230)})

    async def run():
        failures, found = 0, 0
        async with serving(agent) as port:
            address = SnmpAddress("127.0.0.1", port, "2c")
            for seed in range(80):
                agent.chance = random.Random(seed)
                memory = CardMemory(absent={f"{column}.1": float("inf")})
                found += await snmp.find_cells(
                    address, {column: [f"{column}.1"]}, deadline=0.1, memory=memory
                )
                try:
                    await snmp.read(address, [NAME], deadline=0.1, memory=CardMemory())
                except ReadFailed:
                    failures += 1
        return failures, found

    failures, found = asyncio.run(run())
    assert 0 < failures < 80
    assert found < 80


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize(
    ("nulls", "rows"),
    [
        ([1], [2, 3]),
        ([2, 4, 6], [1, 3, 5]),
        (range(1, 12), [12]),
        (range(2, 40), [1, 40]),
        ([*range(5, 24), 41], [1, 2, 3, 4, 40]),
        (range(1, 30), []),
    ],
)
def test_rows_behind_rows_that_are_null_are_read(nulls, rows, version, bulk):
    agent = Agent(
        {f"{WALK.column}.{n}": Typed("null", 0) for n in nulls}
        | {f"{WALK.column}.{n}": Typed("integer", n) for n in rows}
        | {NAME: Typed("oid", BASE), f"{BASE}.200.0": Typed("integer", 7)}
    )
    walk = Walk(WALK.column, None)
    reply = read(agent, [NAME, walk], version=version, habits=Habits(bulk=bulk))
    assert reply.values.get(walk, ()) == tuple(rows)
    assert reply.problems == ()


def test_a_table_of_nothing_but_null_has_a_bound():
    agent = Agent(
        {f"{WALK.column}.{n}": Typed("null", 0) for n in range(1, 500)} | {NAME: Typed("oid", BASE)}
    )
    reply = read(agent, [NAME, Walk(WALK.column, None)])
    assert reply.values == {NAME: BASE}
    assert len(agent.requests) < 80
