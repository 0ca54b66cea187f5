"""JSON documents as raw values and back: keys joined by `/`. Pure; no MQTT here."""

from collections.abc import Mapping

from collector.raw import Encoded, RawValue, Ref

_DEPTH = 8
_SIZE = 2_000
_LEAF = (float, bool, int, str, type(None))


class DocumentInvalid(ValueError):
    """A JSON document that is no object, too deep or too large."""


def flatten(document: object) -> dict[Ref, RawValue]:
    """Return the leaves of a JSON object by their joined keys, list items by their index."""
    if not isinstance(document, dict):
        raise DocumentInvalid("the document is no JSON object")
    leaves: dict[Ref, RawValue] = {}
    pending: list[tuple[str, dict[str, object] | list[object], int]] = [("", document, 0)]
    while pending:
        prefix, folder, depth = pending.pop()
        named = folder.items() if isinstance(folder, dict) else enumerate(folder)
        for key, value in named:
            if isinstance(value, _LEAF):
                leaves[f"{prefix}{key}"] = value
            elif isinstance(value, dict | list):
                pending.append((f"{prefix}{key}/", value, depth + 1))
        if depth >= _DEPTH or len(leaves) + len(pending) > _SIZE:
            raise DocumentInvalid(
                f"the document is deeper than {_DEPTH} or has over {_SIZE} leaves"
            )
    return leaves


def nest(encoded: Mapping[Ref, Encoded]) -> dict[str, object]:
    """Return the JSON object whose leaves `encode` gave for a JSON profile."""
    document: dict[str, object] = {}
    for ref, value in encoded.items():
        *folders, leaf = str(ref).split("/")
        place = document
        for folder in folders:
            inner = place.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise DocumentInvalid(f"{ref} stands below a plain value")
            place = inner
        place[leaf] = value
    return document
