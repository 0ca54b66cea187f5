"""From tree to Polars expression, and the cleaning that judged frames pass through.

The expressions rely on `clean`: columns hold no NaN, no infinity and nothing out of range, so only
a divisor needs a guard. Nothing here reads rule text.
"""

import operator
from collections.abc import Callable
from functools import reduce
from typing import assert_never

import numpy as np
import polars as pl
import polars.selectors as cs

from rules.conditions.fold import folded
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
    columns_of,
)

_DTYPES = {
    ColumnType.NUMBER: pl.Float64(),
    ColumnType.FLAG: pl.Boolean(),
    ColumnType.TEXT: pl.String(),
}
_RELATIONS: dict[Relation, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    Relation.EQUAL: operator.eq,
    Relation.NOT_EQUAL: operator.ne,
    Relation.LESS: operator.lt,
    Relation.LESS_OR_EQUAL: operator.le,
    Relation.GREATER: operator.gt,
    Relation.GREATER_OR_EQUAL: operator.ge,
}


def clean(frame: pl.DataFrame) -> pl.DataFrame:
    """Make every number of a frame a float8 that conditions may be judged on.

    Every frame that `Condition.to_polars` is evaluated on passes through this once. NaN, ±inf and
    magnitudes above 1e15 become NULL, magnitudes below 1e-15 become 0, other number types float8.
    A frame with nothing to clean, the usual case, is returned as it is.
    """
    narrow = [name for name, dtype in frame.schema.items() if _is_narrow(dtype)]
    if narrow:
        frame = frame.with_columns(pl.col(narrow).cast(pl.Float64))
    numbers = frame.select(cs.float())
    magnitude = np.abs(numbers.to_numpy())
    usable = (magnitude <= LARGEST) & ((magnitude >= SMALLEST) | (magnitude == 0))
    # NULLs arrive as NaN: when no more values are unusable than are NULL, the rest is clean.
    if usable.size - np.count_nonzero(usable) == sum(
        column.null_count() for column in numbers.iter_columns()
    ):
        return frame
    return frame.with_columns(_usable(name) for name in numbers.columns)


def _is_narrow(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() and dtype != pl.Float64


def _usable(name: str) -> pl.Expr:
    column = pl.col(name)
    magnitude = column.abs()
    kept = pl.when(magnitude < SMALLEST).then(0.0).when(magnitude <= LARGEST).then(column)
    return kept.otherwise(None).alias(name)


def polars_expression(root: Node) -> pl.Expr:
    """Write a condition as a Polars expression over a frame that went through `clean`.

    The answer is a column as long as the frame, also where the condition comes to a constant.
    """
    node = folded(root)
    if isinstance(node, Literal):
        anything = pl.col(next(columns_of(root)).name)
        return pl.when(anything.is_null()).then(node.value).otherwise(node.value).cast(pl.Boolean)
    return _expression(node)


def _expression(node: Node) -> pl.Expr:
    match node:
        case Column() | Window():
            return pl.col(node.name)
        case Literal(value=value, type=column_type):
            return pl.lit(value, dtype=_DTYPES[column_type])
        case Calculation(operator=sign, left=left, right=right):
            return _calculation(sign, _expression(left), _expression(right))
        case Negative(operand=operand):
            return -_expression(operand)
        case Absolute(operand=operand):
            return _expression(operand).abs()
        case Extreme(end=end, operands=operands):
            horizontal = pl.min_horizontal if end is End.LEAST else pl.max_horizontal
            return horizontal([_expression(each) for each in operands])
        case Coalesce(operands=operands):
            return pl.coalesce([_expression(each) for each in operands])
        case _:
            return _flag(node)


def _flag(
    node: Comparison | Membership | Between | IsNull | IsTruth | Not | Every | Some,
) -> pl.Expr:
    match node:
        case Comparison(relation=relation, left=left, right=right):
            return _RELATIONS[relation](_expression(left), _expression(right))
        case Membership(operand=operand, choices=choices):
            sought = _expression(operand)
            return reduce(operator.or_, [sought == _expression(each) for each in choices])
        case Between(operand=operand, low=low, high=high):
            middle = _expression(operand)
            return (middle >= _expression(low)) & (middle <= _expression(high))
        case IsNull(operand=operand):
            return _expression(operand).is_null()
        case IsTruth(operand=operand, truth=truth):
            flag = _expression(operand)
            return (flag if truth else ~flag).fill_null(value=False)
        case Not(operand=operand):
            return ~_expression(operand)
        case Every(operands=operands):
            return reduce(operator.and_, [_expression(each) for each in operands])
        case Some(operands=operands):
            return reduce(operator.or_, [_expression(each) for each in operands])
    assert_never(node)


def _calculation(sign: Arithmetic, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    match sign:
        case Arithmetic.ADD:
            return left + right
        case Arithmetic.SUBTRACT:
            return left - right
        case Arithmetic.MULTIPLY:
            return left * right
        case Arithmetic.DIVIDE:
            # `replace` names the divisor once: a when/then would name it twice, and divisors
            # within divisors would double the work at every level.
            return left / right.replace(0.0, None)
    assert_never(sign)
