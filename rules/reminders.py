"""Steps of a reminder: which one a value has reached, and whether it is news.

Pure. A reminder stands while its rule's condition holds; on its way it passes steps, such as 180,
90, 60, 30, 7 and 0 days left, or 50, 75, 90 and 100 % of a deadline, and each is told once. The
rows are `rules.reminder_store`'s.
"""

from collections.abc import Sequence


def step_reached(value: float | None, steps: Sequence[float]) -> float | None:
    """Return the furthest step that a value has reached, None before the first or if unknown.

    Falling steps are reached from above (31 days have reached 60, 30 days 30), rising ones from
    below (74.9 % has reached 50, 75 % 75). What was passed unseen, since a unit was registered late
    or nobody looked, is passed: only the furthest is told.
    """
    if value is None or not steps:
        return None
    is_falling = len(steps) > 1 and steps[0] > steps[-1]
    reached = [step for step in steps if (value <= step if is_falling else value >= step)]
    return reached[-1] if reached else None


def is_news(reached: float | None, told: float | None, steps: Sequence[float]) -> bool:
    """Tell whether a step lies beyond the one told last; a step back is none.

    A told step that the rule no longer has counts as never told.
    """
    if reached is None:
        return False
    order = list(steps)
    return told not in order or order.index(reached) > order.index(told)
