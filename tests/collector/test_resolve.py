"""Host names are looked up once in a while, and hold while the name server is away."""

import asyncio
import socket

import pytest

from collector.raw import Failure, ReadFailed
from collector.readers.resolve import BELIEVED_SECONDS, UNKNOWN_SECONDS, Resolver, is_numeric
from tests.collector.virtual_time import run


def served(work, answers):
    """Run `work` with a resolver; `answers` is asked for the address of a name and may raise."""
    asked = []

    async def main(loop):
        async def getaddrinfo(host, port, **_):
            asked.append((host, loop.time()))
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (answers(host), 0))]

        loop.getaddrinfo = getaddrinfo
        return await work(Resolver())

    return run(main), asked


def test_a_name_is_asked_for_once_in_five_minutes():
    async def work(resolver):
        seen = []
        for _ in range(4):
            seen.append(await resolver.address_of("ups.example"))
            await asyncio.sleep(BELIEVED_SECONDS / 2 - 1)
        return seen

    seen, asked = served(work, lambda _: "192.0.2.7")
    assert seen == ["192.0.2.7"] * 4
    assert len(asked) == 2


def test_a_changed_address_is_found_after_a_while():
    addresses = ["192.0.2.7", "192.0.2.8"]

    async def work(resolver):
        first = await resolver.address_of("ups.example")
        await asyncio.sleep(BELIEVED_SECONDS + 1)
        return first, await resolver.address_of("ups.example")

    assert served(work, lambda _: addresses.pop(0))[0] == ("192.0.2.7", "192.0.2.8")


def test_what_was_said_last_holds_while_the_name_server_is_away():
    away = []

    def answer(_):
        if away:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return "192.0.2.7"

    async def work(resolver):
        await resolver.address_of("ups.example")
        away.append(True)
        await asyncio.sleep(BELIEVED_SECONDS + 1)
        return [await resolver.address_of("ups.example") for _ in range(3)]

    seen, asked = served(work, answer)
    assert seen == ["192.0.2.7"] * 3
    assert len(asked) == 2


def test_an_unknown_name_fails_at_once_and_is_tried_again_soon():
    def answer(_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def work(resolver):
        for _ in range(3):
            with pytest.raises(ReadFailed) as failed:
                await resolver.address_of("nobody.example")
            assert failed.value.kind is Failure.UNREACHABLE
            assert "nobody.example" in failed.value.detail
        await asyncio.sleep(UNKNOWN_SECONDS + 1)
        with pytest.raises(ReadFailed):
            await resolver.address_of("nobody.example")

    assert len(served(work, answer)[1]) == 2


def test_an_address_is_known_without_asking_and_a_name_only_while_believed():
    async def work(resolver):
        assert resolver.known("192.0.2.1") == "192.0.2.1"
        assert resolver.known("ups.example") is None
        await resolver.address_of("ups.example")
        believed = resolver.known("ups.example")
        await asyncio.sleep(BELIEVED_SECONDS + 1)
        return believed, resolver.known("ups.example")

    assert served(work, lambda _: "192.0.2.7")[0] == ("192.0.2.7", None)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.0.2.1", True), ("fe80::1%eth0", True), ("2001:db8::7", True), ("ups-1", False)],
)
def test_an_address_is_told_from_a_name(host, expected):
    assert is_numeric(host) is expected
