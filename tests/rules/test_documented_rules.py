"""The rules that docs/rules.md shows can be saved as they stand."""

import re
from pathlib import Path

import pytest

from rules.catalogue import catalogue
from rules.catalogue.text import overridden
from rules.rule_exchange import read_exchange
from rules.rule_warnings import warnings_of
from rules.versions import RULE, check_own, read_override, read_own

TEXT = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if block[0] == "["]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_shown_text_can_be_imported(block):
    known = dict(catalogue())
    asked = read_exchange(block)
    assert asked
    for (key, scope), text in asked.items():
        if scope != RULE:
            assert overridden(known[key], read_override(key, text)) != known[key]
        elif key not in known:
            rule = read_own(key, text)
            check_own(rule, catalogue(), known | {key: rule})
            assert "never_holds" not in {one.kind for one in warnings_of(rule, known)}


def test_shown_examples_are_of_both_kinds():
    kinds = {scope.kind for block in BLOCKS for _, scope in read_exchange(block)}
    assert kinds >= {"rule", "device", "model", "site"}
