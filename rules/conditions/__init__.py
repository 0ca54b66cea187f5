"""Rule text: one SQL boolean expression over columns, read once and written for two engines.

`parse` turns text into a `Condition`: scan (known words, limits) → sqlglot (how operators bind) →
build (allow-list, types) → a tree. From the tree come the Polars expression for live judging, the
SQL for history and a plain Python interpretation; `tree` says what all three mean. Rule text itself
never reaches an engine.

    battery_charge < 20 AND status_on_battery
    COALESCE(ups_load, 0) / ups_realpower_nominal BETWEEN 0.8 AND 1
    ups_model IN ('A', 'B') AND status_low_battery IS NOT TRUE

The vocabulary of columns is passed in. What a rule does once its condition holds is not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import polars as pl

from rules.conditions.build import build
from rules.conditions.evaluate import Row, Value, column_value, evaluate
from rules.conditions.refusal import ConditionInvalid
from rules.conditions.to_polars import clean, polars_expression
from rules.conditions.to_sql import sql_expression
from rules.conditions.tree import ColumnType, Node, columns_of

__all__ = ["ColumnType", "Condition", "ConditionInvalid", "clean", "parse"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over the columns of a row, as written and as read."""

    text: str
    root: Node
    columns: frozenset[str]

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


def parse(text: str, columns: Mapping[str, ColumnType]) -> Condition:
    """Read rule text over a vocabulary of columns.

    Raises ConditionInvalid, which says what is wrong, where, and what would be right.
    """
    root = build(text, columns)
    return Condition(text, root, frozenset(column.name for column in columns_of(root)))
