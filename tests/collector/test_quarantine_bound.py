"""Quarantine is bounded by device and day, and says how much it left out."""

from datetime import timedelta

from collector import quarantine_bound
from collector.arrival import Arrival
from collector.quarantine_bound import QuarantineBound
from tests.conftest import NOW


def refused(key: str, count: int = 1):
    return [(Arrival(key, NOW, "mqtt"), "bad_json", None, "no JSON", "{")] * count


def test_one_device_fills_its_share_and_no_more_until_tomorrow():
    bound = QuarantineBound(rows_a_day=3)
    assert len(bound.within(refused("a", 5), NOW)) == 3
    assert bound.within(refused("a"), NOW + timedelta(hours=1)) == []
    assert len(bound.within(refused("b", 2), NOW)) == 2
    assert bound.left_out == 3
    assert len(bound.within(refused("a", 5), NOW + timedelta(days=1))) == 3


def test_strangers_beyond_count_share_one_bucket(monkeypatch):
    monkeypatch.setattr(quarantine_bound, "MOST_KEYS", 2)
    bound = QuarantineBound(rows_a_day=3)
    rows = [row for number in range(10) for row in refused(f"stranger-{number}")]
    assert len(bound.within(rows, NOW)) == 2 + 3
    assert bound.left_out == 5
