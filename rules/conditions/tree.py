"""The tree that every condition is written from: nodes, their types and the reach of numbers.

A tree is well typed by construction (`build`), so the three writers (`to_polars`, `to_sql`,
`evaluate`) only translate. What a node means is said here once and holds in all three:

- Three-valued logic as in SQL. A NULL literal carries the type that its place asks for.
- A number is a float8 that is finite, at most `LARGEST` in magnitude and not nearer to zero than
  `SMALLEST`; a column's value beyond (NaN and infinities too) is NULL, one nearer to zero is 0.
- `/` is float division, NULL where the divisor is 0.
- LEAST and GREATEST ignore NULLs and are NULL only when all operands are.

Why no arithmetic can overflow or underflow (PostgreSQL raises an error on either, and it cannot be
caught in an expression): `reach` bounds what a node's values can be, from the bounds on columns
and literals, and `build` refuses arithmetic whose result could leave 1e-290 … 1e290.
So the writers guard columns and divisors, and nothing else.

- A window function (`avg_15m(ups_load)`) is a number column of its own, named as it is written and
  worked out before the row is judged: what it says is in `rules.windows`, once for all writers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import assert_never

LARGEST = 1e15
"""A column's value of larger magnitude is no measurement, and NULL."""
SMALLEST = 1e-15
"""A column's value of smaller magnitude is 0."""
LARGEST_LITERAL = 1e12
SMALLEST_LITERAL = 1e-12
REACH_LIMIT = 290.0
"""Decimal exponent up to which arithmetic is allowed; float8 ends at 308 and −307."""


SPANS = {
    "5m": 300,
    "10m": 600,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "8h": 28_800,
    "12h": 43_200,
    "24h": 86_400,
    "2d": 172_800,
    "3d": 259_200,
    "7d": 604_800,
}
"""How far a window may look back, in seconds; what is written is what it is called."""
LONGEST_SPAN = "7d"


class ColumnType(Enum):
    """What a column holds: a float8, a boolean or a text."""

    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"


class Arithmetic(StrEnum):
    """The operators between two numbers that give a number."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"


class Relation(StrEnum):
    """The operators between two values that give a flag; texts and flags have the first two."""

    EQUAL = "="
    NOT_EQUAL = "<>"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


class End(StrEnum):
    """Which of several numbers is taken."""

    LEAST = "LEAST"
    GREATEST = "GREATEST"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the judged row."""

    name: str
    type: ColumnType


class Aggregate(StrEnum):
    """What a window function makes of a column's past; the last three are for flags."""

    AVERAGE = "avg"
    LEAST = "min"
    GREATEST = "max"
    DELTA = "delta"
    RATE = "rate"
    SHARE = "share"
    COUNT = "count"
    SINCE = "since"

    @property
    def is_of_flags(self) -> bool:
        """Whether it looks at a flag and not at a number."""
        return self in {Aggregate.SHARE, Aggregate.COUNT, Aggregate.SINCE}


@dataclass(frozen=True, slots=True)
class Window:
    """A number made of one column's past: `avg_15m(ups_load)`, `since(status_on_battery)`."""

    aggregate: Aggregate
    span: str
    column: Column

    @property
    def name(self) -> str:
        """The text in its one form, which names its column in a judged row."""
        if self.aggregate is Aggregate.SINCE:
            return f"{self.aggregate}({self.column.name})"
        return f"{self.aggregate}_{self.span}({self.column.name})"

    @property
    def seconds(self) -> int:
        """How far it looks back."""
        return SPANS[self.span]

    @property
    def type(self) -> ColumnType:
        """A number, whatever it looks at."""
        return ColumnType.NUMBER


@dataclass(frozen=True, slots=True)
class Literal:
    """A number (always a float), a flag, a text, or a NULL of that type."""

    value: float | bool | str | None
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Calculation:
    """Two numbers made into one."""

    operator: Arithmetic
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with its sign turned."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Absolute:
    """A number without its sign."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The least or greatest of the numbers that are not NULL."""

    end: End
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Coalesce:
    """The first operand that is not NULL; all have one type."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values of one type, compared."""

    relation: Relation
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a number or text equals one of several; NULL if not, and one of them is NULL."""

    operand: "Node"
    choices: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Between:
    """`operand >= low AND operand <= high`."""

    operand: "Node"
    low: "Node"
    high: "Node"


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a value is missing: never NULL."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class IsTruth:
    """Whether a flag is known and equal to `truth`: never NULL."""

    operand: "Node"
    truth: bool


@dataclass(frozen=True, slots=True)
class Not:
    """A flag turned round; NULL stays NULL."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Every:
    """A chain of AND."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """A chain of OR."""

    operands: tuple["Node", ...]


Node = (
    Column
    | Window
    | Literal
    | Calculation
    | Negative
    | Absolute
    | Extreme
    | Coalesce
    | Comparison
    | Membership
    | Between
    | IsNull
    | IsTruth
    | Not
    | Every
    | Some
)


def children(node: Node) -> tuple[Node, ...]:
    """Return the operands of a node in the order of the text."""
    match node:
        case Column() | Window() | Literal():
            return ()
        case Calculation(left=left, right=right) | Comparison(left=left, right=right):
            return (left, right)
        case Membership(operand=operand, choices=choices):
            return (operand, *choices)
        case Between(operand=operand, low=low, high=high):
            return (operand, low, high)
        case Extreme() | Coalesce() | Every() | Some():
            return node.operands
        case Negative() | Absolute() | IsNull() | IsTruth() | Not():
            return (node.operand,)
    assert_never(node)


def type_of(node: Node) -> ColumnType:
    """Say what a node gives."""
    match node:
        case Column() | Window() | Literal():
            return node.type
        case Calculation() | Negative() | Absolute() | Extreme():
            return ColumnType.NUMBER
        case Coalesce():
            return type_of(node.operands[0])
        case _:
            return ColumnType.FLAG


def columns_of(node: Node) -> Iterator[Column | Window]:
    """Yield columns and windows of a tree in the order of the text, as often as they occur."""
    if isinstance(node, Column | Window):
        yield node
    for child in children(node):
        yield from columns_of(child)


def depth_of(node: Node) -> int:
    """Count the nodes on the longest way from the root to a leaf."""
    return 1 + max((depth_of(child) for child in children(node)), default=0)


@dataclass(frozen=True, slots=True)
class Reach:
    """Decimal exponents between which a number's values lie, zero aside.

    `largest` and `smallest` bound the magnitude of values other than 0. Every value is a whole
    multiple of ten to the `grain` or coarser: a sum or difference that is not 0 is at least that.
    """

    largest: float
    smallest: float
    grain: float

    @property
    def is_safe(self) -> bool:
        """Whether neither end can leave the range of a float8."""
        return self.largest <= REACH_LIMIT and self.smallest >= -REACH_LIMIT


_DIGITS = 16.0
"""A float8 of magnitude m is a whole multiple of m · 2⁻⁵³ > m · 10⁻¹⁶."""


def _between(largest: float, smallest: float) -> Reach:
    return Reach(largest, smallest, smallest - _DIGITS)


def reach(node: Node) -> Reach:
    """Bound the values of a number node."""
    match node:
        case Literal(value=float(value)) if value:
            return _between(math.log10(abs(value)), math.log10(abs(value)))
        case Literal():
            return Reach(0.0, 0.0, 0.0)
        case Calculation(operator=operator, left=left, right=right):
            return _reach_of_calculation(operator, reach(left), reach(right))
        case Negative() | Absolute() | Extreme() | Coalesce():
            inner = [reach(child) for child in children(node)]
            return Reach(
                max(each.largest for each in inner),
                min(each.smallest for each in inner),
                min(each.grain for each in inner),
            )
        case _:
            return _between(math.log10(LARGEST), math.log10(SMALLEST))


def _reach_of_calculation(operator: Arithmetic, left: Reach, right: Reach) -> Reach:
    match operator:
        case Arithmetic.ADD | Arithmetic.SUBTRACT:
            grain = min(left.grain, right.grain)
            return Reach(max(left.largest, right.largest) + math.log10(2), grain, grain)
        case Arithmetic.MULTIPLY:
            return _between(left.largest + right.largest, left.smallest + right.smallest)
        case Arithmetic.DIVIDE:
            return _between(left.largest - right.smallest, left.smallest - right.largest)
    assert_never(operator)
