"""A tree worked out over one row in plain Python: the slow, readable third opinion.

It explains a ticket's reason and stands beside both engines in the tests.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never, cast

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
    End,
    Every,
    Extreme,
    IsNull,
    IsTruth,
    Literal,
    Membership,
    Negative,
    Node,
    Not,
    Relation,
    Some,
    Window,
)

Value = float | bool | str | None
Row = Mapping[str, object]

_RELATIONS: dict[Relation, Callable[[Any, Any], object]] = {
    Relation.EQUAL: operator.eq,
    Relation.NOT_EQUAL: operator.ne,
    Relation.LESS: operator.lt,
    Relation.LESS_OR_EQUAL: operator.le,
    Relation.GREATER: operator.gt,
    Relation.GREATER_OR_EQUAL: operator.ge,
}


def column_value(column: Column | Window, row: Row) -> Value:
    """Return what a column counts as when judged; a column that the row lacks is NULL.

    Raises TypeError when the row holds a value of another type.
    """
    value = row.get(column.name)
    match column.type, value:
        case _, None:
            return None
        case ColumnType.FLAG, bool(flag):
            return flag
        case ColumnType.TEXT, str(text):
            return text
        case ColumnType.NUMBER, int() | float() if not isinstance(value, bool):
            magnitude = abs(value)
            if magnitude < SMALLEST:
                return 0.0
            return float(value) if magnitude <= LARGEST else None
    raise TypeError(f"column {column.name} is a {column.type.value}, its value is {value!r}")


def evaluate(node: Node, row: Row) -> Value:
    """Work a tree out over one row."""
    match node:
        case Column() | Window():
            return column_value(node, row)
        case Literal(value=value):
            return value
        case Calculation(operator=sign, left=left, right=right):
            return _calculation(sign, _number(left, row), _number(right, row))
        case Negative(operand=operand):
            number = _number(operand, row)
            return None if number is None else -number
        case Absolute(operand=operand):
            number = _number(operand, row)
            return None if number is None else abs(number)
        case Extreme(end=end, operands=operands):
            numbers = [_number(each, row) for each in operands]
            known = [number for number in numbers if number is not None]
            return (min if end is End.LEAST else max)(known, default=None)
        case Coalesce(operands=operands):
            values = (evaluate(each, row) for each in operands)
            return next((value for value in values if value is not None), None)
        case _:
            return _flag(node, row)


def _flag(
    node: Comparison | Membership | Between | IsNull | IsTruth | Not | Every | Some, row: Row
) -> bool | None:
    match node:
        case Comparison(relation=relation, left=left, right=right):
            return _compare(relation, evaluate(left, row), evaluate(right, row))
        case Membership(operand=operand, choices=choices):
            sought = evaluate(operand, row)
            return _some([_compare(Relation.EQUAL, sought, evaluate(c, row)) for c in choices])
        case Between(operand=operand, low=low, high=high):
            value = evaluate(operand, row)
            above = _compare(Relation.GREATER_OR_EQUAL, value, evaluate(low, row))
            below = _compare(Relation.LESS_OR_EQUAL, value, evaluate(high, row))
            return _every([above, below])
        case IsNull(operand=operand):
            return evaluate(operand, row) is None
        case IsTruth(operand=operand, truth=truth):
            return evaluate(operand, row) is truth
        case Not(operand=operand):
            flag = evaluate(operand, row)
            return None if flag is None else not flag
        case Every(operands=operands):
            return _every([evaluate(each, row) for each in operands])
        case Some(operands=operands):
            return _some([evaluate(each, row) for each in operands])
    assert_never(node)


def _number(node: Node, row: Row) -> float | None:
    return cast("float | None", evaluate(node, row))


def _calculation(sign: Arithmetic, left: float | None, right: float | None) -> float | None:
    if left is None or right is None:
        return None
    match sign:
        case Arithmetic.ADD:
            return left + right
        case Arithmetic.SUBTRACT:
            return left - right
        case Arithmetic.MULTIPLY:
            return left * right
        case Arithmetic.DIVIDE:
            return left / right if right else None
    assert_never(sign)


def _compare(relation: Relation, left: Value, right: Value) -> bool | None:
    if left is None or right is None:
        return None
    return bool(_RELATIONS[relation](left, right))


def _every(flags: Sequence[Value]) -> bool | None:
    if any(flag is False for flag in flags):
        return False
    return None if any(flag is None for flag in flags) else True


def _some(flags: Sequence[Value]) -> bool | None:
    if any(flag is True for flag in flags):
        return True
    return None if any(flag is None for flag in flags) else False
