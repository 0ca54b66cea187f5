"""Every text of pages and code has its Chinese, with the same places for values."""

import re
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from babel.messages.extract import extract
from jinja2.ext import babel_extract

import service_api
from service_api.language import catalog_files, language_of, translate

ROOT = Path(service_api.__file__).parent
KEYWORDS = {"_": None, "msg": None, "ngettext": (1, 2)}
PLACE = re.compile(r"%\((\w+)\)s")


def texts_of_templates() -> set[tuple[str, str]]:
    found = set()
    for path in sorted((ROOT / "web/templates").rglob("*.html")):
        extracted = babel_extract(
            BytesIO(path.read_bytes()),
            ["_", "ngettext"],
            [],
            {"trimmed": "true", "silent": "false"},
        )
        for _, _, message, _ in extracted:
            ids = message if isinstance(message, tuple) else (message,)
            found |= {(each, str(path.relative_to(ROOT))) for each in ids if isinstance(each, str)}
    return found


def texts_of_code() -> set[tuple[str, str]]:
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        for _, message, _, _ in extract("python", BytesIO(path.read_bytes()), {"msg": None}):
            found.add((message, str(path.relative_to(ROOT))))
    return found


def chinese() -> dict[str, str]:
    words = {}
    for catalog in catalog_files().values():
        for message in catalog:
            ids = [message.id] if isinstance(message.id, str) else list(message.id)
            string = message.string if isinstance(message.string, str) else message.string[0]
            words |= {each: string for each in ids if each}
    return words


def test_every_text_has_its_chinese():
    known = chinese()
    missing = {
        f"{text!r} in {where}"
        for text, where in texts_of_templates() | texts_of_code()
        if not known.get(text)
    }
    assert not missing, "\n".join(sorted(missing))


def test_no_translation_is_marked_as_doubtful():
    fuzzy = [
        f"{name}: {message.id}"
        for name, catalog in catalog_files().items()
        for message in catalog
        if message.id and message.fuzzy
    ]
    assert not fuzzy


def test_a_translation_has_the_places_of_its_text():
    for name, catalog in catalog_files().items():
        for message in catalog:
            if not message.id:
                continue
            one = message.id if isinstance(message.id, str) else message.id[-1]
            said = message.string if isinstance(message.string, str) else message.string[0]
            assert set(PLACE.findall(said)) == set(PLACE.findall(one)), (name, one)


def test_no_two_catalogs_say_the_same_text_differently():
    seen: dict[str, tuple[str, str]] = {}
    for name, catalog in catalog_files().items():
        for message in catalog:
            if not message.id or not isinstance(message.id, str):
                continue
            before = seen.setdefault(message.id, (name, message.string))
            assert before[1] == message.string, (message.id, before[0], name)


@pytest.mark.parametrize(
    ("cookie", "header", "setting", "expected"),
    [
        ("zh", "en-GB,en;q=0.9", "en", "zh"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "en", "zh"),
        (None, "fr;q=0.9,en;q=0.5,zh;q=0.7", None, "zh"),
        (None, "fr", "zh", "zh"),
        (None, "", "zh", "zh"),
        ("klingon", "", None, "en"),
        (None, "zh;q=x", None, "en"),
    ],
)
def test_the_chosen_language_comes_before_the_browsers_and_that_before_the_users(
    cookie, header, setting, expected
):
    request = SimpleNamespace(
        cookies={"language": cookie} if cookie else {},
        headers={"accept-language": header},
        state=SimpleNamespace(user=SimpleNamespace(language=setting) if setting else None),
    )
    assert language_of(request) == expected


def test_a_percent_sign_survives_with_and_without_values():
    assert translate("en", "at %(load)s %% load", load=4) == "at 4 % load"
    assert translate("en", "100 %%") == "100 %"
