"""The highest rate at which every poll keeps its deadline, and what a dead half of the fleet costs.

A fleet is polled ever faster until polls are late or missing; the last good rate is then held for
two minutes. A poll has kept its deadline when its row is there and came no later after the one
before than the rhythm and the deadline allow. What the responder uses is told apart: it shares the
machine, and none of its CPU is ours.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from bench import card
from bench.figures import Figure, at_least, at_most
from bench.processes import cpu_seconds, resident_bytes_of_tree
from bench.responder import Responder, responding
from bench.stage import Stage, wait_until

FLEETS = (1_000, 10_000)
WORKERS = 2
SUSTAINED_SECONDS = 120.0
DEADLINE_SECONDS = 2.0

_RATES = (500, 1_000, 2_000, 3_000, 3_500, 4_000, 4_500, 5_000, 5_500, 6_000, 7_000, 8_000)
_STEP_SECONDS = 10.0
_RELOAD_SECONDS = 14.0  # devices are loaded anew every 10 s
_CALM_POLL_SECONDS = 20.0
_MEETING_SECONDS = 900.0
_LEARNING_SECONDS = 60.0
_LOST_SHARE = 0.05
_READINGS_A_DAY = 86_400 / 30


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a stretch of time; costs are CPU seconds."""

    seconds: float
    polls: int
    late: int
    missing: int
    daemon: float
    postgres: float
    responder: float

    @property
    def is_kept(self) -> bool:
        """Whether every poll kept its deadline."""
        return self.late == 0 and self.missing == 0

    @property
    def rate(self) -> float:
        """Polls a second."""
        return self.polls / self.seconds

    @property
    def polls_a_cpu_second(self) -> float:
        """Polls a CPU second, PostgreSQL's counted."""
        return self.polls / (self.daemon + self.postgres)


def measure(stage: Stage) -> list[Figure]:
    """Return the highest rates of both fleets, their cost, and the rate beside a dead half."""
    figures: list[Figure] = []
    for count in FLEETS:
        with _polled(stage, count) as fleet:
            best = fleet.highest()
            figures += _figures(count, best)
            if count == FLEETS[-1]:
                figures.append(
                    at_least(
                        "full polls a second, two cores, every deadline kept", best.rate, "", 5_000
                    )
                )
                figures.append(
                    Figure(
                        f"memory of the {WORKERS} daemon processes, {count:,} devices",
                        fleet.memory / 1e6,
                        "MB",
                    )
                )
                figures.append(fleet.beside_dead(best.rate * 0.6))
                figures.append(
                    Figure(
                        "disk of readings, raw, per 1,000 units and day at 30 s",
                        stage.bytes_a_reading() * 1_000 * _READINGS_A_DAY / 1e6,
                        "MB",
                    )
                )
    return figures


def _figures(count: int, best: Window) -> list[Figure]:
    name = f"{count:,} devices"
    return [
        Figure(f"{name}: polls sustained {best.seconds:.0f} s, all in time", best.rate, "per s"),
        Figure(f"{name}: polls, PostgreSQL's CPU added", best.polls_a_cpu_second, "per CPU-s"),
        at_least(
            f"{name}: values, PostgreSQL's CPU added",
            best.polls_a_cpu_second * card.OBJECTS,
            "per CPU-s",
            100_000,
        ),
        Figure(f"{name}: CPU of PostgreSQL", best.postgres / best.polls * 1e6, "µs a poll"),
        Figure(
            f"{name}: CPU of the responder (in no other figure)",
            best.responder / best.polls * 1e6,
            "µs a poll",
        ),
    ]


@contextmanager
def _polled(stage: Stage, count: int) -> Iterator["_Fleet"]:
    """Run a daemon that has met a fleet of so many devices and learned how they are asked."""
    with responding(card.held(), count) as agent:
        stage.register(
            [f"snmp://{host}:{agent.port}" for host in agent.hosts],
            protocol="snmp",
            profile=card.PROFILE,
            patience=Jsonb(card.PATIENCE),
            poll_seconds=_CALM_POLL_SECONDS,
            deadline_seconds=DEADLINE_SECONDS,
        )
        with stage.daemon(["collect", "ingest"], workers=WORKERS) as daemon:
            wait_until(
                lambda: stage.seen() == count,
                f"{count} devices met for the first time",
                seconds=_MEETING_SECONDS,
            )
            time.sleep(_LEARNING_SECONDS)
            yield _Fleet(stage, agent, daemon, count)
    stage.forget_devices()


class _Fleet:
    """A fleet under way."""

    def __init__(self, stage: Stage, agent: Responder, daemon: int, count: int) -> None:
        self._stage = stage
        self._agent = agent
        self._daemon = daemon
        self._count = count
        self._interval = _CALM_POLL_SECONDS

    @property
    def memory(self) -> float:
        """What the daemon's processes hold, in bytes."""
        return resident_bytes_of_tree(self._daemon)

    def highest(self) -> Window:
        """Return the window of the highest rate that is kept for long."""
        best = float(_RATES[0])
        for rate in _RATES:
            if rate > self._count:
                break  # a device is polled once a second at most
            self._poll_at(rate)
            window = self._look(_STEP_SECONDS)
            if not window.is_kept:
                break
            best = rate
        while True:
            self._poll_at(best)
            window = self._look(SUSTAINED_SECONDS)
            if window.is_kept or best <= _RATES[0]:
                return window
            best *= 0.9

    def beside_dead(self, rate: float) -> Figure:
        """Return how much slower the live half is polled while the other one is dead, in percent.

        The dead half has timed out often enough by then to be asked as rarely as dead devices are;
        that is measured from its first minute on.
        """
        self._poll_at(rate)
        live = self._count // 2
        before = self._look(_STEP_SECONDS, live=live)
        self._agent.silence(self._count - live)
        after = self._look(4 * _STEP_SECONDS, live=live)
        self._agent.silence(0)
        lost = 1 - after.rate / before.rate
        name = "the live half's rate, lost while half of the fleet times out"
        return at_most(name, lost * 100, "%", _LOST_SHARE * 100)

    def _poll_at(self, rate: float) -> None:
        before, self._interval = self._interval, self._count / rate
        self._stage.change_devices(poll_seconds=self._interval)
        # A device keeps to its old rhythm until it is due in it.
        time.sleep(_RELOAD_SECONDS + before + self._interval)

    def _look(self, seconds: float, *, live: int | None = None) -> Window:
        """Watch for so long; of `live` devices only, the first ones."""
        began, began_at = self._stage.used(self._daemon), self._stage.now()
        agent = cpu_seconds(self._agent.process_id)
        time.sleep(seconds)
        ended, ended_at = self._stage.used(self._daemon), self._stage.now()
        agent = cpu_seconds(self._agent.process_id) - agent
        time.sleep(DEADLINE_SECONDS + 1)  # until the last batches are committed
        polls, late, missing = self._stage.kept(
            began_at, ended_at, DEADLINE_SECONDS, live or self._count
        )
        return Window(
            seconds=(ended_at - began_at).total_seconds(),
            polls=polls,
            late=late,
            missing=missing,
            daemon=ended.daemon - began.daemon,
            postgres=ended.postgres - began.postgres,
            responder=agent,
        )
