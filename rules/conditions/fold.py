"""Constant parts of a tree worked out beforehand, for the Polars writer.

Polars answers `literal AND column` with a single value instead of a column of them, which then
fits no frame. So no literal may be left where a chain or COALESCE could stop at it. NULL stays: it
decides nothing. The SQL and the Python interpretation take the tree as it was written.
"""

from dataclasses import replace

from rules.conditions.evaluate import evaluate
from rules.conditions.tree import (
    Absolute,
    Between,
    Calculation,
    Coalesce,
    Column,
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
    children,
    type_of,
)


def folded(node: Node) -> Node:
    """Return a tree of the same meaning without constant parts other than single literals."""
    node = _with_folded_children(node)
    match node:
        case Column() | Window() | Literal():
            return node
        case Every(operands=operands):
            return _folded_chain(node, operands, decisive=False)
        case Some(operands=operands):
            return _folded_chain(node, operands, decisive=True)
        case Coalesce(operands=operands):
            return _folded_coalesce(operands)
    if all(isinstance(child, Literal) for child in children(node)):
        return Literal(evaluate(node, {}), type_of(node))
    return node


def _folded_chain(node: Every | Some, operands: tuple[Node, ...], *, decisive: bool) -> Node:
    """Let one decisive literal decide, and leave the other known literals out."""
    decided = Literal(decisive, type_of(node))
    if decided in operands:
        return decided
    neutral = Literal(not decisive, type_of(node))
    left = tuple(each for each in operands if each != neutral)
    if not left:
        return neutral
    return left[0] if len(left) == 1 else replace(node, operands=left)


def _folded_coalesce(operands: tuple[Node, ...]) -> Node:
    """End at the first literal that is not NULL; leave NULLs out."""
    left: list[Node] = []
    for each in operands:
        if isinstance(each, Literal) and each.value is None:
            continue
        left.append(each)
        if isinstance(each, Literal):
            break
    if not left:
        return operands[0]
    return left[0] if len(left) == 1 else Coalesce(tuple(left))


def _with_folded_children(node: Node) -> Node:
    match node:
        case Column() | Window() | Literal():
            return node
        case Calculation(left=left, right=right) | Comparison(left=left, right=right):
            return replace(node, left=folded(left), right=folded(right))
        case Membership(operand=operand, choices=choices):
            return Membership(folded(operand), tuple(folded(each) for each in choices))
        case Between(operand=operand, low=low, high=high):
            return Between(folded(operand), folded(low), folded(high))
        case Extreme() | Coalesce() | Every() | Some():
            return replace(node, operands=tuple(folded(each) for each in node.operands))
        case Negative() | Absolute() | IsNull() | IsTruth() | Not():
            return replace(node, operand=folded(node.operand))
