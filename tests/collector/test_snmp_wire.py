"""Questions and answers as bytes: what the quick way reads, and what it leaves to the library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.raw import Typed
from collector.readers.snmp_wire import Question, number_for, number_of
from tests.collector.agent import Agent

BASE = "1.3.6.1.4.1.99999.1"
OIDS = tuple(f"{BASE}.{n}.0" for n in range(1, 6))

INTEGERS = st.integers(-(2**31), 2**31 - 1).map(lambda n: Typed("integer", n))
UNSIGNED = st.tuples(st.sampled_from(["gauge", "counter", "ticks"]), st.integers(0, 2**32 - 1))
STRINGS = st.text(max_size=300).map(lambda text: Typed("string", text))
OBJECT_IDS = st.lists(st.integers(0, 2**32 - 1), max_size=20).map(
    lambda arcs: Typed("oid", ".".join(map(str, (1, 3, *arcs))))
)
VALUES = st.one_of(INTEGERS, UNSIGNED.map(lambda pair: Typed(*pair)), STRINGS, OBJECT_IDS)


def asked(question: Question, held: dict[str, Typed], number: int = number_for(7)) -> bytes:
    """Return what an agent that holds these objects answers."""
    (answer,) = Agent(held).answer(question.datagram(number))
    return answer


def plain(value: Typed):
    return value.value.encode() if value.type == "string" else value.value


def read(question: Question, answer: bytes):
    layout = question.layout_of(answer)
    return None if layout is None else list(layout.values(answer))


@given(st.lists(VALUES, min_size=1, max_size=40), st.sampled_from(["1", "2c"]))
def test_whatever_a_card_holds_is_read_as_it_is(values, version):
    held = {f"{BASE}.{n}.0": value for n, value in enumerate(values)}
    question = Question(version, "public", list(held))
    answer = asked(question, held)
    assert number_of(answer) == number_for(7)
    assert read(question, answer) == [plain(value) for value in values]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=5, max_size=5))
def test_a_kept_layout_reads_other_values_rightly_or_not_at_all(pairs):
    question = Question("2c", "public", OIDS)
    first, second = (dict(zip(OIDS, column, strict=True)) for column in zip(*pairs, strict=True))
    layout = question.layout_of(asked(question, first))
    values = layout.values(asked(question, second, number_for(8)))
    assert values is None or list(values) == [plain(value) for value in second.values()]


def test_answers_of_the_same_form_share_a_layout_and_numbers_are_read_by_it():
    question = Question("2c", "public", OIDS)
    layouts = [
        question.layout_of(asked(question, dict.fromkeys(OIDS, Typed("integer", number))))
        for number in (1, 2)
    ]
    assert layouts[0] is layouts[1]
    answer = asked(question, dict.fromkeys(OIDS, Typed("integer", -3)))
    assert list(layouts[0].values(answer)) == [-3] * 5


@given(st.data())
def test_a_damaged_answer_is_no_answer_or_has_a_value_for_each_object(data):
    question = Question("2c", "public", OIDS)
    held = dict.fromkeys(OIDS, Typed("integer", 300)) | {OIDS[2]: Typed("string", "text")}
    answer = bytearray(asked(question, held))
    for _ in range(data.draw(st.integers(1, 4))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    answer = bytes(answer[: data.draw(st.integers(0, len(answer)))])
    assert isinstance(number_of(answer), int)
    values = read(question, answer)
    assert values is None or len(values) == len(OIDS)


@given(st.binary(max_size=200))
def test_any_datagram_is_survived(datagram):
    assert 0 <= number_of(datagram) < 1 << 32
    assert read(Question("2c", "public", OIDS), datagram) is None


@pytest.mark.parametrize(
    "held",
    [
        dict.fromkeys(OIDS[:4], Typed("integer", 1)),
        dict.fromkeys(OIDS, Typed("integer", 1)) | {OIDS[0]: Typed("null", 0)},
    ],
    ids=["no such object", "null"],
)
def test_an_answer_that_lacks_something_is_left_to_the_careful_reader(held):
    question = Question("2c", "public", OIDS)
    assert question.layout_of(asked(question, held)) is None


def test_answers_to_other_questions_are_left_to_the_careful_reader():
    held = dict.fromkeys(OIDS, Typed("integer", 1))
    answer = asked(Question("2c", "public", OIDS), held)
    for other in (
        Question("1", "public", OIDS),
        Question("2c", "private", OIDS),
        Question("2c", "public", OIDS[::-1]),
        Question("2c", "public", OIDS[:4]),
    ):
        assert other.layout_of(answer) is None


def test_an_error_is_left_to_the_careful_reader():
    question = Question("2c", "public", OIDS)
    held = dict.fromkeys(OIDS, Typed("integer", 1))
    (answer,) = Agent(held, most_varbinds=2).answer(question.datagram(number_for(1)))
    assert question.layout_of(answer) is None
