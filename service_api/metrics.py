"""What the roles of this process count, for Prometheus: read when asked for, kept nowhere twice.

A part of the program counts in a dataclass of its own; `watched` shows it while it lives. A number
becomes a counter, one that goes up and down a gauge, a mapping a metric with a label.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

GAUGES = frozenset({"devices", "in_flight", "unreachable", "waiting"})
"""Fields that tell how something stands, not how often it happened."""

_Family = CounterMetricFamily | GaugeMetricFamily


class Watched(Collector):
    """The counters that are shown now, by the part that they belong to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: list[tuple[str, Callable[[], object]]] = []

    @contextmanager
    def showing(self, part: str, counters: Callable[[], object]) -> Iterator[None]:
        """Show a part's counters while the context lasts; those of one name are added up."""
        entry = part, counters
        with self._lock:
            self._shown.append(entry)
        try:
            yield
        finally:
            with self._lock:
                self._shown.remove(entry)

    def collect(self) -> Iterator[_Family]:
        """Yield the metrics as they stand."""
        with self._lock:
            shown = list(self._shown)
        sums: dict[tuple[str, str], dict[str, float]] = {}
        for part, counters in shown:
            told = counters()
            for field in fields(told):  # type: ignore[arg-type] # always a dataclass
                values = sums.setdefault((part, field.name), {})
                for label, value in _numbers(getattr(told, field.name)).items():
                    values[label] = values.get(label, 0.0) + value
        for (part, name), values in sums.items():
            yield _family(part, name, values)


def _numbers(value: object) -> Mapping[str, float]:
    """Return a field's numbers by label; the label is empty where there is one number."""
    match value:
        case Mapping():
            return {str(label): float(number) for label, number in value.items()}
        case datetime():
            return {"": value.timestamp()}
        case bool() | int() | float():
            return {"": float(value)}
    return {}


def _family(part: str, name: str, values: Mapping[str, float]) -> _Family:
    is_instant = name.endswith("_at")
    is_gauge = is_instant or name in GAUGES
    title = name.removesuffix("_at") + ("_seconds" if is_instant else "")
    kind: type[CounterMetricFamily | GaugeMetricFamily] = (
        GaugeMetricFamily if is_gauge else CounterMetricFamily
    )
    has_labels = any(values) or not values
    family = kind(
        f"ridethrough_{part}_{title}",
        f"{part}: {name.replace('_', ' ')}",
        labels=("kind",) if has_labels else None,
    )
    for label, value in sorted(values.items()):
        family.add_metric([label] if has_labels else [], value)
    return family


WATCHED = Watched()
"""What `/metrics` of this process shows beside its requests."""
REGISTRY.register(WATCHED)
