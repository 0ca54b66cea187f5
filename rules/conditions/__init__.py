"""Rule text: one SQL boolean expression over columns, read once and written for two engines.

`parse` turns text into a `Condition`: scan (known words, limits) → sqlglot (how operators bind) →
build (allow-list, types) → a tree. From the tree come the Polars expression for live judging, the
SQL for history and a plain Python interpretation; `tree` says what all three mean. Rule text itself
never reaches an engine.

    battery_charge < 20 AND status_on_battery
    COALESCE(ups_load, 0) / ups_realpower_nominal BETWEEN 0.8 AND 1
    avg_15m(ups_load) > 80 OR since(status_on_battery) > 600
    ups_model IN ('A', 'B') AND status_low_battery IS NOT TRUE

The vocabulary of columns is passed in. What a rule does once its condition holds is not here.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import cast

import polars as pl

from rules.conditions.build import build
from rules.conditions.evaluate import Row, Value, column_value, evaluate
from rules.conditions.refusal import ConditionInvalid
from rules.conditions.to_polars import clean, polars_expression
from rules.conditions.to_sql import sql_expression
from rules.conditions.tree import ColumnType, Node, Window, columns_of

__all__ = ["ColumnType", "Condition", "ConditionInvalid", "Window", "clean", "parse"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over the columns of a row, as written and as read.

    `columns` are all that it needs known, those that `windows` look at too; `reads` is what its row
    has to hold: columns and, by their names, windows.
    """

    text: str
    root: Node
    columns: frozenset[str]
    windows: frozenset[Window]
    reads: frozenset[str]

    def to_polars(self) -> pl.Expr:
        """Write the expression for a frame that went through `clean`; it carries no name.

        The frame's columns are Float64, Boolean and String by their types, also when all are NULL.
        """
        return polars_expression(self.root)

    def to_sql(self) -> str:
        """Write a PostgreSQL boolean expression over columns of these names; it never raises."""
        return sql_expression(self.root)

    def evaluate(self, row: Mapping[str, object]) -> bool | None:
        """Judge one row in plain Python; columns that it lacks are NULL.

        Raises TypeError for a value of another type than its column's.
        """
        return cast("bool | None", evaluate(self.root, row))

    def explain(self, row: Row) -> list[tuple[str, Value]]:
        """Return each column used and what it counted as, in the order of the text."""
        used = dict.fromkeys(columns_of(self.root))
        return [(column.name, column_value(column, row)) for column in used]


def parse(
    text: str, columns: Mapping[str, ColumnType], *, with_past: Container[str] | None = None
) -> Condition:
    """Read rule text over a vocabulary of columns, of which `with_past` may stand in windows.

    None: all may. Raises ConditionInvalid, which says what is wrong, where, and what would be
    right.
    """
    root = build(text, columns, columns if with_past is None else with_past)
    used = set(columns_of(root))
    windows = frozenset(each for each in used if isinstance(each, Window))
    reads = frozenset(each.name for each in used)
    looked_at = {window.column.name for window in windows}
    outright = {each.name for each in used if not isinstance(each, Window)}
    return Condition(text, root, frozenset(outright | looked_at), windows, reads)
