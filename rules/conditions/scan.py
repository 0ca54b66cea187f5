"""Rule text into words, with every limit that must hold before a parser may look at it.

What leaves here is short, shallow and made of known words only: known columns, the keywords and
functions below, numbers, plain texts and operators. So sqlglot never meets a query, a cast, a
comment or a function of the database. Word order and types are not judged here but in `build`.
"""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto

from rules.conditions.refusal import ConditionInvalid
from rules.conditions.tree import LONGEST_SPAN, SPANS, Aggregate, Column, ColumnType, Window

MOST_CHARACTERS = 4000
MOST_DEPTH = 20
MOST_TERMS = 60
MOST_WINDOWS = 10

FUNCTIONS = frozenset({"ABS", "COALESCE", "GREATEST", "LEAST"})
KEYWORDS = frozenset({"AND", "BETWEEN", "FALSE", "IN", "IS", "NOT", "NULL", "OR", "TRUE"})
_VALUES = frozenset({"FALSE", "NULL", "TRUE"})
_COLUMN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.]))
    | (?P<word>[A-Za-z_]\w*(?![\w.']))
    | (?P<text>'(?:[^'\\%\x00-\x1f\x7f\ud800-\udfff]|'')*'(?![\w']))
    | (?P<symbol><=|>=|<>|!=|[-+*/=<>(),])""",
    re.VERBOSE | re.ASCII,
)


_WINDOW = re.compile(
    rf"""(?P<call>(?P<aggregate>{"|".join(Aggregate)})(?:_(?P<span>\d+[A-Za-z]*))?)
    [ \t\r\n]*\([ \t\r\n]*(?P<column>[A-Za-z_]\w*)[ \t\r\n]*\)""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


class Sort(Enum):
    """What a token is to the parser."""

    OPERAND = auto()
    """A column, a number, a text, TRUE, FALSE or NULL."""
    FUNCTION = auto()
    KEYWORD = auto()
    """A keyword that is not a value."""
    SYMBOL = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A word of rule text; `text` is in lower case for a column, in upper case for a keyword.

    A window function with its column is one operand: to the parser it is a column.
    """

    sort: Sort
    text: str
    position: int
    window: Window | None = None


def scan(text: str, columns: Mapping[str, ColumnType], with_past: Container[str]) -> list[Token]:
    """Split rule text into tokens; raise ConditionInvalid for whatever is not of the language."""
    if len(text) > MOST_CHARACTERS:
        raise ConditionInvalid(
            f"a condition has at most {MOST_CHARACTERS:,} characters, this one has {len(text):,}",
            reason_zh=f"条件最多 {MOST_CHARACTERS} 个字符，现有 {len(text)} 个",
        )
    tokens = list(_tokens(text, columns, with_past))
    if not tokens:
        raise ConditionInvalid(
            "the condition is empty; write a comparison such as battery_charge < 20",
            reason_zh="条件为空；请写一个比较式，例如 battery_charge < 20",
        )
    _check_terms(tokens)
    _check_windows(tokens)
    _check_nesting(tokens)
    _check_order(tokens)
    _check_phrases(tokens)
    return tokens


def _tokens(
    text: str, columns: Mapping[str, ColumnType], with_past: Container[str]
) -> Iterator[Token]:
    at = 0
    while at < len(text):
        window = _WINDOW.match(text, at)
        if window is not None:
            yield _window(window, at + 1, columns, with_past)
            at = window.end()
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        written = match.group()
        match match.lastgroup:
            case "space":
                pass
            case "word":
                follows = text[match.end() :].lstrip(" \t\r\n")
                yield _word(written, at + 1, columns, is_called=follows.startswith("("))
            case "symbol":
                if text.startswith(("--", "/*", "=="), at):
                    raise _unreadable(text, at)
                yield Token(Sort.SYMBOL, written, at + 1)
            case _:
                yield Token(Sort.OPERAND, written, at + 1)
        at = match.end()


def _word(
    written: str, position: int, columns: Mapping[str, ColumnType], *, is_called: bool
) -> Token:
    upper, lower = written.upper(), written.lower()
    if upper in KEYWORDS:
        return Token(Sort.OPERAND if upper in _VALUES else Sort.KEYWORD, upper, position)
    if is_called:
        if upper in FUNCTIONS:
            return Token(Sort.FUNCTION, upper, position)
        if lower.partition("_")[0] in set(Aggregate):
            raise ConditionInvalid(
                f"`{written}` looks at one column's past; write it like {_EXAMPLES}",
                position,
                reason_zh=f"`{written}` 只看一个列的历史；请写成 {_EXAMPLES}",
            )
        known = ", ".join(sorted(FUNCTIONS))
        windows = ", ".join(Aggregate)
        raise ConditionInvalid(
            f"there is no function `{written}`{_meant(upper, FUNCTIONS)}; there are {known},"
            f" and over time {windows}, like {_EXAMPLES}",
            position,
            reason_zh=f"没有函数 `{written}`；可用的函数有 {known}，"
            f"时间窗口函数有 {windows}，例如 {_EXAMPLES}",
        )
    if lower in columns and _COLUMN_NAME.fullmatch(lower):
        return Token(Sort.OPERAND, lower, position)
    if upper in FUNCTIONS:
        raise ConditionInvalid(
            f"`{written}` is a function; write {upper}(…)",
            position,
            reason_zh=f"`{written}` 是函数，请写成 {upper}(…)",
        )
    if upper in _FOREIGN:
        reason, reason_zh = _FOREIGN[upper]
        raise ConditionInvalid(reason, position, reason_zh=reason_zh)
    near = _near(lower, columns)
    raise ConditionInvalid(
        f"unknown column `{written}`" + (f"; did you mean `{near}`?" if near else ""),
        position,
        reason_zh=f"没有列 `{written}`" + (f"；是否想写 `{near}`？" if near else ""),
    )


_EXAMPLES = "avg_15m(ups_load), since(status_on_battery)"


def _window(
    match: re.Match[str],
    position: int,
    columns: Mapping[str, ColumnType],
    with_past: Container[str],
) -> Token:
    """Read a window function with its column; raise ConditionInvalid where it is none."""
    aggregate = Aggregate(match["aggregate"].lower())
    column = _word(match["column"], match.start("column") + 1, columns, is_called=False)
    if column.sort is not Sort.OPERAND or column.text not in columns:
        raise ConditionInvalid(
            f"{match['call']} looks at the past of a column",
            match.start("column") + 1,
            reason_zh=f"{match['call']} 只能用于一个列",
        )
    if column.text not in with_past:
        raise ConditionInvalid(
            f"`{column.text}` has no past to look at: functions over time are for what units"
            " report themselves; write the column alone",
            match.start("column") + 1,
            reason_zh=f"`{column.text}` 没有历史：时间窗口函数只用于设备上报的测点；请直接写该列",
        )
    wanted = ColumnType.FLAG if aggregate.is_of_flags else ColumnType.NUMBER
    if columns[column.text] is not wanted:
        numbers = ", ".join(each for each in Aggregate if not each.is_of_flags)
        flags = ", ".join(each for each in Aggregate if each.is_of_flags)
        raise ConditionInvalid(
            f"{aggregate} is not for `{column.text}`: {numbers} are for numbers, {flags} for flags",
            position,
            reason_zh=f"{aggregate} 不能用于 `{column.text}`：{numbers} 用于数值，"
            f"{flags} 用于开关量",
        )
    span = _span(aggregate, match["span"], position)
    window = Window(aggregate, span, Column(column.text, wanted))
    return Token(Sort.OPERAND, f"{aggregate}_{span}__{column.text}", position, window)


def _span(aggregate: Aggregate, written: str | None, position: int) -> str:
    if aggregate is Aggregate.SINCE:
        if written is not None:
            raise ConditionInvalid(
                "since has no span: it counts from when the flag became true",
                position,
                reason_zh="since 不带时长：从状态量变为真时起计",
            )
        return LONGEST_SPAN
    known = ", ".join(SPANS)
    if written is None:
        raise ConditionInvalid(
            f"say how far {aggregate} looks back: {aggregate}_15m(…); there are {known}",
            position,
            reason_zh=f"请写明时长，例如 {aggregate}_15m(…)；可用的时长有 {known}",
        )
    if written.lower() not in SPANS:
        raise ConditionInvalid(
            f"a span of {written} is not there; there are {known}",
            position,
            reason_zh=f"没有时长 {written}；可用的时长有 {known}",
        )
    return written.lower()


_PATTERNS = ("there are no patterns; compare texts by = or IN", "不支持模式匹配；文本请用 = 或 IN")
_FOREIGN = {
    "LIKE": _PATTERNS,
    "ILIKE": _PATTERNS,
    "SIMILAR": _PATTERNS,
    "CASE": (
        "there is no CASE; join conditions by AND and OR",
        "不支持 CASE；请用 AND、OR 连接条件",
    ),
    "SELECT": ("there are no queries; name columns alone", "不支持查询；请直接写列名"),
    "DISTINCT": (
        "there is no IS DISTINCT FROM; write IS [NOT] NULL or IS [NOT] TRUE",
        "不支持 IS DISTINCT FROM；请写 IS [NOT] NULL 或 IS [NOT] TRUE",
    ),
}


def _near(word: str, vocabulary: Mapping[str, ColumnType] | frozenset[str]) -> str | None:
    return next(iter(get_close_matches(word, vocabulary, n=1, cutoff=0.7)), None)


def _meant(word: str, vocabulary: frozenset[str]) -> str:
    near = _near(word, vocabulary)
    return f" (did you mean {near}?)" if near else ""


_HINTS = (
    (
        ";",
        "a condition is one expression: no second statement",
        "条件只能是一个表达式，不能有第二条语句",
    ),
    (
        "--",
        "comments are not part of a condition; for minus a minus write - (-x)",
        "条件中不能有注释；减负数请写 - (-x)",
    ),
    ("/*", "comments are not part of a condition", "条件中不能有注释"),
    (
        '"',
        "quoted names are not part of a condition; texts stand in single quotes",
        "不能使用双引号；文本请用单引号",
    ),
    ("==", "write = for equal", "等于请写 ="),
    (
        "::",
        "casts are not part of a condition; numbers are floats as they are",
        "条件中不能有类型转换；数字本来就是浮点数",
    ),
    (
        "||",
        "texts cannot be joined; for either of two conditions write OR",
        "文本不能拼接；“或”请写 OR",
    ),
    ("&&", "write AND", "“与”请写 AND"),
)
_WIDE = dict(zip("（），＜＞＝＋－＊／＇‘’“”。；", "(),<>=+-*/'''''.;", strict=True))


def _unreadable(text: str, at: int) -> ConditionInvalid:
    """Say what is wrong at a place where no token begins."""
    rest = text[at:]
    position = at + 1
    character = rest[0]
    for start, reason, reason_zh in _HINTS:
        if rest.startswith(start):
            return ConditionInvalid(reason, position, reason_zh=reason_zh)
    if dotted := re.match(r"[A-Za-z_][\w.-]*\w", rest, re.ASCII):
        column = re.sub(r"[.-]", "_", dotted.group()).lower()
        return ConditionInvalid(
            f"write a column with underscores: `{column}`",
            position,
            reason_zh=f"列名请用下划线：`{column}`",
        )
    if re.match(r"\.?[0-9]", rest):
        return ConditionInvalid(
            "this is no number; write numbers like 20, 0.5 or 1e6",
            position,
            reason_zh="这不是数字；数字请写成 20、0.5 或 1e6",
        )
    if character == "'":
        return ConditionInvalid(
            "a text stands in single quotes and holds no backslash, percent or control character",
            position,
            reason_zh="文本请用一对单引号，其中不能有反斜杠、百分号或控制字符",
        )
    if character in _WIDE:
        return ConditionInvalid(
            f"write {_WIDE[character]} in place of the wide {character}",
            position,
            reason_zh=f"请用半角 {_WIDE[character]} 代替全角 {character}",
        )
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return ConditionInvalid(
        f"the character {shown} is not part of a condition",
        position,
        reason_zh=f"条件中不能有字符 {shown}",
    )


def _check_terms(tokens: list[Token]) -> None:
    terms = [
        token
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.sort is Sort.OPERAND
        and not (token.text in _VALUES and before is not None and before.text in {"IS", "NOT"})
    ]
    if len(terms) > MOST_TERMS:
        raise ConditionInvalid(
            f"a condition has at most {MOST_TERMS} columns and values, this one has {len(terms)};"
            " split it into several rules",
            terms[MOST_TERMS].position,
            reason_zh=f"条件最多 {MOST_TERMS} 个列和值，现有 {len(terms)} 个；请拆成几条规则",
        )


def _check_windows(tokens: list[Token]) -> None:
    windows = [token for token in tokens if token.window is not None]
    if len({token.window for token in windows}) > MOST_WINDOWS:
        raise ConditionInvalid(
            f"a condition has at most {MOST_WINDOWS} functions over time; split it into several"
            " rules",
            windows[MOST_WINDOWS].position,
            reason_zh=f"条件最多 {MOST_WINDOWS} 个时间窗口函数；请拆成几条规则",
        )


def too_deep(position: int | None) -> ConditionInvalid:
    """Refuse nesting beyond the limit."""
    return ConditionInvalid(
        f"the condition is nested more than {MOST_DEPTH} levels deep",
        position,
        reason_zh=f"条件嵌套超过 {MOST_DEPTH} 层",
    )


def _check_nesting(tokens: list[Token]) -> None:
    """Check that parentheses match, and that neither they nor prefixes nest too deeply."""
    open_at: list[Token] = []
    prefixes = 0
    for token in tokens:
        is_prefix = token.text in {"NOT", "-"} and token.sort is not Sort.OPERAND
        prefixes = prefixes + 1 if is_prefix else 0
        if token.text == "(":
            open_at.append(token)
        elif token.text == ")":
            if not open_at:
                raise ConditionInvalid(
                    "this ) closes nothing", token.position, reason_zh="多余的右括号"
                )
            open_at.pop()
        if len(open_at) + prefixes > MOST_DEPTH:
            raise too_deep(token.position)
    if open_at:
        raise ConditionInvalid(
            "this ( is never closed", open_at[-1].position, reason_zh="左括号没有对应的右括号"
        )


_END = Token(Sort.SYMBOL, ")", 0)


def _check_order(tokens: list[Token]) -> None:
    """Check that values and operators take turns."""
    after_value = False
    for token in [*tokens, _END]:
        starts = token.sort in {Sort.OPERAND, Sort.FUNCTION} or token.text == "("
        if starts and after_value:
            raise ConditionInvalid(
                f"an operator is missing before `{token.text}`",
                token.position,
                reason_zh=f"`{token.text}` 前缺少运算符",
            )
        if not (starts or after_value or (token.text in {"NOT", "-"})):
            is_end = token is _END
            what = "the end" if is_end else f"`{token.text}`"
            raise ConditionInvalid(
                f"a column or value is missing before {what}",
                None if is_end else token.position,
                reason_zh="表达式末尾缺少列或值" if is_end else f"`{token.text}` 前缺少列或值",
            )
        is_before_in = after_value and token.text == "NOT"
        after_value = is_before_in or token.sort is Sort.OPERAND or token.text == ")"


def _check_phrases(tokens: list[Token]) -> None:
    """Check what must follow IN and IS."""
    for at, token in enumerate(tokens[:-1]):
        following = tokens[at + 1]
        if token.text == "IN" and following.text != "(":
            raise ConditionInvalid(
                "after IN comes a list in parentheses, such as IN (1, 2)",
                following.position,
                reason_zh="IN 之后应为括号中的列表，例如 IN (1, 2)",
            )
        if token.text == "IS" and following.text == "NOT" and at + 2 < len(tokens):
            following = tokens[at + 2]
        if token.text == "IS" and following.text not in _VALUES:
            raise ConditionInvalid(
                "after IS comes [NOT] NULL, TRUE or FALSE",
                following.position,
                reason_zh="IS 之后只能是 [NOT] NULL、TRUE 或 FALSE",
            )
