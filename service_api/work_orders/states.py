"""The life of a work order: pure. Writing it down is in `work_orders.operations`."""

from dataclasses import dataclass
from enum import Enum


class Step(Enum):
    """What people do with a work order; the value is the event's kind."""

    ASSIGN = "assigned"
    ACCEPT = "accepted"
    ARRIVE = "arrived"
    CLOSE = "closed"
    CANCEL = "cancelled"


@dataclass(frozen=True, slots=True)
class Change:
    """From which states a step leads to which."""

    allowed: frozenset[str]
    leads_to: str


CHANGES: dict[Step, Change] = {
    Step.ASSIGN: Change(frozenset({"draft", "assigned", "accepted"}), "assigned"),
    Step.ACCEPT: Change(frozenset({"assigned"}), "accepted"),
    Step.ARRIVE: Change(frozenset({"assigned", "accepted"}), "on_site"),
    Step.CLOSE: Change(frozenset({"on_site"}), "done"),
    Step.CANCEL: Change(frozenset({"draft", "assigned", "accepted", "on_site"}), "cancelled"),
}

OPEN_STATES = frozenset({"draft", "assigned", "accepted", "on_site"})


def next_step(state: str) -> Step | None:
    """Return the one thing to do next, None when the order is over."""
    return {
        "draft": Step.ASSIGN,
        "assigned": Step.ACCEPT,
        "accepted": Step.ARRIVE,
        "on_site": Step.CLOSE,
    }.get(state)


@dataclass(frozen=True, slots=True)
class Past:
    """An event of an order: a step, or the undoing of an earlier one."""

    id: int
    kind: str
    undoes: int | None = None


def step_to_undo(history: list[Past]) -> int | None:
    """Return the id of the newest step that still stands; `history` is in order of id."""
    undone = {event.undoes for event in history if event.undoes is not None}
    steps = {step.value for step in Step}
    for event in reversed(history):
        if event.kind in steps and event.id not in undone:
            return event.id
    return None
