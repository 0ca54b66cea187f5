"""Bad frames: from a real socket nothing but a reason within the deadline, whatever the bytes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.address import Framing, ModbusAddress
from collector.raw import CardMemory, Failure, RawReply, ReadFailed, Registers
from collector.readers import modbus
from collector.readers.modbus_frames import (
    LONGEST_STREAM,
    BadFrame,
    Refused,
    Request,
    ask_for,
    ask_who,
    cut_rtu,
    cut_tcp,
    objects_of,
    registers_of,
    with_checksum,
)
from tests.collector.modbus_unit import Unit, checksum, serving

WORDS = {address: address + 1_000 for address in range(200)}
FIRST, FAR = Registers(3, 0, 2), Registers(3, 128, 2)
BITS = Registers(2, 0x100, 9)


def read(unit, refs=(FIRST,), *, deadline=0.4, memory=None):
    framing = Framing.RTU_OVER_TCP if unit.rtu else Framing.TCP

    async def run():
        async with serving(unit) as port:
            address = ModbusAddress("127.0.0.1", port, 1, framing)
            known = CardMemory() if memory is None else memory
            return await modbus.read(address, refs, deadline=deadline, memory=known)

    return asyncio.run(run())


def sent(*chunks):
    """Return a unit's way of answering: these bytes, whatever is asked."""
    return lambda _request, _reply: chunks


# What is wrong, and what the reason must say. The number of the first request is 1.
TCP_CORPUS = {
    "no Modbus at all": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol number"),
    "another protocol": (b"\0\1\0\7\0\3\1\x83\2", "protocol number 7"),
    "no length": (b"\0\1\0\0\0\0\1\3\4\0\0\0\0", "message of 0 bytes"),
    "a huge length": (b"\0\1\0\0\xff\xff\1\3\4\0\0\0\0", "message of 65535 bytes"),
    "half a header": (b"\0\1\0", "broke off after 3 bytes"),
    "half an answer": (b"\0\1\0\0\0\7\1\3\4\3\xe8", "broke off after 11 bytes"),
    "another unit": (b"\0\1\0\0\0\7\2\3\4\3\xe8\3\xe9", "unit 2 answered"),
    "another function": (b"\0\1\0\0\0\7\1\4\4\3\xe8\3\xe9", "function 4 instead of 3"),
    "a function that there is not": (b"\0\1\0\0\0\7\1\x55\4\3\xe8\3\xe9", "function 85"),
    "too few words": (b"\0\1\0\0\0\5\1\3\2\3\xe8", "2 bytes in an answer of 2 words"),
    "an odd count": (b"\0\1\0\0\0\6\1\3\3\3\xe8\3", "3 bytes in an answer of 2 words"),
    "a count that lies": (b"\0\1\0\0\0\7\1\3\xfa\3\xe8\3\xe9", "250 bytes in an answer"),
    "nothing but a function": (b"\0\1\0\0\0\2\1\3", "function 3 instead of 3"),
    "an exception without its code": (b"\0\1\0\0\0\2\1\x83", "function 131"),
    "an exception that is too long": (b"\0\1\0\0\0\4\1\x83\2\2", "function 131"),
    "the number of an earlier request": (b"\0\x09\0\0\0\7\1\3\4\3\xe8\3\xe9", "no answer"),
    "noise without end": (b"\0\x09\0\0\0\xfe" + bytes(254), "no answer"),
}


@pytest.mark.parametrize("what", TCP_CORPUS)
def test_a_bad_tcp_frame_has_its_reason(what):
    frame, reason = TCP_CORPUS[what]
    with pytest.raises(ReadFailed) as failed:
        read(Unit(WORDS, raw=sent(frame)))
    assert reason in failed.value.detail
    assert "\n" not in failed.value.detail
    silent = reason == "no answer"
    assert failed.value.kind is (Failure.TIMEOUT if silent else Failure.MALFORMED)


GOOD = b"\1\3\4\3\xe8\3\xe9"
RTU_CORPUS = {
    "a wrong checksum": (GOOD + b"\0\0", "wrong checksum"),
    "its checksum the wrong way round": (GOOD + checksum(GOOD)[::-1], "wrong checksum"),
    "half an answer": (GOOD[:5], "broke off"),
    "another unit": (b"\2" + GOOD[1:] + checksum(b"\2" + GOOD[1:]), "another request"),
    "our own request": (b"\1\3\0\0\0\2" + checksum(b"\1\3\0\0\0\2"), "(8 bytes)"),
    "too few words": (b"\1\3\2\3\xe8" + checksum(b"\1\3\2\3\xe8"), "2 bytes in an answer"),
    "noise without end": (b"\x55" * (LONGEST_STREAM + 1), "none of them an answer"),
}


@pytest.mark.parametrize("what", RTU_CORPUS)
def test_a_bad_rtu_frame_has_its_reason(what):
    frame, reason = RTU_CORPUS[what]
    with pytest.raises(ReadFailed) as failed:
        read(Unit(WORDS, rtu=True, raw=sent(frame)))
    assert reason in failed.value.detail
    assert failed.value.kind is Failure.MALFORMED


@pytest.mark.parametrize("noise", [b"\0", b"\xff\xff\xff", b"\1", b"\1\3", b"\1\x83\2"])
def test_noise_before_an_rtu_answer_is_skipped(noise):
    unit = Unit(WORDS, rtu=True, raw=lambda _request, reply: [noise + reply])
    assert read(unit).values == {FIRST: (1000, 1001)}


@pytest.mark.parametrize("rtu", [False, True])
def test_an_answer_in_single_bytes_is_put_together(rtu):
    unit = Unit(WORDS, rtu=rtu, raw=lambda _request, reply: [bytes([byte]) for byte in reply])
    assert read(unit).values == {FIRST: (1000, 1001)}


def test_one_spoiled_answer_is_asked_for_again():
    unit = Unit(WORDS, rtu=True)
    unit.raw = lambda _request, reply: (
        [b"\1\3\2\0\0" + checksum(b"\1\3\2\0\0")] if len(unit.requests) == 1 else [reply]
    )
    assert read(unit).values == {FIRST: (1000, 1001)}
    assert len(unit.requests) == 2


def outcome(attempt):
    """Return what an attempt gives and "fine", or nothing and the reason."""
    try:
        return attempt(), "fine"
    except (ReadFailed, BadFrame, Refused) as problem:
        return None, str(problem)


@settings(max_examples=60, deadline=None)
@given(chunks=st.lists(st.binary(max_size=300), max_size=4), rtu=st.booleans())
def test_whatever_a_socket_sends_ends_in_values_or_a_reason(chunks, rtu):
    unit = Unit(WORDS, rtu=rtu, raw=sent(*chunks))
    reply, why = outcome(lambda: read(unit, [FIRST, BITS, "object/0/0"], deadline=0.05))
    assert why
    assert "\n" not in why
    assert reply is None or isinstance(reply, RawReply)


@given(stream=st.binary(max_size=400), number=st.integers(1, 3), unit=st.integers(0, 255))
def test_cutting_never_breaks_and_never_takes_more_than_there_is(stream, number, unit):
    for request in (ask_for(FIRST, unit), ask_for(BITS, unit), ask_who(0, unit)):
        left = bytearray(stream)
        message = cut_rtu(left, request)
        assert (message is None) == (len(left) == len(stream))
        left = bytearray(stream)
        try:
            message = cut_tcp(left, request, number)
        except BadFrame:
            continue
        assert message is None or len(message) < len(stream) - len(left)


@given(message=st.binary(min_size=1, max_size=260), length=st.integers(1, 125))
def test_taking_a_message_apart_gives_what_was_asked_or_a_reason(message, length):
    words, why = outcome(lambda: registers_of(message, Registers(3, 0, length)))
    assert why
    assert words is None or len(words) == length
    found, why = outcome(lambda: objects_of(message))
    assert why
    assert found is None or sum(map(len, found.values())) < len(message)


@given(
    words=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125),
    noise=st.binary(max_size=20),
)
def test_a_proper_answer_is_found_behind_noise(words, noise):
    run = Registers(3, 7, len(words))
    body = b"".join(word.to_bytes(2, "big") for word in words)
    frame = with_checksum(bytes([9, 3, len(body)]) + body)
    message = cut_rtu(bytearray(noise + frame), ask_for(run, 9))
    assert registers_of(message, run) == tuple(words)


def test_requests_are_framed_as_the_standard_shows():
    # Modbus Application Protocol 1.1b3, 6.3: read holding registers 108 to 110.
    request = ask_for(Registers(3, 107, 3), 17)
    assert request == Request(17, 3, bytes.fromhex("03006b0003"))
    assert request.over_tcp(1) == bytes.fromhex("00010000000611 03006b0003")
    assert request.over_rtu() == bytes.fromhex("1103006b00037687")
    # Section 6.21: the basic identification from object 0 on.
    assert ask_who(0, 1).message == bytes.fromhex("2b0e0100")
    assert ask_who(0x87, 1).message == bytes.fromhex("2b0e0387")


# --- What cards bear, and what they want instead


def test_bits_come_as_one_number_the_first_lowest():
    unit = Unit({}, bits={0x100: 1, 0x103: 1, 0x108: 1, 0x109: 1})
    inner = Registers(2, 0x103, 2)
    assert read(unit, [BITS, inner]).values == {BITS: 0b1_0000_1001, inner: 0b01}
    assert unit.requests == [(2, 0x100, 9)]


def test_identification_objects_are_read_after_the_registers():
    unit = Unit(WORDS, objects={135: b"\0\0\0\1", 136: b"1=UPS2000;2=V1"})
    reply = read(unit, ["object/135/136", FIRST, "object/135/140"])
    assert reply.values == {FIRST: (1000, 1001), "object/135/136": b"1=UPS2000;2=V1"}
    assert reply.missing == {"object/135/140"}
    assert [function for function, _, _ in unit.requests] == [3, 43]


@pytest.mark.parametrize("too_long", [2, 3])
def test_a_longer_request_than_the_card_bears_is_halved_and_remembered(too_long):
    unit, memory = Unit(WORDS, longest=26, too_long=too_long), CardMemory()
    refs = [Registers(3, address, 2) for address in range(0, 80, 2)]
    reply = read(unit, refs, memory=memory, deadline=2.0)
    assert len(reply.values) == 40
    assert memory.register_limit is not None
    assert memory.register_limit <= 26
    unit.requests.clear()
    again = read(unit, refs, memory=memory, deadline=2.0)
    assert again.values == reply.values
    assert all(count <= 26 for _, _, count in unit.requests)


@pytest.mark.parametrize(("only", "asked"), [(4, 3), (3, 4)])
def test_a_card_that_knows_only_the_other_register_function_is_asked_by_that(only, asked):
    unit, memory = Unit(WORDS, only_function=only), CardMemory()
    refs = [FIRST._replace(function=asked), FAR._replace(function=asked)]
    assert set(read(unit, refs, memory=memory).values) == set(refs)
    unit.requests.clear()
    read(unit, refs, memory=memory)
    assert {function for function, _, _ in unit.requests} == {only}


def test_a_busy_unit_is_asked_again_within_the_deadline():
    unit = Unit(WORDS, busy=2)
    assert read(unit, deadline=2.0).values == {FIRST: (1000, 1001)}
    assert len(unit.requests) == 3


def test_a_unit_that_stays_busy_is_neither_silent_nor_without_registers():
    with pytest.raises(ReadFailed) as failed:
        read(Unit(WORDS, busy=1_000), deadline=0.5)
    assert failed.value.kind is Failure.BUSY
    assert "device busy" in failed.value.detail
