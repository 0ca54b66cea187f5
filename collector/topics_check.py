"""Faults of a profile's `topics` that its form alone does not show: names that are no points."""

import difflib
from collections.abc import Iterator

from collector.form import EXTRA_POINTS, Profile, kind_of
from rules.points import BY_NAME, Kind

_Where = tuple[str | int, ...]


def topics_faults(profile: Profile) -> Iterator[tuple[_Where, str, str]]:
    """Yield (place in the document, message, cure) for each fault."""
    block = profile.topics
    if block is None:
        return
    if profile.protocol != "json":
        yield ("topics",), "topics are of what is published", "give `protocol: json`"
    if block.names is not None and profile.every_point != "{name}":
        yield ("topics", "names"), "values told by name need it", 'give `every_point: "{name}"`'
    for spelling, name in (block.names or {}).items():
        # ups.status is no point itself: its words raise flags.
        if kind_of(name) is None and name not in block.flags:
            yield from _unknown(("topics", "names", spelling), name)
    for path, words in block.flags.items():
        for word, flags in words.items():
            for flag in flags:
                if kind_of(flag) is not Kind.FLAG:
                    yield from _unknown(("topics", "flags", path, word), flag)


def _unknown(where: _Where, name: str) -> Iterator[tuple[_Where, str, str]]:
    near = difflib.get_close_matches(name, [*BY_NAME, *EXTRA_POINTS], n=1)
    cure = f"did you mean {near[0]}?" if near else "use a name of the table of points"
    yield where, f"{name!r} is no point of the kind that belongs here", cure
