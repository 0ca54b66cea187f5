"""JSON documents as raw values and back: keys joined by `/`. Pure; no MQTT here."""

from collections.abc import Mapping

from collector.raw import Encoded, RawValue, Ref

_DEPTH = 8
_SIZE = 2_000


class DocumentInvalid(ValueError):
    """A JSON document that is no object, too deep or too large."""


def flatten(document: object) -> dict[Ref, RawValue]:
    """Return the leaves of a JSON object by their joined keys, list items by their index."""
    if not isinstance(document, Mapping):
        raise DocumentInvalid("the document is no JSON object")
    leaves: dict[Ref, RawValue] = {}
    pending: list[tuple[str, object, int]] = [("", document, 0)]
    while pending:
        prefix, value, depth = pending.pop()
        if depth > _DEPTH or len(leaves) > _SIZE:
            raise DocumentInvalid(
                f"the document is deeper than {_DEPTH} or has over {_SIZE} leaves"
            )
        if value is None or isinstance(value, int | float | str):
            leaves[prefix[:-1]] = value
        elif isinstance(value, Mapping):
            pending.extend((f"{prefix}{key}/", item, depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{prefix}{at}/", item, depth + 1) for at, item in enumerate(value))
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
