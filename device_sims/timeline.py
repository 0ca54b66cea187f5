"""When things happen: a scenario's steps and its cycle, put in order of seconds after the start.

Pure: who must be told is found by whoever runs the fleet (`serve`).
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from device_sims.scenario import Action, Cycle, Scenario, Step


@dataclass(frozen=True, slots=True)
class Event:
    """A step that is due: `is_end` marks the end of something that lasted."""

    at: float
    do: Action
    site: str | None
    unit: str | None
    amount: float | None = None
    is_end: bool = False


class Timeline:
    """The events of a scenario in order; a cycle goes on for ever."""

    def __init__(self, scenario: Scenario) -> None:
        self._order = count()
        # The counter keeps events of one instant in the order in which they are written.
        self._waiting: list[tuple[float, int, Event]] = []
        for step in scenario.timeline:
            self._add(step, 0.0)
        self._rounds = None if scenario.cycle is None else _rounds(scenario.cycle, scenario.seed)
        self._next_round = None if self._rounds is None else next(self._rounds)

    def due(self, elapsed: float) -> list[Event]:
        """Return, in order, the events that are due by now and were not returned before."""
        while self._next_round is not None and self._next_round[0] <= elapsed:
            start, steps = self._next_round
            for step in steps:
                self._add(step, start)
            self._next_round = None if self._rounds is None else next(self._rounds)
        found: list[Event] = []
        while self._waiting and self._waiting[0][0] <= elapsed:
            found.append(heapq.heappop(self._waiting)[2])
        return found

    def next_at(self) -> float | None:
        """Return when the next event comes, or the next cycle begins; None when all is over."""
        times = [entry[0] for entry in self._waiting[:1]]
        if self._next_round is not None:
            times.append(self._next_round[0])
        return min(times, default=None)

    def _add(self, step: Step, start: float) -> None:
        at = start + step.at
        self._push(Event(at, step.do, step.site, step.unit, step.amount))
        if step.lasting is not None:
            self._push(Event(at + step.lasting, step.do, step.site, step.unit, is_end=True))

    def _push(self, event: Event) -> None:
        heapq.heappush(self._waiting, (event.at, next(self._order), event))


def _rounds(cycle: Cycle, seed: int) -> Iterator[tuple[float, list[Step]]]:
    """Yield when each cycle starts and its steps: every variant once, in a new order each time."""
    generator = np.random.default_rng((seed, 0xC7C))
    start = cycle.first_at
    last = -1
    while True:
        order = [int(index) for index in generator.permutation(len(cycle.variants))]
        if order[0] == last:
            order.reverse()
        for index in order:
            yield start, cycle.variants[index].steps
            start += cycle.every
        last = order[-1]
