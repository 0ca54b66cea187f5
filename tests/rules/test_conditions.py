"""Rule text: what is read and how it is judged, what is refused and with which words."""

import math
from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.conditions import ColumnType, Condition, ConditionInvalid, clean, parse
from rules.conditions.tree import SPANS, Between, Column, Every, columns_of, depth_of

NUMBER, FLAG, TEXT = ColumnType.NUMBER, ColumnType.FLAG, ColumnType.TEXT
COLUMNS = {
    "battery_charge": NUMBER,
    "ups_load": NUMBER,
    "x": NUMBER,
    "y": NUMBER,
    "z": NUMBER,
    "status_on_battery": FLAG,
    "f": FLAG,
    "g": FLAG,
    "model": TEXT,
}
NAN, INF = math.nan, math.inf
Row = Mapping[str, object]


def frame_of(*rows: Row) -> pl.DataFrame:
    dtypes = {NUMBER: pl.Float64, FLAG: pl.Boolean, TEXT: pl.String}
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in COLUMNS},
        schema={name: dtypes[kind] for name, kind in COLUMNS.items()},
    )


JUDGED: list[tuple[str, Row, bool | None]] = [
    ("battery_charge < 20", {"battery_charge": 19.9}, True),
    ("battery_charge < 20", {"battery_charge": 20.0}, False),
    ("battery_charge < 20", {}, None),
    ("Battery_Charge < 20", {"battery_charge": 1.0}, True),
    ("x <= 1 and not f", {"x": 1.0, "f": False}, True),
    # Missing is not normal: NaN, infinities and what no sensor measures are NULL, not extremes.
    ("x < 20", {"x": NAN}, None),
    ("x > 20", {"x": INF}, None),
    ("x < 20", {"x": -INF}, None),
    ("x > 20", {"x": 1e15}, True),
    ("x > 20", {"x": 1.1e15}, None),
    ("x IS NULL", {"x": NAN}, True),
    ("x = 0", {"x": 1e-16}, True),
    ("x = 0", {"x": 1e-15}, False),
    ("x = 0", {"x": -0.0}, True),
    # Three-valued logic.
    ("f AND g", {"f": False}, False),
    ("f AND g", {"f": True}, None),
    ("f OR g", {"f": True}, True),
    ("f OR g", {"f": False}, None),
    ("NOT f", {}, None),
    ("f = g", {"f": True, "g": True}, True),
    ("f <> g", {"f": True, "g": True}, False),
    ("f IS TRUE", {}, False),
    ("f IS NOT TRUE", {}, True),
    ("f IS FALSE", {}, False),
    ("f IS NOT FALSE", {"f": False}, False),
    ("x > 1 IS TRUE", {}, False),
    ("x > 1 IS NULL", {}, True),
    ("x = NULL", {"x": 1.0}, None),
    ("NULL OR f", {"f": True}, True),
    # Arithmetic is float arithmetic.
    ("x / 2 = 0.5", {"x": 1.0}, True),
    ("1 / 2 * x = 0.5", {"x": 1.0}, True),
    ("x / y > 1", {"x": 3.0, "y": 0.0}, None),
    ("x / y > 1", {"x": 3.0, "y": -0.0}, None),
    ("x / (y - y) IS NULL", {"x": 3.0, "y": 5.0}, True),
    ("x - y - 1 = 0", {"x": 3.0, "y": 2.0}, True),
    ("x - (y - 1) = 2", {"x": 3.0, "y": 2.0}, True),
    ("-x * 2 = -6", {"x": 3.0}, True),
    ("x - -1 = 4", {"x": 3.0}, True),
    ("- - x = 3", {"x": 3.0}, True),
    ("abs(x) = 3", {"x": -3.0}, True),
    ("x + y > 0", {"x": 3.0}, None),
    # Lists and ranges.
    ("x IN (1, 2)", {"x": 2.0}, True),
    ("x IN (1, NULL)", {"x": 1.0}, True),
    ("x IN (1, NULL)", {"x": 2.0}, None),
    ("x NOT IN (1, NULL)", {"x": 1.0}, False),
    ("x NOT IN (1, y)", {"x": 2.0, "y": 3.0}, True),
    ("x IN (1, 2)", {}, None),
    ("model IN ('A', 'it''s')", {"model": "it's"}, True),
    ("model = '站点 3'", {"model": "站点 3"}, True),
    ("model <> 'AND (x'", {"model": "B"}, True),
    ("x BETWEEN 1 AND 3", {"x": 3.0}, True),
    ("x NOT BETWEEN 1 AND 3", {"x": 0.0}, True),
    ("x BETWEEN y AND 3", {"x": 5.0}, False),
    ("x BETWEEN y AND 3", {"x": 2.0}, None),
    ("x BETWEEN 3 AND 1", {"x": 2.0}, False),
    # Functions.
    ("COALESCE(x, y, 7) = 7", {}, True),
    ("COALESCE(x, 7) = 7", {"x": NAN}, True),
    ("COALESCE(f, TRUE)", {}, True),
    ("COALESCE(NULL, model) = 'A'", {"model": "A"}, True),
    ("LEAST(x, y, 5) = 2", {"y": 2.0}, True),
    ("GREATEST(x, y) IS NULL", {}, True),
    # How operators bind.
    ("f OR g AND x > 1", {"f": True, "g": False, "x": 0.0}, True),
    ("NOT f OR g", {"f": True, "g": True}, True),
    ("NOT f = g", {"f": True, "g": False}, True),
    ("x + y * 2 = 7", {"x": 1.0, "y": 3.0}, True),
    ("x\n  > 1\n  AND f", {"x": 2.0, "f": True}, True),
]


@pytest.mark.parametrize(("text", "row", "expected"), JUDGED)
def test_a_condition_judges_a_row_alike_in_python_and_polars(
    text: str, row: Row, expected: bool | None
):
    condition = parse(text, COLUMNS)

    assert condition.evaluate(row) is expected
    assert clean(frame_of(row)).select(condition.to_polars()).to_series().to_list() == [expected]


REFUSED: list[tuple[str, str, int | None]] = [
    # Vocabulary.
    ("batery_charge < 20", "unknown column `batery_charge`; did you mean `battery_charge`", 1),
    ("x > 1 AND nonsense", "unknown column `nonsense`", 11),
    ("battery.charge < 20", "with underscores: `battery_charge`", 1),
    ("pg_sleep(10)", "no function `pg_sleep`", 1),
    ("x > 1 OR pg_sleep(10) IS NULL", "no function `pg_sleep`", 10),
    ("average_15m(x) > 1", "over time avg, min, max", 1),
    ("avg(x) > 1", "say how far avg looks back: avg_15m", 1),
    ("avg_16m(x) > 1", "a span of 16m is not there", 1),
    ("since_1h(f) > 60", "since has no span", 1),
    ("x > 0 OR avg_15m(x + 1) > 1", "looks at one column's past", 10),
    ("avg_15m(TRUE) > 1", "looks at the past of a column", 9),
    ("avg_15m(z) > 1", "`z` has no past to look at", 9),
    ("avg_15m(zz) > 1", "unknown column `zz`", 9),
    ("avg_15m(f) > 1", "avg is not for `f`: avg, min, max, delta, rate are for numbers", 1),
    ("share_24h(x) > 1", "share is not for `x`", 1),
    ("avg_15m(x)", "this is a number", 1),
    ("avg_15m(x) AND f", "a flag is needed", 1),
    (
        " + ".join(f"{name}_{span}(x)" for name in ("avg", "min") for span in SPANS) + " > 1",
        "at most 10 functions over time",
        126,
    ),
    ("coalesc(x, 1) > 1", "did you mean COALESCE", 1),
    ("count(*) > 1", "`count` looks at one column's past", 1),
    ("ABS > 1", "`ABS` is a function", 1),
    ("x > ALL (1)", "no function `ALL`", 5),
    ("x > (SELECT 1)", "no queries", 6),
    ("model LIKE 'a'", "no patterns", 7),
    ("CASE WHEN f THEN f END", "no CASE", 1),
    ("x IS DISTINCT FROM 1", "no IS DISTINCT FROM", 6),
    # Signs that are not of the language.
    ("1=1; drop table x", "no second statement", 4),
    ("x > 1 -- or so", "comments", 7),
    ("x > 1 /* or so */", "comments", 7),
    ("x = --1", "comments", 5),
    ('"x" > 1', "quoted names", 1),
    ("x == 1", "write =", 3),
    ("f && g", "write AND", 3),
    ("f || g", "write OR", 3),
    ("x::text = 'a'", "casts", 2),
    ("x > $1", "character $", 5),
    ("x > %s", "character %", 5),
    ("x > :a", "character :", 5),
    ("x > ?", "character ?", 5),
    ("x[1] > 1", "character [", 2),
    ("model ~ 'a'", "character ~", 7),
    ("model -> 'a' = 'b'", "a column or value is missing before `>`", 8),
    ("model @> 'a'", "character @", 7),
    ("x ^ 2 > 1", "character ^", 3),
    ("f = f\x00", "U+0000", 6),
    ("x ＞ 1", "write > in place of", 3),
    ("model = ‘a’", "write ' in place of", 9),
    ("model = E'a'", "character E", 9),
    ("model = 'a", "a text stands in single quotes", 9),
    ("model = 'a\\'", "a text stands in single quotes", 9),
    ("model = '50 %'", "a text stands in single quotes", 9),
    ("model = 'a\nb'", "a text stands in single quotes", 9),
    ("model = 'a' 'b'", "an operator is missing", 13),
    # Numbers.
    ("x > .5", "no number", 5),
    ("x > 1.", "no number", 5),
    ("x > 1_000", "no number", 5),
    ("x > 0x1F", "no number", 5),
    ("x > 1e13", "between 1e-12 and 1e+12", 5),
    ("x > 1e999", "between 1e-12 and 1e+12", 5),
    ("x > 1e-13", "between 1e-12 and 1e+12", 5),
    ("x > NaN", "unknown column `NaN`", 5),
    # Order of words.
    ("", "empty", None),
    (" \n", "empty", None),
    ("x 1", "an operator is missing", 3),
    ("f g", "an operator is missing", 3),
    ("f AND", "missing before the end", None),
    ("f OR OR g", "missing before `OR`", 6),
    ("AND f", "missing before `AND`", 1),
    ("x > + 1", "missing before `+`", 5),
    ("x IN ()", "missing before `)`", 7),
    ("COALESCE()", "missing before `)`", 10),
    ("f NOT g", "an operator is missing", 7),
    ("x IN y", "after IN comes a list", 6),
    ("ABS(x, y) > 1", "not a condition", None),
    ("(f, g)", "not a condition", 2),
    ("f IS NOT", "missing before the end", None),
    ("f IS g", "after IS comes", 6),
    ("(f", "never closed", 1),
    ("f)", "closes nothing", 2),
    ("x < y < 1", "put parentheses", 1),
    ("f = NOT g", "put parentheses", 1),
    ("f IS NULL IS NULL", "put parentheses", 1),
    # Types.
    ("x", "this is a number", 1),
    ("x + 1", "this is a number", 1),
    ("model", "this is a text", 1),
    ("f = 1", "a flag is not a number", 1),
    ("f AND x", "a flag is needed here, this is a number", 7),
    ("NOT x", "a flag is needed here, this is a number", 5),
    ("f + 1 > 2", "a number is needed here, this is a flag", 1),
    ("1 < x + (y > 1)", "a number is needed here, this is a flag", 10),
    ("model + 'a' = 'b'", "a number is needed here, this is a text", 1),
    ("model = 1", "a text is needed here, this is a number", 9),
    ("model < 'a'", "only numbers have an order", 1),
    ("f > g", "only numbers have an order", 1),
    ("f IN (g, TRUE)", "IN is for numbers and texts", 1),
    ("x IN (1, 'a')", "a number is needed here, this is a text", 10),
    ("x IS TRUE", "a flag is needed here, this is a number", 1),
    ("f BETWEEN 1 AND 2", "a number is needed here, this is a flag", 1),
    ("LEAST(model, 'a') = 'a'", "a number is needed here, this is a text", 7),
    ("COALESCE(x, f) > 1", "a number is needed here, this is a flag", 13),
    ("1 = 1", "one column at least", 1),
    ("NULL", "one column at least", 1),
    # Size.
    ("x" + " + x" * 4000 + " > 1", "at most 4,000 characters", None),
    ("x" + " + x" * 60 + " > 1", "at most 60 columns and values", 241),
    ("x" + " + x" * 30 + " > 1", "nested more than 20", None),
    ("(" * 500 + "f" + ")" * 500, "nested more than 20", 21),
    ("NOT " * 900 + "f", "nested more than 20", 81),
    ("x > " + "- " * 900 + "1", "nested more than 20", 45),
    ("NOT (" * 20 + "f" + ")" * 20, "nested more than 20", None),
    (" * ".join(["x"] * 20) + " > 1", "range of numbers", 1),
    ("x > " + "y / (" * 18 + "y - x" + ")" * 18, "range of numbers", 5),
]


@pytest.mark.parametrize(("text", "reason", "position"), REFUSED)
def test_what_is_not_a_condition_is_refused_with_reason_and_place(
    text: str, reason: str, position: int | None
):
    with pytest.raises(ConditionInvalid) as refusal:
        parse(text, COLUMNS, with_past=COLUMNS.keys() - {"z"})

    assert reason in refusal.value.reason
    assert refusal.value.position == position
    assert any("\u4e00" <= character <= "\u9fff" for character in refusal.value.reason_zh)
    if position is not None:
        assert str(refusal.value).endswith(f"(at character {position})")


@pytest.mark.parametrize(
    "text",
    [
        " AND ".join(["f"] * 60),
        "x IS NULL" + " OR x IS NOT NULL" * 59,
        "(" * 20 + "f" + ")" * 20,
        " + ".join(["x"] * 19) + " > 1",
        " * ".join(["x"] * 19) + " > 1",
        "model = '" + "a" * 3990 + "'",
    ],
)
def test_a_condition_at_a_limit_is_read(text: str):
    assert parse(text, COLUMNS).columns


def test_a_chain_of_one_connective_is_one_node_however_long():
    root = parse("f AND x BETWEEN 1 AND 2 AND g", COLUMNS).root

    assert isinstance(root, Every)
    assert [type(each) for each in root.operands] == [Column, Between, Column]


def test_a_condition_names_the_columns_it_uses_and_explains_what_they_counted_as():
    condition = parse("x / y > 1 OR y IS NULL OR NOT f", COLUMNS)

    assert condition.columns == {"x", "y", "f"}
    assert condition.explain({"x": NAN, "y": 3, "f": True, "g": False}) == [
        ("x", None),
        ("y", 3.0),
        ("f", True),
    ]


@pytest.mark.parametrize("row", [{"x": True}, {"x": "12"}, {"f": 1}, {"model": 1.0}])
def test_a_row_with_a_value_of_another_type_is_not_judged(row: Row):
    with pytest.raises(TypeError, match="its value is"):
        parse("x > 1 AND f AND model = 'a'", COLUMNS).evaluate({"x": 2.0, "f": True} | row)


def test_sql_is_written_from_the_tree_and_not_from_the_text():
    assert (
        parse("model='it''s' and NOT f", COLUMNS).to_sql()
        == """(("model" = 'it''s'::text) AND (NOT "f"))"""
    )
    assert "NULLIF(2.0::float8, 0::float8)" in parse("x / 2 > 1", COLUMNS).to_sql()


def test_a_column_that_could_not_stand_in_sql_is_not_in_the_vocabulary():
    with pytest.raises(ConditionInvalid, match="unknown column"):
        parse("a > 1", {"A": NUMBER, 'a"': NUMBER})


def test_a_clean_frame_is_returned_as_it_is():
    frame = frame_of({"x": 1.0, "f": True}, {"y": 0.0, "model": "a"})

    assert clean(frame) is frame
    assert clean(frame.clear()).height == 0


def test_a_frame_is_cleaned_of_what_no_sensor_measures():
    frame = frame_of({"x": NAN, "y": 1.0}, {"x": -INF, "y": -1e300}, {"x": 5e-324, "f": True})

    cleaned = clean(frame)

    assert cleaned["x"].to_list() == [None, None, 0.0]
    assert cleaned["y"].to_list() == [1.0, None, None]
    assert cleaned.drop("x", "y").equals(frame.drop("x", "y"))
    assert cleaned.columns == frame.columns


def test_other_number_types_are_cleaned_into_floats():
    frame = pl.DataFrame({"x": [1, None], "y": [0.5, NAN]}, schema={"x": pl.Int32, "y": pl.Float32})

    assert clean(frame).to_dict(as_series=False) == {"x": [1.0, None], "y": [0.5, None]}


def test_many_conditions_are_judged_in_one_selection():
    frame = clean(frame_of({"x": 1.0, "f": True}, {"x": 3.0}, {}))
    texts = ["x > 2", "f IS TRUE", "COALESCE(x, 0) = 0"]

    judged = frame.select(
        parse(text, COLUMNS).to_polars().alias(f"rule_{at}") for at, text in enumerate(texts)
    )

    assert judged.rows() == [(False, True, False), (True, False, False), (None, False, True)]


WORDS = [
    *COLUMNS,
    *["AND", "OR", "NOT", "IN", "BETWEEN", "IS", "NULL", "TRUE", "FALSE"],
    *["COALESCE", "ABS", "LEAST", "GREATEST", "select", "x(", "y)"],
    *["+", "-", "*", "/", "=", "<>", "!=", "<", "<=", ">", ">=", "(", ")", "(", ")", ","],
    *["0", "1", "20", "0.5", "1e-5", "'a'", "''", ";", "--", "::", '"'],
]


def read_or_refused(text: str) -> Condition | ConditionInvalid:
    try:
        return parse(text, COLUMNS)
    except ConditionInvalid as refusal:
        return refusal


def check_answer(text: str, answer: Condition | ConditionInvalid) -> None:
    if isinstance(answer, ConditionInvalid):
        assert answer.reason
        assert answer.reason_zh
        assert answer.position is None or 1 <= answer.position <= len(text)
    else:
        assert depth_of(answer.root) <= 20
        assert {column.name for column in columns_of(answer.root)} <= set(COLUMNS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.sampled_from([" ", "", "\n"]))
def test_any_heap_of_words_is_read_or_refused(words: list[str], gap: str):
    text = gap.join(words)

    check_answer(text, read_or_refused(text))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str):
    check_answer(text, read_or_refused(text))
