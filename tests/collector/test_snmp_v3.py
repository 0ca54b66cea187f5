"""Version 3 against a real agent: every algorithm, kept sessions, restarts, and refusals told."""

import asyncio
from dataclasses import replace

import pytest

from collector.address import SNMP_AUTH, SNMP_PRIV, Credentials, SnmpAddress
from collector.raw import CardMemory, Failure, Habits, ReadFailed
from collector.readers import snmp
from collector.readers.snmp_session import KeptSessions, Session
from tests.collector.v3_agent import AUTH_PASSPHRASE, PRIV_PASSPHRASE, V3Agent, user_name

NAME, UPTIME, ABSENT = "1.3.6.1.2.1.1.2.0", "1.3.6.1.2.1.1.3.0", "1.3.6.1.4.1.99999.1.0"


def address_of(auth: str | None = "sha256", priv: str | None = "aes128") -> SnmpAddress:
    secrets = Credentials(
        user_name(auth, priv), AUTH_PASSPHRASE if auth else "", PRIV_PASSPHRASE if priv else ""
    )
    return SnmpAddress("127.0.0.1", 161, "3", auth, priv, secrets)


RIGHT = address_of()


async def ask(agent, address=RIGHT, refs=(NAME, UPTIME), *, memory=None, deadline=3.0):
    return await snmp.read(
        replace(address, port=agent.port),
        refs,
        deadline=deadline,
        memory=CardMemory() if memory is None else memory,
        habits=Habits(),
    )


def with_agent(work, *users):
    """Run a coroutine function with an agent of these users and return what it returns."""

    async def run():
        async with V3Agent(*users) as agent:
            return await work(agent)

    return asyncio.run(run())


@pytest.mark.parametrize("auth", SNMP_AUTH)
def test_every_algorithm_is_spoken(auth):
    async def work(agent):
        return [
            (priv, set((await ask(agent, address_of(auth, priv))).values)) for priv in SNMP_PRIV
        ]

    users = [(auth, priv) for priv in SNMP_PRIV]
    assert with_agent(work, *users) == [(priv, {NAME, UPTIME}) for priv in SNMP_PRIV]


@pytest.mark.parametrize(
    ("auth", "priv"), [(None, None), ("sha512", None)], ids=["no-authentication", "no-privacy"]
)
def test_lower_levels_are_spoken(auth, priv):
    async def work(agent):
        return await ask(agent, address_of(auth, priv))

    assert set(with_agent(work, (auth, priv)).values) == {NAME, UPTIME}


def test_what_a_card_lacks_is_told_from_what_it_has():
    memory = CardMemory()

    async def work(agent):
        return await ask(agent, refs=(NAME, ABSENT), memory=memory)

    reply = with_agent(work)
    assert set(reply.values) == {NAME}
    assert reply.missing == {ABSENT}
    assert memory.engine_id
    assert memory.boots is not None


def test_a_settled_card_is_asked_one_question_a_poll():
    async def work(agent):
        memory = CardMemory()
        await ask(agent, memory=memory)
        before = agent.questions
        for _ in range(5):
            assert len((await ask(agent, memory=memory)).values) == 2
        return agent.questions - before

    assert with_agent(work) == 5


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_restarted_card_is_read_again_in_the_same_poll(is_settled):
    refs = (NAME, UPTIME) if is_settled else (NAME, UPTIME, ABSENT)

    async def work(agent):
        memory = CardMemory()
        await ask(agent, refs=refs, memory=memory)
        memory.absent.clear()
        boots = memory.boots
        agent.restart()
        before = agent.questions
        reply = await ask(agent, refs=refs, memory=memory)
        return reply, memory.boots - boots, agent.questions - before

    reply, boots, questions = with_agent(work)
    assert {NAME, UPTIME} <= set(reply.values)
    assert boots == 1
    assert questions <= 4


def test_another_unit_at_the_same_address_is_read_in_the_same_poll():
    memory = CardMemory()

    async def run():
        async with V3Agent() as first:
            await ask(first, memory=memory)
            port, engine_id = first.port, memory.engine_id
        async with V3Agent(port=port) as second:
            reply = await ask(second, memory=memory)
        return reply, engine_id

    reply, engine_id = asyncio.run(run())
    assert set(reply.values) == {NAME, UPTIME}
    assert memory.engine_id != engine_id


def test_keys_lengthened_the_other_way_are_found_out_and_remembered():
    async def work(agent):
        memory = CardMemory()
        # The address says Blumenthal's way, and the card has Reeder's.
        wrong = replace(
            address_of("sha1", "aes256"),
            credentials=address_of("sha1", "aes256c").credentials,
        )
        first = await ask(agent, wrong, memory=memory)
        assert memory.expansion is not None
        before = agent.questions
        await ask(agent, wrong, memory=memory)
        return first, agent.questions - before

    first, questions = with_agent(work, ("sha1", "aes256c"))
    assert set(first.values) == {NAME, UPTIME}
    assert questions == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"credentials": Credentials("nobody", AUTH_PASSPHRASE, PRIV_PASSPHRASE)}, "no such user"),
        (
            {"credentials": replace(RIGHT.credentials, password="wrong-passphrase")},
            "wrong authentication passphrase",
        ),
        (
            {"credentials": replace(RIGHT.credentials, private_password="wrong-passphrase")},
            "wrong privacy passphrase",
        ),
        ({"auth": "sha1"}, "wrong authentication passphrase or algorithm"),
        ({"priv": "aes256"}, "wrong privacy passphrase or algorithm"),
        ({"auth": None, "priv": None}, "security level"),
    ],
    ids=["user", "authentication", "privacy", "auth-algorithm", "priv-algorithm", "level"],
)
def test_wrong_credentials_are_told_with_the_card_s_reason(wrong, reason):
    async def work(agent):
        with pytest.raises(ReadFailed) as failed:
            await ask(agent, replace(RIGHT, **wrong))
        return failed.value

    failed = with_agent(work)
    assert failed.kind is Failure.AUTH
    assert reason in failed.detail
    assert "wrong-passphrase" not in failed.detail


def test_a_card_that_tells_its_engine_and_then_nothing_is_suspected_of_wrong_credentials():
    async def work(agent):
        agent.drops_encrypted = True
        with pytest.raises(ReadFailed) as failed:
            await ask(agent, deadline=0.6)
        return failed.value

    assert with_agent(work).kind is Failure.AUTH


def test_silence_is_no_refusal():
    async def work(agent):
        agent.is_silent = True
        with pytest.raises(ReadFailed) as failed:
            await ask(agent, deadline=0.4)
        return failed.value

    assert with_agent(work).kind is Failure.TIMEOUT


@pytest.mark.parametrize("is_silent", [False, True])
def test_whether_a_card_that_ignores_a_community_lives_is_asked_in_version_3(is_silent):
    async def work(agent):
        agent.is_silent = is_silent
        return await snmp.answers_discovery(SnmpAddress("127.0.0.1", agent.port, "2c"), seconds=0.5)

    assert with_agent(work) is not is_silent


def test_no_more_sessions_are_kept_than_there_is_room_for_and_each_has_one_user():
    kept = KeptSessions(most=2)
    addresses = [replace(RIGHT, port=port) for port in (1, 2, 3)]
    for address in addresses:
        kept.keep(address, Session(address, "127.0.0.1"))
    assert kept.take(addresses[0], "127.0.0.1") is None
    assert kept.take(addresses[2], "127.0.0.1") is not None
    assert kept.take(addresses[2], "127.0.0.1") is None
    assert kept.take(addresses[1], "127.0.0.2") is None
