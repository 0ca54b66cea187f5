"""Counters of a process as Prometheus reads them."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from service_api.metrics import Watched


@dataclass
class Counters:
    polls: int = 0
    devices: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    last_commit_at: datetime | None = None


def shown(watched):
    registry = CollectorRegistry()
    registry.register(watched)
    text = generate_latest(registry).decode()
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_numbers_gauges_mappings_and_instants_become_metrics():
    watched, counters = Watched(), Counters(7, 3, Counter(timeout=2, auth=1))
    counters.last_commit_at = datetime(2026, 3, 2, tzinfo=UTC)
    with watched.showing("poll", lambda: counters):
        assert shown(watched) == {
            "ridethrough_poll_polls_total 7.0",
            "ridethrough_poll_devices 3.0",
            'ridethrough_poll_failures_total{kind="auth"} 1.0',
            'ridethrough_poll_failures_total{kind="timeout"} 2.0',
            "ridethrough_poll_last_commit_seconds 1.7724096e+09",
        }
        counters.polls += 1
        assert "ridethrough_poll_polls_total 8.0" in shown(watched)
    assert shown(watched) == set()


def test_two_of_a_kind_are_added_up():
    watched = Watched()
    with (
        watched.showing("poll", lambda: Counters(1, 1, Counter(auth=1))),
        watched.showing("poll", lambda: Counters(2, 5, Counter(auth=2, timeout=4))),
    ):
        told = shown(watched)
    assert "ridethrough_poll_polls_total 3.0" in told
    assert "ridethrough_poll_devices 6.0" in told
    assert 'ridethrough_poll_failures_total{kind="auth"} 3.0' in told
