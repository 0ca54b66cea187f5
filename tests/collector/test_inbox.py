"""What is handed in comes out in order, in batches, and nobody waits for ever."""

import threading
from datetime import UTC, datetime

from collector.arrival import Arrival
from collector.inbox import Inbox

FOR_EVER = 60.0


def arrival(number: int) -> Arrival:
    return Arrival(f"ups-{number}", datetime(2026, 3, 2, 8, 0, tzinfo=UTC), "test", number)


def numbers(batch: list[Arrival]) -> list[int]:
    return [one.device_id for one in batch]


def test_what_is_there_is_taken_in_order_and_in_batches():
    inbox = Inbox(capacity=10, batch=3, linger_seconds=FOR_EVER)
    assert all(inbox.put(arrival(number)) for number in range(5))
    assert numbers(inbox.take(wait_seconds=0.0)) == [0, 1, 2]
    assert numbers(inbox.take(wait_seconds=0.0)) == [3, 4]
    assert inbox.take(wait_seconds=0.0) == []


def test_what_has_piled_up_makes_a_larger_batch():
    inbox = Inbox(capacity=10, batch=3, most=5, linger_seconds=FOR_EVER)
    for number in range(7):
        inbox.put(arrival(number))
    assert numbers(inbox.take(wait_seconds=FOR_EVER)) == [0, 1, 2, 3, 4]
    assert numbers(inbox.take(wait_seconds=0.0)) == [5, 6]


def test_a_full_inbox_takes_nothing_until_some_is_taken_out():
    inbox = Inbox(capacity=2, batch=1, linger_seconds=0.0)
    assert [inbox.put(arrival(number)) for number in range(3)] == [True, True, False]
    assert len(inbox) == 2
    inbox.take(wait_seconds=0.0)
    assert inbox.put(arrival(3))


def test_a_waiting_taker_gets_a_batch_as_soon_as_it_is_full():
    inbox = Inbox(capacity=10, batch=3, linger_seconds=FOR_EVER)
    taken: list[Arrival] = []
    taker = threading.Thread(target=lambda: taken.extend(inbox.take(wait_seconds=FOR_EVER)))
    taker.start()
    for number in range(3):
        inbox.put(arrival(number))
    taker.join(10.0)
    assert numbers(taken) == [0, 1, 2]


def test_a_batch_that_does_not_fill_is_taken_after_a_moment():
    inbox = Inbox(capacity=10, batch=3, linger_seconds=0.01)
    inbox.put(arrival(1))
    assert numbers(inbox.take(wait_seconds=FOR_EVER)) == [1]


def test_closing_ends_the_wait_and_keeps_what_is_in():
    inbox = Inbox(capacity=10, batch=3, linger_seconds=FOR_EVER)
    inbox.put(arrival(1))
    inbox.close()
    assert numbers(inbox.take(wait_seconds=FOR_EVER)) == [1]
    assert inbox.take(wait_seconds=FOR_EVER) == []
