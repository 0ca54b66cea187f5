"""From tree to a PostgreSQL boolean expression for history.

The SQL is composed of operators known here, column names checked by `scan`, and literals
rendered here; rule text is not part of it. It is fully parenthesized, never raises (see `tree`) and
asks of its surroundings only that the columns are named as in the rule.
"""

from typing import assert_never

from rules.conditions.tree import (
    LARGEST,
    SMALLEST,
    Absolute,
    Arithmetic,
    Between,
    Calculation,
    Coalesce,
    Column,
    ColumnType,
    Comparison,
    Every,
    Extreme,
    IsNull,
    IsTruth,
    Literal,
    Membership,
    Negative,
    Node,
    Not,
    Some,
    Window,
)

_SQL_TYPES = {
    ColumnType.NUMBER: "float8",
    ColumnType.FLAG: "boolean",
    ColumnType.TEXT: "text",
}


def sql_expression(node: Node) -> str:  # noqa: PLR0911 - one return a node
    """Write a tree as an SQL expression of the tree's type."""
    match node:
        case Window(name=name) | Column(name=name, type=ColumnType.NUMBER):
            return _number_column(name)
        case Column(name=name):
            return f'"{name}"'
        case Literal():
            return _literal(node)
        case Calculation(operator=sign, left=left, right=right):
            divisor = sql_expression(right)
            if sign is Arithmetic.DIVIDE:
                divisor = f"NULLIF({divisor}, 0::float8)"
            return f"({sql_expression(left)} {sign.value} {divisor})"
        case Negative(operand=operand):
            return f"(- {sql_expression(operand)})"
        case Absolute(operand=operand):
            return f"abs({sql_expression(operand)})"
        case Extreme(end=end, operands=operands):
            return f"{end.value}({_list(operands)})"
        case Coalesce(operands=operands):
            return f"COALESCE({_list(operands)})"
        case _:
            return _flag(node)


def _flag(
    node: Comparison | Membership | Between | IsNull | IsTruth | Not | Every | Some,
) -> str:
    match node:
        case Comparison(relation=relation, left=left, right=right):
            return f"({sql_expression(left)} {relation.value} {sql_expression(right)})"
        case Membership(operand=operand, choices=choices):
            return f"({sql_expression(operand)} IN ({_list(choices)}))"
        case Between(operand=operand, low=low, high=high):
            bounds = f"{sql_expression(low)} AND {sql_expression(high)}"
            return f"({sql_expression(operand)} BETWEEN {bounds})"
        case IsNull(operand=operand):
            return f"({sql_expression(operand)} IS NULL)"
        case IsTruth(operand=operand, truth=truth):
            return f"({sql_expression(operand)} IS {'TRUE' if truth else 'FALSE'})"
        case Not(operand=operand):
            return f"(NOT {sql_expression(operand)})"
        case Every(operands=operands):
            return f"({' AND '.join(sql_expression(each) for each in operands)})"
        case Some(operands=operands):
            return f"({' OR '.join(sql_expression(each) for each in operands)})"
    assert_never(node)


def _list(nodes: tuple[Node, ...]) -> str:
    return ", ".join(sql_expression(each) for each in nodes)


def _number_column(name: str) -> str:
    """Write a column as `clean` makes it; NaN is greater than every number and so falls out."""
    value = f'"{name}"::float8'
    return (
        f"(CASE WHEN abs({value}) < {SMALLEST}::float8 THEN 0::float8"
        f" WHEN abs({value}) <= {LARGEST}::float8 THEN {value} END)"
    )


def _literal(literal: Literal) -> str:
    match literal.value:
        case None:
            text = "NULL"
        case bool(flag):
            text = "TRUE" if flag else "FALSE"
        case str(words):
            text = "'" + words.replace("'", "''") + "'"
        case number:
            text = repr(number)
    return f"{text}::{_SQL_TYPES[literal.type]}"
