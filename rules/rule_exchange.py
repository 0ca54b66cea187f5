"""Own rules and overrides as one TOML text, and what such a text would change. Pure.

An own rule is a table by its key, as shipped rules are; an override is one of `[[override]]`, with
`rule` and `device`, `site`, or `model` and perhaps `maker`, or none of them: for all units.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rules.catalogue import RuleInvalid
from rules.catalogue.text import override_of, read_tables, rule_of
from rules.catalogue.writing import Difference, differences, table
from rules.versions import RULE, Scope, Version, fields_in, override_text, rule_text

Item = tuple[str, Scope]
MOST = 5_000
"""Rules and overrides that one text may have."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What an import would do to one rule or override: its new text, and what differs."""

    rule_key: str
    scope: Scope
    deed: Literal["add", "change", "take_away"]
    text: str | None
    differences: list[Difference]


def exported(in_force: Iterable[Version]) -> str:
    """Write versions in force: rules by key, then overrides by rule and scope."""
    found = [one for one in in_force if one.text is not None]
    rules = sorted((one for one in found if one.scope == RULE), key=lambda one: one.rule_key)
    others = sorted(
        (one for one in found if one.scope != RULE), key=lambda one: (one.rule_key, one.scope)
    )
    parts = [one.text for one in rules if one.text is not None]
    parts += [
        table(
            "[[override]]",
            {
                "rule": one.rule_key,
                **_scope_fields(one.scope),
                **fields_in(one.rule_key, one.scope, one.text),
            },
        )
        for one in others
    ]
    return "\n".join(parts)


def _scope_fields(scope: Scope) -> dict[str, str]:
    if scope.kind in {"device", "site"}:
        return {scope.kind: scope.about}
    if scope.kind == "model":
        return {"model": scope.about} | ({"maker": scope.maker} if scope.maker else {})
    return {}


def read_exchange(text: str) -> dict[Item, str]:
    """Read a text into the versions that it asks for; raise `RuleInvalid` for the first fault."""
    tables = read_tables(text)
    overrides = tables.pop("override", [])
    if not isinstance(overrides, list):
        raise RuleInvalid(
            "overrides are written [[override]]",
            reason_zh="覆盖须写作 [[override]]",
            rule="override",
            field="table",
        )
    if len(tables) + len(overrides) > MOST:
        raise RuleInvalid(
            f"more than {MOST:,} rules and overrides", reason_zh=f"规则与覆盖超过 {MOST:,} 条"
        )
    found: dict[Item, str] = {
        (key, RULE): rule_text(rule_of(key, one)) for key, one in tables.items()
    }
    for number, one in enumerate(overrides, start=1):
        key, scope, fields = _override(number, one)
        if (key, scope) in found:
            raise RuleInvalid(
                f"override {number}: this scope has one already",
                reason_zh=f"第 {number} 个覆盖：此范围已有一条",
                rule=key,
                field="scope",
            )
        found[key, scope] = override_text(key, override_of(key, fields))
    return found


def _override(number: int, one: object) -> tuple[str, Scope, dict[str, Any]]:
    fields = dict(one) if isinstance(one, dict) else {}
    key = fields.pop("rule", None)
    named = {
        name: fields.pop(name) for name in ("device", "site", "model", "maker") if name in fields
    }
    if not isinstance(key, str) or not all(map(_is_name, named.values())):
        raise RuleInvalid(
            f"override {number}: needs `rule`, and texts for device, site, model and maker",
            reason_zh=f"第 {number} 个覆盖：须有 rule，device、site、model、maker 须为文本",
            rule=str(key)[:80],
            field="scope",
        )
    maker = named.pop("maker", "")
    if len(named) > 1 or (maker and "model" not in named):
        raise RuleInvalid(
            f"override {number}: one of device, site and model; maker only beside model",
            reason_zh=f"第 {number} 个覆盖：device、site、model 只能有一项，maker 须与 model 同用",
            rule=key,
            field="scope",
        )
    for kind, about in named.items():
        return key, _scope(kind, about, maker), fields
    return key, Scope("all"), fields


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 200


def _scope(kind: str, about: str, maker: str) -> Scope:
    match kind:
        case "device":
            return Scope("device", about)
        case "site":
            return Scope("site", about)
        case _:
            return Scope("model", about, maker)


def planned(
    wanted: Mapping[Item, str], in_force: Mapping[Item, str], *, replace: bool
) -> list[Planned]:
    """Return what differs between what a text asks for and what is in force.

    `replace`: what the text does not name is taken away; otherwise it stays.
    """
    return [*_written(wanted, in_force), *(_left_out(wanted, in_force) if replace else ())]


def _written(wanted: Mapping[Item, str], in_force: Mapping[Item, str]) -> Iterator[Planned]:
    for (key, scope), text in sorted(wanted.items(), key=lambda item: (item[0][1].rank, item[0])):
        before = in_force.get((key, scope))
        if before != text:
            changes = differences(fields_in(key, scope, before), fields_in(key, scope, text))
            yield Planned(key, scope, "add" if before is None else "change", text, changes)


def _left_out(wanted: Mapping[Item, str], in_force: Mapping[Item, str]) -> Iterator[Planned]:
    """Go through what a text does not name, overrides before the rules that they are of."""
    gone = [item for item in in_force if item not in wanted]
    for key, scope in sorted(gone, key=lambda item: (item[1].rank, item), reverse=True):
        yield Planned(key, scope, "take_away", None, [])
