"""Profiles that extend another: one document laid over the other, before it is checked. Pure.

1. A point is read from the file's own places first, then from the inherited ones; the word
   `inherited` in a list of places stands for those, where they are the better ones.
2. A place of the file replaces the inherited one at the same object identifier.
3. Points that the file names in `without` are not inherited.
"""

from typing import Any

INHERITED = "inherited"


def laid_over(data: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a profile with what it inherits; `parent` is used up."""
    _absolute(parent, parent.pop("base", None))
    merged = {**parent, **data}
    base = data.get("base") if isinstance(data.get("base"), str) else None
    refused = _refused(data)
    points = {
        name: [
            {**entry, "generation": entry.get("generation", 0) + 1} for entry in _as_list(places)
        ]
        for name, places in parent.get("points", {}).items()
        if name not in refused
    }
    for key in ("points", "identity", "phases"):
        if isinstance(data.get(key, {}), dict):
            given = points if key == "points" else parent.get(key, {})
            merged[key] = _both(data.get(key, {}), given, base)
    if "alarms" in data:
        merged["alarms"] = [*_as_list(data["alarms"]), *_as_list(parent.get("alarms", []))]
    if isinstance(data.get("states"), list):
        others = _not_in(parent.get("states", []), data["states"], base)
        merged["states"] = [*data["states"], *others]
    merged["identify"] = data.get("identify", {})
    return merged


def unknown_refusal(
    data: dict[str, Any], parent: dict[str, Any]
) -> tuple[tuple[str | int, ...], str, str] | None:
    """Return where a point that is not to be inherited is none of the parent's, and the cure."""
    for name in _refused(data):
        if name not in parent.get("points", {}):
            message = f"{name!r} is no point of the profile that is extended"
            return ("without", data["without"].index(name)), message, "leave it out"
    return None


def _refused(data: dict[str, Any]) -> list[str]:
    without = data.get("without")
    return [name for name in without if isinstance(name, str)] if isinstance(without, list) else []


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _both(own: dict[str, Any], inherited: dict[str, Any], base: str | None) -> dict[str, Any]:
    """Merge places by name: the file's own first, the inherited ones as fallbacks."""
    both = dict(own)
    for name, places in inherited.items():
        mine = both.get(name)
        if isinstance(mine, dict) and isinstance(places, dict) and "oid" not in mine:
            both[name] = _both(mine, places, base)
        elif mine is None:
            both[name] = places
        else:
            listed = mine if isinstance(mine, list) else [mine]
            others = _not_in(places if isinstance(places, list) else [places], listed, base)
            if INHERITED in listed:
                at = listed.index(INHERITED)
                preferred = [
                    {**entry, "generation": 0} if "generation" in entry else entry
                    for entry in others
                ]
                both[name] = [*listed[:at], *preferred, *listed[at + 1 :]]
            else:
                both[name] = [*listed, *others]
    return both


def _not_in(places: list[Any], own: list[Any], base: str | None) -> list[Any]:
    """Return the inherited places whose object identifier the file does not read itself."""
    oids = {
        absolute(entry["oid"], base)
        for entry in own
        if isinstance(entry, dict) and isinstance(entry.get("oid"), str)
    }
    return [entry for entry in places if not (isinstance(entry, dict) and entry.get("oid") in oids)]


def _absolute(part: object, base: str | None) -> None:
    """Make every relative OID in a dumped profile absolute, in place."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("oid", "column", "count") and isinstance(value, str):
                part[key] = absolute(value, base)
            elif key == "column" and isinstance(value, list):
                part[key] = [absolute(column, base) for column in value]
            else:
                _absolute(value, base)
    elif isinstance(part, list):
        for item in part:
            _absolute(item, base)


def absolute(oid: str, base: str | None) -> str:
    """Return the full OID of one that may be relative to the profile's base."""
    return oid if oid.startswith("1.3.6.") or base is None else f"{base}.{oid}"
