"""What a device of a family would publish: the way back of `readers.published`. Pure."""

import json
from collections.abc import Mapping

from collector.family import Family
from collector.form import kind_of
from collector.raw import Encoded, Ref, Typed
from rules.points import Kind

Plain = float | bool | str


def messages(family: Family, encoded: Mapping[Ref, Encoded]) -> dict[str, bytes]:
    """Return the payloads by topic below the root that tell what `encode` gave for the profile."""
    written = family.block.written
    if written is None:
        return {}
    values: dict[str, Plain] = {}
    objects: dict[str, dict[str, object]] = {}
    for place, value in _placed(family, encoded):
        topic, mark, keys = place.partition("#")
        if not mark:
            values[topic] = value
            continue
        inner = objects.setdefault(topic, {})
        *folders, last = keys.split("/")
        for folder in folders:
            deeper = inner.setdefault(folder, {})
            if not isinstance(deeper, dict):
                break
            inner = deeper
        inner[last] = value
    told = {topic: _text(value).encode() for topic, value in values.items()}
    told |= {topic: json.dumps(held).encode() for topic, held in objects.items()}
    return told


def _placed(family: Family, encoded: Mapping[Ref, Encoded]) -> list[tuple[str, Plain]]:
    """Return each value with its place, `TOPIC` or `TOPIC#KEY/KEY`."""
    written = family.block.written
    if written is None:
        return []
    placed: list[tuple[str, Plain]] = []
    raised: set[str] = set()
    for ref, held in encoded.items():
        name = str(ref)
        value = held.value if isinstance(held, Typed) else held
        if isinstance(value, tuple):
            continue
        if family.block.names is None:
            placed.append((_with_object(name, written.objects), value))
            continue
        pattern = written.number
        if isinstance(value, bool):
            raised |= {name} if value else set()
            if written.flag is None:
                continue
            pattern = written.flag
        elif isinstance(value, str) and kind_of(name) is not Kind.NUMBER:
            pattern = written.text
        elif not isinstance(value, str):
            value = value / family.block.scale.get(name, 1.0)
        placed.append((_named(pattern, name), value))
    if written.status is not None:
        words = next(iter(family.block.flags.values()), {})
        said = {tuple(up): word for word, up in reversed(words.items()) if raised.issuperset(up)}
        placed.append((written.status, " ".join(said.values())))
    return placed


def _with_object(path: str, objects: list[str]) -> str:
    levels = path.split("/")
    for at, level in enumerate(levels[:-1]):
        if level in objects:
            return "/".join(levels[: at + 1]) + "#" + "/".join(levels[at + 1 :])
    return path


def _named(pattern: str, name: str) -> str:
    return (
        pattern.replace("{path}", name)
        .replace("{name}", name)
        .replace("{slashes}", name.replace(".", "/"))
        .replace("{underscores}", name.replace(".", "_").replace("-", "_").lower())
    )


def _text(value: Plain) -> str:
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return value if isinstance(value, str) else f"{value:g}"
