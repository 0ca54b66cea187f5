"""Server-sent events: each asker hears of what they may see, at once, in order, without gaps."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from tests.service_api.conftest import Doors


class Stream:
    """An open stream, read event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str | None, str, dict]:
        """Return the next event: id, name, data."""
        event: dict[str, str] = {}
        for line in self._lines:
            if line.startswith((":", "retry:")):
                continue
            if not line:
                if event:
                    return event.get("id"), event["event"], json.loads(event["data"])
                continue
            name, _, value = line.partition(": ")
            event[name] = value
        raise AssertionError("the stream ended")

    def next_change(self) -> dict:
        while True:
            _, name, data = self.next()
            if name == "change":
                return data


@contextmanager
def listening(doors: Doors, name: str, last_id: int | None = None) -> Iterator[Stream]:
    headers = {"authorization": doors.api(name).headers["authorization"]}
    if last_id is not None:
        headers["last-event-id"] = str(last_id)
    with httpx.stream("GET", f"{doors.url}/api/v1/events", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer)
        yield stream


def tell(doors: Doors, customer: str | None, ref: int, *, notify: bool = True) -> int:
    with psycopg.connect(doors.database.ingest_dsn) as connection:
        row = connection.execute(
            "INSERT INTO outbox (at, topic, customer_id, ref) VALUES (%s, 'ticket.opened', %s, %s)"
            " RETURNING id",
            (doors.now, doors.fleet.customers[customer] if customer else None, ref),
        ).fetchone()
        if notify:
            connection.execute("NOTIFY ridethrough, 'change'")
    return row[0]


def test_a_change_is_told_with_its_id_and_nothing_but_what_changed(doors: Doors):
    start = tell(doors, "bank", 40)
    with listening(doors, "bank", start) as stream:
        told = tell(doors, "bank", 41)
        change = stream.next_change()
    assert change == {
        "id": told,
        "at": doors.now.isoformat(),
        "topic": "ticket.opened",
        "ref": 41,
    }


def test_a_customer_does_not_hear_of_others(doors: Doors):
    start = tell(doors, "bank", 50)
    with listening(doors, "bank", start) as bank, listening(doors, "desk", start) as desk:
        tell(doors, "mill", 51)
        tell(doors, None, 52)
        tell(doors, "bank", 53)
        assert bank.next_change()["ref"] == 53
        assert [desk.next_change()["ref"] for _ in range(3)] == [51, 52, 53]


def test_a_stream_resumes_behind_the_last_id_without_a_gap(doors: Doors):
    first = tell(doors, "bank", 60)
    for ref in (61, 62, 63):
        tell(doors, "bank", ref)
    with listening(doors, "bank", first) as stream:
        assert [stream.next_change()["ref"] for _ in range(3)] == [61, 62, 63]


def test_a_change_without_a_notification_is_found_by_the_look(doors: Doors):
    start = tell(doors, "bank", 70)
    with listening(doors, "bank", start) as stream:
        tell(doors, "bank", 71, notify=False)
        assert stream.next_change()["ref"] == 71


def test_a_row_that_commits_late_with_a_lower_id_is_not_lost(doors: Doors):
    start = tell(doors, "bank", 80)
    with (
        listening(doors, "bank", start) as stream,
        psycopg.connect(doors.database.ingest_dsn) as slow,
    ):
        slow.execute(
            "INSERT INTO outbox (at, topic, customer_id, ref) VALUES (%s, 'x', %s, 81)",
            (doors.now, doors.fleet.customers["bank"]),
        )
        tell(doors, "bank", 82)
        assert stream.next_change()["ref"] == 82
        slow.execute("NOTIFY ridethrough, 'change'")
        slow.commit()
        assert stream.next_change()["ref"] == 81


def test_readings_are_a_tick_without_an_id(doors: Doors):
    with (
        listening(doors, "desk") as stream,
        psycopg.connect(doors.database.ingest_dsn, autocommit=True) as ingest,
    ):
        for _ in range(5):
            ingest.execute("NOTIFY ridethrough, 'readings'")
        assert stream.next() == (None, "fleet", {})
