"""Which language a person reads, and the words in it.

Messages are written in English where they are said; web/locales/zh/*.po holds the Chinese, one file
a noun, read at start. How numbers and times are written lives in `figures`.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from fastapi import Request

Language: TypeAlias = Literal["en", "zh"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")
LANGUAGE_COOKIE = "language"


def msg(text: str) -> str:
    """Mark a text for translation where it is written; it is translated where it is shown."""
    return text


@cache
def catalog_files() -> dict[str, Catalog]:
    """Read the Chinese catalogs, by file name."""
    found = {}
    folder = files("service_api").joinpath("web/locales/zh")
    for entry in sorted(folder.iterdir(), key=lambda file: file.name):
        if entry.name.endswith(".po"):
            with entry.open("rb") as source:
                found[entry.name] = read_po(source, locale="zh", abort_invalid=True)
    return found


@cache
def _chinese() -> dict[str, str]:
    words: dict[str, str] = {}
    for catalog in catalog_files().values():
        for message in catalog:
            # Chinese has one form for any count: the plural of a message says the same.
            text = (
                message.string if isinstance(message.string, str) else (message.string or ("",))[0]
            )
            ids = [message.id] if isinstance(message.id, str) else list(message.id)
            words |= {each: text for each in ids if each and text}
    return words


def translate(language: str, text: str, /, **values: object) -> str:
    """Return `text` in `language`, its `%(name)s` places filled."""
    said = _chinese().get(text, text) if language == "zh" else text
    return said % values if values else said.replace("%%", "%")


def translator(language: str) -> Callable[..., str]:
    """Return `translate` for one language."""

    def say(text: str, /, **values: object) -> str:
        return translate(language, text, **values)

    return say


def count_translator(language: str) -> Callable[..., str]:
    """Return a function that chooses singular or plural by `n`."""

    def say(one: str, many: str, n: int, /, **values: object) -> str:
        return translate(language, one if n == 1 else many, n=n, **values)

    return say


def language_of(request: Request) -> Language:
    """Return what this person reads.

    1. What they chose on a page (cookie). 2. What their browser asks for. 3. Their user's setting.
    """
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    user = getattr(request.state, "user", None)
    candidates = [chosen, *_accepted(request.headers.get("accept-language", ""))]
    candidates.append(user.language if user else None)
    for candidate in candidates:
        for language in LANGUAGES:
            if candidate == language:
                return language
    return "en"


def _accepted(header: str) -> list[str]:
    weighted = []
    for place, part in enumerate(header.split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        weighted.append((-quality, place, tag.strip().lower().partition("-")[0]))
    return [tag for _, _, tag in sorted(weighted)]
