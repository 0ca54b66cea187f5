"""Figures: a name, a value, its unit, the aim, and whether it was met; as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `aim` and `met` are None where there is no aim."""

    name: str
    value: float
    unit: str
    aim: str | None = None
    met: bool | None = None


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    """Return a figure that is to stay at or below a limit."""
    return Figure(name, value, unit, f"≤ {limit:g}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    """Return a figure that is to reach a limit."""
    return Figure(name, value, unit, f"≥ {limit:,g}", value >= limit)


def render(figures: Sequence[Figure]) -> str:
    """Return the figures as a table."""
    rows = [
        (figure.name, _shown(figure.value), figure.unit, figure.aim or "", _met(figure.met))
        for figure in figures
    ]
    titles = ("figure", "value", "unit", "aim", "met")
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = [_line(titles, widths), "  ".join("─" * width for width in widths)]
    lines += [_line(row, widths) for row in rows]
    return "\n".join(lines)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as a JSON list."""
    path.parent.mkdir(exist_ok=True)
    rows = [asdict(figure) for figure in figures]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, value, *rest = cells
    padded = [name.ljust(widths[0]), value.rjust(widths[1])]
    padded += [cell.ljust(width) for cell, width in zip(rest, widths[2:], strict=True)]
    return "  ".join(padded).rstrip()


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _met(met: bool | None) -> str:  # noqa: FBT001 - three states, one of them "no aim"
    return {True: "yes", False: "no", None: ""}[met]
