"""One condition, three judges: plain Python, Polars and a real PostgreSQL agree on every row."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence

import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.conditions import ColumnType, Condition, clean, parse

COLUMNS = {
    "x": ColumnType.NUMBER,
    "y": ColumnType.NUMBER,
    "z": ColumnType.NUMBER,
    "f": ColumnType.FLAG,
    "g": ColumnType.FLAG,
    "t": ColumnType.TEXT,
}
WINDOWS = ("avg_15m(x)", "since(f)")
"""Functions over time, which a judged row holds by their names, worked out already."""
IN_A_ROW = {**COLUMNS, **dict.fromkeys(WINDOWS, ColumnType.NUMBER)}
POLARS = {
    ColumnType.NUMBER: pl.Float64,
    ColumnType.FLAG: pl.Boolean,
    ColumnType.TEXT: pl.String,
}
POSTGRES = {
    ColumnType.NUMBER: "float8",
    ColumnType.FLAG: "boolean",
    ColumnType.TEXT: "text",
}
Row = tuple[object, ...]
Verdicts = list[list[bool | None]]


@pytest.fixture(scope="module")
def postgres(server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
        yield connection


def sql_name(name: str) -> str:
    return f'"{name}"'


def by_python(conditions: Sequence[Condition], rows: Sequence[Row]) -> Verdicts:
    named = [dict(zip(IN_A_ROW, row, strict=True)) for row in rows]
    return [[condition.evaluate(row) for condition in conditions] for row in named]


def by_polars(conditions: Sequence[Condition], rows: Sequence[Row]) -> Verdicts:
    frame = clean(
        pl.DataFrame(
            rows, schema={name: POLARS[kind] for name, kind in IN_A_ROW.items()}, orient="row"
        )
    )
    judged = frame.select(
        condition.to_polars().alias(str(at)) for at, condition in enumerate(conditions)
    )
    return [list(row) for row in judged.rows()]


def by_postgres(
    connection: psycopg.Connection, expressions: Sequence[str], rows: Sequence[Row]
) -> Verdicts:
    """Judge all rows by all expressions in one query."""
    typed = ", ".join(f"%s::{POSTGRES[kind]}" for kind in IN_A_ROW.values())
    query = (
        f"WITH judged (place, {', '.join(map(sql_name, IN_A_ROW))}) AS"
        f" (VALUES {', '.join(f'({at}, {typed})' for at in range(len(rows)))})"
        f" SELECT {', '.join(expressions)} FROM judged ORDER BY place"
    )
    return [
        list(row) for row in connection.execute(query, [value for row in rows for value in row])
    ]


EDGES = [
    *[None, 0.0, -0.0, 1.0, -1.0, 2.0, 20.0, 0.1, 0.2, 0.3, 1e-15, -1e15, 1e15, 1e9, 1e-9],
    *[math.nan, math.inf, -math.inf, 1.0000000000000002e15, 1e300, -1.7976931348623157e308],
    *[9.999999999999999e-16, 1e-300, 5e-324, -2.2250738585072014e-308, 123456789.987654321],
]
NUMBERS = st.one_of(st.sampled_from(EDGES), st.floats())
FLAGS = st.sampled_from([None, True, False])
TEXTS = st.sampled_from([None, "", "a", "b", "it's", "站点", "x y"])
ROWS = st.lists(
    st.tuples(NUMBERS, NUMBERS, NUMBERS, FLAGS, FLAGS, TEXTS, NUMBERS, NUMBERS),
    min_size=1,
    max_size=8,
)


def _written(value: float) -> str:
    return repr(value)


NUMBER_LEAVES = st.one_of(
    st.sampled_from(
        ["x", "y", "z", *WINDOWS, "y", "z", "NULL", "0", "1", "2", "20", "0.1", "1e-9"]
    ),
    st.floats(min_value=1e-12, max_value=1e12).map(_written),
)
TEXT_LEAVES = st.sampled_from(["t", "t", "t", "NULL", "'a'", "''", "'it''s'", "'站点'"])
FLAG_LEAVES = st.sampled_from(["f", "g", "f", "g", "NULL", "TRUE", "FALSE"])


def _joined(members: list[str]) -> str:
    return ", ".join(members)


@st.composite
def numbers(draw: st.DrawFn, depth: int) -> str:
    shape = draw(st.integers(0, 5)) if depth else 0
    below = numbers(depth - 1)
    match shape:
        case 1 | 2:
            return f"({draw(below)} {draw(st.sampled_from('+-*/'))} {draw(below)})"
        case 3:
            return f"(- {draw(below)})"
        case 4:
            return f"ABS({draw(below)})"
        case 5:
            name = draw(st.sampled_from(["LEAST", "GREATEST", "COALESCE"]))
            return f"{name}({_joined(draw(st.lists(below, min_size=1, max_size=3)))})"
    return draw(NUMBER_LEAVES)


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """A comparison, list, range or null test over numbers or texts."""
    number = numbers(draw(st.integers(0, 3)))
    denial = draw(st.sampled_from(["", "NOT "]))
    match draw(st.integers(0, 5)):
        case 0:
            members = _joined(draw(st.lists(number, min_size=1, max_size=3)))
            return f"({draw(number)} {denial}IN ({members}))"
        case 1:
            return f"({draw(number)} {denial}BETWEEN {draw(number)} AND {draw(number)})"
        case 2:
            return f"({draw(st.one_of(number, TEXT_LEAVES))} IS {denial}NULL)"
        case 3:
            return f"({draw(TEXT_LEAVES)} {draw(st.sampled_from(['=', '<>']))} {draw(TEXT_LEAVES)})"
        case 4:
            members = _joined(draw(st.lists(TEXT_LEAVES, min_size=1, max_size=3)))
            return f"(COALESCE({draw(TEXT_LEAVES)}, t) {denial}IN ({members}))"
    relation = draw(st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="]))
    return f"({draw(number)} {relation} {draw(number)})"


@st.composite
def flags(draw: st.DrawFn, depth: int) -> str:
    below = flags(depth - 1)
    match draw(st.integers(0, 6)) if depth else draw(st.integers(5, 6)):
        case 0 | 1:
            members = draw(st.lists(below, min_size=2, max_size=3))
            return f"({draw(st.sampled_from([' AND ', ' OR '])).join(members)})"
        case 2:
            return f"(NOT {draw(below)})"
        case 3:
            form = draw(st.sampled_from(["TRUE", "FALSE", "NULL"]))
            return f"({draw(below)} IS {draw(st.sampled_from(['', 'NOT ']))}{form})"
        case 4:
            return f"({draw(below)} {draw(st.sampled_from(['=', '<>']))} {draw(below)})"
        case 5:
            return draw(FLAG_LEAVES)
    return draw(comparisons())


def _is_short(text: str) -> bool:
    return len(re.findall(r"'[^']*'|[\w.]+", text)) < 50


CONDITIONS = st.lists(
    st.one_of(flags(3), flags(3).map(lambda text: f"{text} OR g AND x > 1"))
    .filter(_is_short)
    .filter(lambda text: re.search(r"\b[xyzfgt]\b", re.sub("'[^']*'", "", text))),
    min_size=1,
    max_size=10,
)


@settings(max_examples=100, deadline=None)
@given(texts=CONDITIONS, rows=ROWS)
def test_all_three_judges_agree_on_generated_conditions(
    postgres: psycopg.Connection, texts: list[str], rows: list[Row]
):
    conditions = [parse(text, COLUMNS) for text in texts]

    expected = by_python(conditions, rows)

    assert by_polars(conditions, rows) == expected
    assert by_postgres(postgres, [each.to_sql() for each in conditions], rows) == expected


BINDING = [
    "f OR g AND x > 1",
    "NOT f AND g",
    "NOT f OR g",
    "NOT f = g",
    "NOT f IS NULL",
    "NOT x = y IS NULL",
    "x = y IS NULL",
    "x < y IS NOT TRUE",
    "x + y > z IS NOT NULL",
    "f = g IS TRUE",
    "x IN (1, 2) IS NULL",
    "x BETWEEN 1 AND 2 IS FALSE",
    "x BETWEEN 1 AND 2 AND f",
    "x NOT BETWEEN y AND z OR f",
    "NOT x NOT IN (1, y)",
    "NOT x BETWEEN 1 AND z",
    "x - y - z = 0",
    "x + y * z - x / y < z",
    "- x + y > 0",
    "- x * y < - z",
    "x / y / z < 1",
    "x / y * z < 1",
    "x - - y > z",
    "x + 1 IN (y, z + 1)",
    "x + 1 BETWEEN y - 1 AND z + 1",
    "x * 2 IS NULL OR f",
    "f <> g OR t = 'a' AND t <> 'b'",
    "x > 1 AND NOT y > 1 OR z > 1 AND NOT f",
]


@pytest.mark.parametrize("text", BINDING)
def test_operators_bind_as_postgresql_itself_binds_them(postgres: psycopg.Connection, text: str):
    values, known = [None, 1.0, 2.0, -3.0], [None, True, False]
    rows = [
        (x, y, z, f, g, "a" if g else "b", x, y)
        for x, y, z in itertools.product(values, values, values)
        for f, g in itertools.product(known, known)
    ]
    condition = parse(text, COLUMNS)

    as_written = by_postgres(postgres, [text], rows)

    assert by_python([condition], rows) == as_written
    assert by_postgres(postgres, [condition.to_sql()], rows) == as_written
    assert {verdict for (verdict,) in as_written} >= {True, False}


FARTHEST = [
    " * ".join(["x"] * 19),
    "1 / (" + " * ".join(["x"] * 18) + ")",
    "x / y / x / y / x / y / x / y / x",
    "(x - y) / (y - z) / (x - z) * (x - y) * (y - z)",
    "x / (y / (x / (y / (x / (y / (x / (y / x)))))))",
    "((x - y) * (x - y)) * ((x - y) * (x - y)) * ((x - y) * (x - y))",
]


@pytest.mark.parametrize("text", FARTHEST)
def test_arithmetic_at_its_limit_neither_overflows_nor_underflows(
    postgres: psycopg.Connection, text: str
):
    far = [1e15, -1e15, 1e-15, -1e-15, 1.0000000000000002e-15, 999999999999999.9]
    rows = [(x, y, z, None, None, None, x, y) for x, y, z in itertools.product(far, far, far)]
    conditions = [
        parse(f"{text} IS NULL", COLUMNS),
        parse(f"{text} > 1", COLUMNS),
    ]

    expected = by_python(conditions, rows)

    assert by_polars(conditions, rows) == expected
    assert by_postgres(postgres, [each.to_sql() for each in conditions], rows) == expected
    assert any(is_above for _, is_above in expected)
