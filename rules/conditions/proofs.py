"""What can be proven of a condition before it judges anything: that it never holds, or always does.

A tree is followed with what every column can still be: `may_be` narrows that down on the way to a
truth value and says None where nothing is left, which is a proof. Whatever it cannot follow it
takes for possible, so a proof holds and the lack of one says nothing. Bounds are exact: adding,
multiplying and rounding of float8 keep the order, and `<` is `<=` of the next number.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rules.conditions.tree import (
    LARGEST,
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
    type_of,
)


@dataclass(frozen=True, slots=True)
class Possible:
    """What a value may be: missing, a number in a span, a text of some, true, false.

    `low` greater than `high` leaves no number. `texts` None: any text but `other_than`.
    """

    missing: bool = True
    low: float = -LARGEST
    high: float = LARGEST
    texts: frozenset[str] | None = None
    other_than: frozenset[str] = frozenset()
    true: bool = True
    false: bool = True

    def known(self) -> "Possible":
        """Return the same without missing."""
        return replace(self, missing=False)

    def can_be_known(self, kind: ColumnType) -> bool:
        """Tell whether any value of a type is left."""
        match kind:
            case ColumnType.NUMBER:
                return self.low <= self.high
            case ColumnType.TEXT:
                return self.texts is None or bool(self.texts - self.other_than)
            case ColumnType.FLAG:
                return self.true or self.false


ANYTHING = Possible()
_NOTHING = Possible(low=1.0, high=0.0, texts=frozenset(), true=False, false=False)
"""Only missing is left."""
Known = Mapping[str, Possible]
"""What each column, by its name, may be; one that is not there may be anything."""


def never_holds(root: Node, columns: Known) -> bool:
    """Tell whether a condition is proven never to be true."""
    return may_be(root, columns, truth=True) is None


def always_holds(root: Node, columns: Known) -> bool:
    """Tell whether a condition is proven never to be false: it holds, or is not known."""
    return may_be(root, columns, truth=False) is None


def may_be(  # noqa: C901, PLR0911 - one line a node
    node: Node, columns: Known, *, truth: bool
) -> Known | None:
    """Return what columns may be where a flag node has a truth value; None: it cannot have it."""
    match node:
        case Column(name=name):
            seen = columns.get(name, ANYTHING)
            if not (seen.true if truth else seen.false):
                return None
            return _with(columns, name, replace(seen, missing=False, true=truth, false=not truth))
        case Literal(value=value):
            return columns if value is truth else None
        case Not(operand=operand):
            return may_be(operand, columns, truth=not truth)
        case Every(operands=operands):
            return (
                _all(operands, columns, truth=True)
                if truth
                else _any(operands, columns, truth=False)
            )
        case Some(operands=operands):
            return (
                _any(operands, columns, truth=True)
                if truth
                else _all(operands, columns, truth=False)
            )
        case Between() | Membership():
            return may_be(_spelt_out(node), columns, truth=truth)
        case IsNull() | IsTruth():
            return _tested(node, columns, truth=truth)
        case Coalesce(operands=operands):
            return _first_known(operands, columns, truth=truth)
        case Comparison(relation=relation, left=left, right=right):
            return _compared(relation if truth else _OPPOSITE[relation], left, right, columns)
    return columns


def _spelt_out(node: Between | Membership) -> Node:
    """Return what a range or a list stands for."""
    if isinstance(node, Between):
        return Every(
            (
                Comparison(Relation.GREATER_OR_EQUAL, node.operand, node.low),
                Comparison(Relation.LESS_OR_EQUAL, node.operand, node.high),
            )
        )
    return Some(tuple(Comparison(Relation.EQUAL, node.operand, one) for one in node.choices))


def _tested(node: IsNull | IsTruth, columns: Known, *, truth: bool) -> Known | None:
    if isinstance(node, IsNull):
        test = _missing if truth else _not_missing
        return test(node.operand, columns)
    if truth:
        return may_be(node.operand, columns, truth=node.truth)
    if _missing(node.operand, columns) is not None:
        return columns
    return may_be(node.operand, columns, truth=not node.truth)


_OPPOSITE = {
    Relation.EQUAL: Relation.NOT_EQUAL,
    Relation.NOT_EQUAL: Relation.EQUAL,
    Relation.LESS: Relation.GREATER_OR_EQUAL,
    Relation.LESS_OR_EQUAL: Relation.GREATER,
    Relation.GREATER: Relation.LESS_OR_EQUAL,
    Relation.GREATER_OR_EQUAL: Relation.LESS,
}
_TURNED = {
    Relation.EQUAL: Relation.EQUAL,
    Relation.NOT_EQUAL: Relation.NOT_EQUAL,
    Relation.LESS: Relation.GREATER,
    Relation.LESS_OR_EQUAL: Relation.GREATER_OR_EQUAL,
    Relation.GREATER: Relation.LESS,
    Relation.GREATER_OR_EQUAL: Relation.LESS_OR_EQUAL,
}


def _with(columns: Known, name: str, possible: Possible) -> Known:
    return {**columns, name: possible}


def _all(operands: Iterable[Node], columns: Known, *, truth: bool) -> Known | None:
    """Follow operands that all have a truth value; twice, as later ones narrow for earlier ones."""
    for operand in (*operands, *operands):
        way = may_be(operand, columns, truth=truth)
        if way is None:
            return None
        columns = way
    return columns


def _any(operands: Iterable[Node], columns: Known, *, truth: bool) -> Known | None:
    """Follow operands of which one at least has a truth value: if only one can, that one."""
    ways = [way for one in operands if (way := may_be(one, columns, truth=truth)) is not None]
    return None if not ways else ways[0] if len(ways) == 1 else columns


def _first_known(operands: Iterable[Node], columns: Known, *, truth: bool) -> Known | None:
    ways = []
    for operand in operands:
        way = may_be(operand, columns, truth=truth)
        if way is not None:
            ways.append(way)
        if _missing(operand, columns) is None:
            break
    return None if not ways else ways[0] if len(ways) == 1 else columns


def _missing(node: Node, columns: Known) -> Known | None:
    """Return what columns may be where a node is NULL; None: it cannot be."""
    match node:
        case Column() | Window():
            seen = columns.get(node.name, ANYTHING)
            return _with(columns, node.name, _NOTHING) if seen.missing else None
        case Literal(value=value):
            return columns if value is None else None
        case IsNull() | IsTruth():
            return None
        case Calculation(operator=operator) if operator is Arithmetic.DIVIDE:
            return columns
        case Coalesce(operands=operands) | Extreme(operands=operands):
            return _all_missing(operands, columns)
        case Negative(operand=operand) | Absolute(operand=operand) | Not(operand=operand):
            return _missing(operand, columns)
        case Calculation(left=left, right=right) | Comparison(left=left, right=right):
            both = (left, right)
            return columns if any(_missing(one, columns) is not None for one in both) else None
    return columns


def _all_missing(operands: Iterable[Node], columns: Known) -> Known | None:
    for operand in operands:
        way = _missing(operand, columns)
        if way is None:
            return None
        columns = way
    return columns


def _not_missing(node: Node, columns: Known) -> Known | None:
    """Return what columns may be where a node is not NULL; None: it always is."""
    match node:
        case Column() | Window():
            seen = columns.get(node.name, ANYTHING)
            return _with(columns, node.name, seen.known()) if seen.can_be_known(node.type) else None
        case Literal(value=value):
            return columns if value is not None else None
    if type_of(node) is ColumnType.NUMBER:
        seen = number(node, columns)
        return columns if seen.can_be_known(ColumnType.NUMBER) else None
    return columns


def _compared(relation: Relation, left: Node, right: Node, columns: Known) -> Known | None:
    match type_of(left):
        case ColumnType.NUMBER:
            return _numbers_compared(relation, left, right, columns)
        case ColumnType.TEXT:
            return _texts_compared(relation, left, right, columns)
        case ColumnType.FLAG:
            return _flags_compared(relation, left, right, columns)


def _numbers_compared(relation: Relation, left: Node, right: Node, columns: Known) -> Known | None:
    first, second = number(left, columns), number(right, columns)
    if first.low > first.high or second.low > second.high:
        return None
    narrowed, other = _held(relation, first, second), _held(_TURNED[relation], second, first)
    if narrowed.low > narrowed.high or other.low > other.high:
        return None
    for node, possible in ((left, narrowed), (right, other)):
        if isinstance(node, Column | Window):
            columns = _with(columns, node.name, possible)
    return columns


def _held(relation: Relation, one: Possible, other: Possible) -> Possible:
    """Return what a number may be that stands in a relation to another."""
    low, high = one.low, one.high
    match relation:
        case Relation.EQUAL:
            low, high = max(low, other.low), min(high, other.high)
        case Relation.LESS:
            high = min(high, math.nextafter(other.high, -math.inf))
        case Relation.LESS_OR_EQUAL:
            high = min(high, other.high)
        case Relation.GREATER:
            low = max(low, math.nextafter(other.low, math.inf))
        case Relation.GREATER_OR_EQUAL:
            low = max(low, other.low)
        case Relation.NOT_EQUAL:
            if low == high == other.low == other.high:
                low, high = 1.0, 0.0
    return replace(one, missing=False, low=low, high=high)


def _texts_compared(relation: Relation, left: Node, right: Node, columns: Known) -> Known | None:
    if isinstance(left, Literal):
        left, right = right, left
    if not isinstance(right, Literal):
        return columns
    if right.value is None:
        return None
    word = str(right.value)
    if isinstance(left, Literal):
        return columns if (left.value == word) is (relation is Relation.EQUAL) else None
    if not isinstance(left, Column):
        return columns
    seen = columns.get(left.name, ANYTHING)
    if relation is Relation.EQUAL:
        if word in seen.other_than or (seen.texts is not None and word not in seen.texts):
            return None
        narrowed = replace(seen, missing=False, texts=frozenset({word}))
    else:
        narrowed = replace(seen, missing=False, other_than=seen.other_than | {word})
        if not narrowed.can_be_known(ColumnType.TEXT):
            return None
    return _with(columns, left.name, narrowed)


def _flags_compared(relation: Relation, left: Node, right: Node, columns: Known) -> Known | None:
    is_equal = relation is Relation.EQUAL
    ways = []
    for truth in (True, False):
        first = may_be(left, columns, truth=truth)
        second = None if first is None else may_be(right, first, truth=truth is is_equal)
        if second is not None:
            ways.append(second)
    return None if not ways else ways[0] if len(ways) == 1 else columns


def number(node: Node, columns: Known) -> Possible:  # noqa: PLR0911 - one line a node
    """Return what a number node may be."""
    match node:
        case Column() | Window():
            return columns.get(node.name, ANYTHING)
        case Literal(value=float(value)):
            return Possible(missing=False, low=value, high=value)
        case Literal():
            return _NOTHING
        case Negative(operand=operand):
            seen = number(operand, columns)
            return replace(seen, low=-seen.high, high=-seen.low)
        case Absolute(operand=operand):
            return _magnitude(number(operand, columns))
        case Calculation(operator=operator, left=left, right=right):
            return _calculated(operator, number(left, columns), number(right, columns))
        case Coalesce(operands=operands):
            return _coalesced([number(one, columns) for one in operands])
        case Extreme(end=end, operands=operands):
            return _extreme(end, [number(one, columns) for one in operands])
    return Possible(low=-math.inf, high=math.inf)


def _magnitude(seen: Possible) -> Possible:
    if seen.low > seen.high or seen.low >= 0:
        return seen
    if seen.high <= 0:
        return replace(seen, low=-seen.high, high=-seen.low)
    return replace(seen, low=0.0, high=max(-seen.low, seen.high))


def _calculated(operator: Arithmetic, one: Possible, other: Possible) -> Possible:
    if one.low > one.high or other.low > other.high:
        return _NOTHING
    missing = one.missing or other.missing
    match operator:
        case Arithmetic.ADD:
            return _span(missing, [one.low + other.low, one.high + other.high])
        case Arithmetic.SUBTRACT:
            return _span(missing, [one.low - other.high, one.high - other.low])
        case Arithmetic.MULTIPLY:
            return _span(
                missing, [a * b for a in (one.low, one.high) for b in (other.low, other.high)]
            )
        case Arithmetic.DIVIDE:
            if other.low == other.high == 0:
                return _NOTHING
            if other.low <= 0 <= other.high:
                return Possible(missing=True, low=-math.inf, high=math.inf)
            return _span(
                missing, [a / b for a in (one.low, one.high) for b in (other.low, other.high)]
            )


def _span(missing: bool, corners: list[float]) -> Possible:  # noqa: FBT001 - whether it may be NULL
    if any(math.isnan(corner) for corner in corners):
        return Possible(missing=missing, low=-math.inf, high=math.inf)
    return Possible(missing=missing, low=min(corners), high=max(corners))


def _coalesced(operands: list[Possible]) -> Possible:
    low, high = math.inf, -math.inf
    for seen in operands:
        if seen.low <= seen.high:
            low, high = min(low, seen.low), max(high, seen.high)
        if not seen.missing:
            return Possible(missing=False, low=low, high=high)
    return Possible(missing=True, low=low, high=high)


def _extreme(end: End, operands: list[Possible]) -> Possible:
    """Return the span of the least or greatest of what is known, which is never past a sure one."""
    some = [seen for seen in operands if seen.low <= seen.high]
    if not some:
        return _NOTHING
    low, high = min(seen.low for seen in some), max(seen.high for seen in some)
    sure = [seen for seen in some if not seen.missing]
    if sure and end is End.LEAST:
        high = min(seen.high for seen in sure)
    elif sure:
        low = max(seen.low for seen in sure)
    return Possible(missing=not sure, low=low, high=high)
