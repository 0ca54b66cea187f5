"""From sqlglot's reading of rule text to a well-typed tree of ours, node by node.

sqlglot only says how operators bind. Every node of its answer is taken over by an allow-list, with
no argument left unread, and its leaves must be the operands that `scan` saw, in their order.
"""

from collections.abc import Container, Mapping, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rules.conditions.refusal import ConditionInvalid
from rules.conditions.scan import MOST_DEPTH, Sort, Token, scan, too_deep
from rules.conditions.tree import (
    LARGEST_LITERAL,
    SMALLEST_LITERAL,
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
    columns_of,
    depth_of,
    reach,
)

_NUMBER, _FLAG, _TEXT = ColumnType.NUMBER, ColumnType.FLAG, ColumnType.TEXT
_TYPES_EN = {_NUMBER: "number", _FLAG: "flag", _TEXT: "text"}
_TYPES_ZH = {_NUMBER: "数值", _FLAG: "开关量", _TEXT: "文本"}

_ARITHMETIC: dict[type[exp.Expression], Arithmetic] = {
    exp.Add: Arithmetic.ADD,
    exp.Sub: Arithmetic.SUBTRACT,
    exp.Mul: Arithmetic.MULTIPLY,
    exp.Div: Arithmetic.DIVIDE,
}
_RELATIONS: dict[type[exp.Expression], Relation] = {
    exp.EQ: Relation.EQUAL,
    exp.NEQ: Relation.NOT_EQUAL,
    exp.LT: Relation.LESS,
    exp.LTE: Relation.LESS_OR_EQUAL,
    exp.GT: Relation.GREATER,
    exp.GTE: Relation.GREATER_OR_EQUAL,
}
_ENDS: dict[type[exp.Expression], End] = {exp.Least: End.LEAST, exp.Greatest: End.GREATEST}
_TESTS = (*_RELATIONS, exp.Is, exp.In, exp.Between)

_PLAIN: Mapping[type[exp.Expression], frozenset[str]] = {
    exp.Div: frozenset({"typed", "safe"}),
    exp.Least: frozenset({"ignore_nulls"}),
    exp.Greatest: frozenset({"ignore_nulls"}),
    exp.Is: frozenset({"negate"}),
}
"""Arguments beside the operands, which are read or say only what the dialect does."""


def build(text: str, columns: Mapping[str, ColumnType], with_past: Container[str]) -> Node:
    """Read rule text into a tree whose root is a flag; raise ConditionInvalid with the reason."""
    tokens = scan(text, columns, with_past)
    written = " ".join(token.text for token in tokens)
    try:
        answer = sqlglot.parse_one(written, dialect="postgres", into=exp.Condition)
        if not isinstance(answer, exp.Expression):
            raise _unreadable(None)
        root = _Builder(tokens, columns).root(answer)
    except SqlglotError:
        raise _unreadable(None) from None
    except RecursionError:
        raise too_deep(None) from None
    if depth_of(root) > MOST_DEPTH:
        raise too_deep(None)
    if next(columns_of(root), None) is None:
        raise ConditionInvalid(
            "a condition looks at one column at least",
            tokens[0].position,
            reason_zh="条件至少要用到一个列",
        )
    return root


def _unreadable(position: int | None) -> ConditionInvalid:
    return ConditionInvalid(
        "this is not a condition; write comparisons joined by AND and OR,"
        " such as battery_charge < 20 AND status_on_battery",
        position,
        reason_zh="这不是条件；请写用 AND、OR 连接的比较式，"
        "例如 battery_charge < 20 AND status_on_battery",
    )


class _Builder:
    """Takes sqlglot's nodes over from left to right, one operand of `scan` for each leaf."""

    def __init__(self, tokens: Sequence[Token], columns: Mapping[str, ColumnType]) -> None:
        self._operands = [token for token in tokens if token.sort is Sort.OPERAND]
        self._columns = {**columns, **{token.text: _NUMBER for token in tokens if token.window}}
        self._next = 0

    def root(self, answer: exp.Expression) -> Node:
        found = self._type_of(answer)
        if found in {_NUMBER, _TEXT}:
            raise ConditionInvalid(
                f"a condition is true or false, this is a {_TYPES_EN[found]}; compare it with"
                " something, such as battery_charge < 20",
                self._position,
                reason_zh=f"条件的结果应为真或假，这里是{_TYPES_ZH[found]}；"
                "请与某个值比较，例如 battery_charge < 20",
            )
        node = self._node(answer, _FLAG)
        if self._next != len(self._operands):
            raise _unreadable(self._position)
        return node

    @property
    def _position(self) -> int | None:
        """Where the next leaf stands."""
        return self._operands[self._next].position if self._next < len(self._operands) else None

    def _type_of(self, part: exp.Expression) -> ColumnType | None:
        """Say what a part gives by its look; None for NULL, and for what is not allowed."""
        match part:
            case exp.Paren():
                return self._type_of(part.this)
            case exp.Column():
                return self._columns.get(part.name)
            case exp.Literal():
                return _TEXT if part.is_string else _NUMBER
            case exp.Neg() | exp.Abs():
                return _NUMBER
            case exp.Coalesce():
                return self._first_type([part.this, *part.expressions])
            case exp.Not() | exp.And() | exp.Or() | exp.Boolean():
                return _FLAG
        if type(part) in _ARITHMETIC or type(part) in _ENDS:
            return _NUMBER
        return _FLAG if isinstance(part, _TESTS) else None

    def _first_type(self, parts: Sequence[exp.Expression]) -> ColumnType | None:
        found = (self._type_of(part) for part in parts)
        return next((each for each in found if each is not None), None)

    def _node(self, part: exp.Expression, wanted: ColumnType) -> Node:
        """Take a part over that must give the wanted type."""
        found = self._type_of(part)
        if found is not None and found is not wanted:
            raise self._mismatch(found, wanted)
        match part:
            case exp.Paren():
                return self._node(self._operand(part), wanted)
            case exp.Column() | exp.Literal() | exp.Boolean() | exp.Null():
                return self._leaf(part, wanted)
            case exp.Coalesce():
                return Coalesce(self._nodes(self._list(part), wanted))
        if wanted is _FLAG:
            return self._flag(part)
        if wanted is _NUMBER:
            return self._number(part)
        raise _unreadable(self._position)

    def _nodes(self, parts: Sequence[exp.Expression], wanted: ColumnType) -> tuple[Node, ...]:
        return tuple(self._node(part, wanted) for part in parts)

    def _number(self, part: exp.Expression) -> Node:
        position = self._position
        match part:
            case exp.Neg():
                return Negative(self._node(self._operand(part), _NUMBER))
            case exp.Abs():
                return Absolute(self._node(self._operand(part), _NUMBER))
            case exp.Least() | exp.Greatest():
                return Extreme(_ENDS[type(part)], self._nodes(self._list(part), _NUMBER))
        if type(part) not in _ARITHMETIC:
            raise _unreadable(position)
        left, right = self._nodes(self._pair(part), _NUMBER)
        node = Calculation(_ARITHMETIC[type(part)], left, right)
        if not reach(node).is_safe:
            raise ConditionInvalid(
                "so many multiplications or divisions in a row can leave the range of numbers;"
                " use fewer",
                position,
                reason_zh="连续乘除过多，结果可能超出数值范围；请减少",
            )
        return node

    def _flag(self, part: exp.Expression) -> Node:
        match part:
            case exp.Not():
                return Not(self._node(self._operand(part), _FLAG))
            case exp.And():
                return Every(self._nodes(self._chain(part, exp.And), _FLAG))
            case exp.Or():
                return Some(self._nodes(self._chain(part, exp.Or), _FLAG))
            case exp.Is():
                return self._is(part)
            case exp.In():
                self._take(part, "this", "expressions")
                choices = part.expressions
                wanted = self._shared_type([self._tested(part.this), *choices])
                self._must_not_be_flag(wanted, "IN")
                return Membership(self._node(part.this, wanted), self._nodes(choices, wanted))
            case exp.Between():
                self._take(part, "this", "low", "high")
                parts = [
                    self._tested(each) for each in (part.this, part.args["low"], part.args["high"])
                ]
                operand, low, high = self._nodes(parts, _NUMBER)
                return Between(operand, low, high)
        if type(part) not in _RELATIONS:
            raise _unreadable(self._position)
        return self._comparison(part, _RELATIONS[type(part)])

    def _comparison(self, part: exp.Expression, relation: Relation) -> Node:
        parts = [self._tested(each) for each in self._pair(part)]
        wanted = self._shared_type(parts)
        if wanted is not _NUMBER and relation not in {Relation.EQUAL, Relation.NOT_EQUAL}:
            raise ConditionInvalid(
                f"only numbers have an order: compare a {_TYPES_EN[wanted]} by = or <>",
                self._position,
                reason_zh=f"只有数值可以比大小；{_TYPES_ZH[wanted]}请用 = 或 <>",
            )
        left, right = self._nodes(parts, wanted)
        return Comparison(relation, left, right)

    def _is(self, part: exp.Is) -> Node:
        self._take(part, "this", "expression")
        # IN and BETWEEN bind before IS everywhere; with comparisons only PostgreSQL is sure.
        is_plain = isinstance(part.this, exp.In | exp.Between)
        operand = part.this if is_plain else self._tested(part.this)
        match part.expression:
            case exp.Null():
                wanted = self._type_of(operand) or _NUMBER
                node: Node = IsNull(self._node(operand, wanted))
            case exp.Boolean():
                truth = bool(part.expression.this)
                node = IsTruth(self._node(operand, _FLAG), truth)
            case _:
                raise _unreadable(self._position)
        self._leaf(part.expression, _FLAG)
        return Not(node) if part.args.get("negate") else node

    def _leaf(self, part: exp.Expression, wanted: ColumnType) -> Node:
        if self._next == len(self._operands):
            raise _unreadable(None)
        token = self._operands[self._next]
        node = self._reading(part, token, wanted)
        if node is None:
            raise _unreadable(token.position)
        self._next += 1
        return node

    def _reading(self, part: exp.Expression, token: Token, wanted: ColumnType) -> Node | None:
        """Read a token as the leaf that sqlglot took it for; None where the two differ."""
        match part:
            case exp.Column():
                self._take(part, "this")
                is_plain = isinstance(part.this, exp.Identifier) and not part.this.args["quoted"]
                if is_plain and part.name == token.text:
                    return token.window or Column(token.text, self._columns[token.text])
            case exp.Null() if token.text == "NULL":
                return Literal(None, wanted)
            case exp.Boolean() if token.text == str(part.this).upper():
                return Literal(token.text == "TRUE", _FLAG)
            case exp.Literal() if part.is_string and token.text[0] == "'":
                return Literal(token.text[1:-1].replace("''", "'"), _TEXT)
            case exp.Literal() if not part.is_string and token.text == part.this:
                return Literal(_number_value(token), _NUMBER)
        return None

    def _take(self, part: exp.Expression, *names: str) -> None:
        """Refuse a node that carries more than the named arguments."""
        known = {*names, *_PLAIN.get(type(part), ())}
        more = [name for name, value in part.args.items() if value and name not in known]
        if more or any(not part.args.get(name) for name in names):
            raise _unreadable(self._position)

    def _operand(self, part: exp.Expression) -> exp.Expression:
        self._take(part, "this")
        operand: exp.Expression = part.this
        return operand

    def _pair(self, part: exp.Expression) -> tuple[exp.Expression, exp.Expression]:
        self._take(part, "this", "expression")
        return part.this, part.expression

    def _list(self, part: exp.Expression) -> list[exp.Expression]:
        self._take(part, "this", *(["expressions"] if part.expressions else []))
        return [part.this, *part.expressions]

    def _chain(self, part: exp.Expression, link: type[exp.Expression]) -> list[exp.Expression]:
        """Lay a chain of one connective out flat, left to right."""
        parts: list[exp.Expression] = []
        rest = part
        while isinstance(rest, link):
            left, right = self._pair(rest)
            parts.append(right)
            rest = left
        return [rest, *reversed(parts)]

    def _tested(self, part: exp.Expression) -> exp.Expression:
        """Refuse a bare test within a test: readers, and parsers, differ in how those bind."""
        if isinstance(part, (*_TESTS, exp.Not)):
            raise ConditionInvalid(
                "put parentheses around the comparison that another one uses",
                self._position,
                reason_zh="一个比较式用在另一个比较式中时，请加括号",
            )
        return part

    def _shared_type(self, parts: Sequence[exp.Expression]) -> ColumnType:
        found = [each for each in map(self._type_of, parts) if each is not None]
        if _FLAG in found and _NUMBER in found:
            raise ConditionInvalid(
                "a flag is not a number; write the flag alone, NOT before it, or IS TRUE after it",
                self._position,
                reason_zh="开关量不是数值；请直接写该列，或在前面加 NOT，或在后面加 IS TRUE",
            )
        return found[0] if found else _NUMBER

    def _must_not_be_flag(self, found: ColumnType, operator: str) -> None:
        if found is _FLAG:
            raise ConditionInvalid(
                f"{operator} is for numbers and texts; write a flag alone or with NOT",
                self._position,
                reason_zh=f"{operator} 只用于数值和文本；开关量请直接写，或在前面加 NOT",
            )

    def _mismatch(self, found: ColumnType, wanted: ColumnType) -> ConditionInvalid:
        return ConditionInvalid(
            f"a {_TYPES_EN[wanted]} is needed here, this is a {_TYPES_EN[found]}",
            self._position,
            reason_zh=f"这里需要{_TYPES_ZH[wanted]}，现在是{_TYPES_ZH[found]}",
        )


def _number_value(token: Token) -> float:
    value = float(token.text)
    if value and not SMALLEST_LITERAL <= value <= LARGEST_LITERAL:
        raise ConditionInvalid(
            f"a number in a condition is 0 or between {SMALLEST_LITERAL:g} and {LARGEST_LITERAL:g}",
            token.position,
            reason_zh=f"条件中的数字应为 0，或在 {SMALLEST_LITERAL:g} 与 {LARGEST_LITERAL:g} 之间",
        )
    return value
