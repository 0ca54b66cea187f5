"""The picture of an episode: lines in a box of fixed size, for the page's SVG. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service_api.power_events.schemas import PowerEvent, TracePoint

WIDTH, HEIGHT = 600, 160
_MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class Picture:
    """Points of lines as SVG has them: charge and load on a scale of percent.

    `promise` is the charge if the settled promise had been kept, None where there was none.
    `minutes` is how long the box is.
    """

    charge: str
    load: str
    promise: str | None
    minutes: float


def picture_of(event: PowerEvent, trace: Sequence[TracePoint]) -> Picture | None:
    """Draw an episode; None where too few readings are there."""
    inside = [one for one in trace if one.at >= event.began_at]
    if len(inside) < 2:
        return None
    step = max(1, len(inside) // _MOST_POINTS)
    shown = [*inside[::step], inside[-1]]
    span = (shown[-1].at - shown[0].at).total_seconds() or 1.0

    def line(value: Callable[[TracePoint], float | None]) -> str:
        return " ".join(
            f"{(one.at - shown[0].at).total_seconds() / span * WIDTH:.1f},{_height(number):.1f}"
            for one in shown
            if (number := value(one)) is not None
        )

    return Picture(
        charge=line(lambda one: one.charge),
        load=line(lambda one: one.load),
        promise=_promise(inside, span),
        minutes=span / 60,
    )


def _height(percent: float) -> float:
    return HEIGHT - min(100.0, max(0.0, percent)) / 100 * HEIGHT


def _promise(inside: Sequence[TracePoint], span: float) -> str | None:
    """Return the straight way down that the first promise after a minute means."""
    begin = inside[0].at
    for one in inside:
        passed = (one.at - begin).total_seconds()
        if passed < 60 or not one.on_battery:
            continue
        if not one.promised_seconds or one.charge is None:
            return None
        end = passed + one.promised_seconds
        until = min(end, span)
        left = one.charge * (1 - (until - passed) / one.promised_seconds)
        return (
            f"{passed / span * WIDTH:.1f},{_height(one.charge):.1f} "
            f"{until / span * WIDTH:.1f},{_height(left):.1f}"
        )
    return None
