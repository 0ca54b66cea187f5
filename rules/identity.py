"""Whether the unit behind an entry is the one that the records know. Pure.

Each entry knows a serial number that was confirmed, and what the unit tells now. The two are held
against those of all other entries, so it makes no difference in which order they were told.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

PLACEHOLDERS = frozenset({"", "unknown", "none", "n/a", "na", "not set", "default", "serial"})
"""What cards tell that know no serial number; a text of one repeated sign is one too."""


class Mismatch(StrEnum):
    """What is wrong with an entry's unit."""

    SWAPPED = "swapped"
    """It tells the number of another entry, whose unit tells this one's: addresses changed over."""
    TOLD_TWICE = "told_twice"
    """Another entry's unit tells the same number: one unit reached twice, or a cloned card."""
    EXCHANGED = "exchanged"
    """It tells a number that no entry knows: another unit stands here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: the serial number that was confirmed, and the one that is told."""

    id: int
    maker: str
    confirmed: str | None
    told: str | None


def doubts(entries: Iterable[Entry]) -> Mapping[int, tuple[Mismatch, int | None]]:
    """Return which entries are in doubt, with the other entry that it concerns, if there is one."""
    known = sorted((one for one in entries if is_serial(one.told)), key=lambda one: one.id)
    told = Counter((one.maker, one.told) for one in known)
    by_confirmed: dict[tuple[str, str | None], Entry] = {}
    for one in known:
        if is_serial(one.confirmed):
            by_confirmed.setdefault((one.maker, one.confirmed), one)
    by_told: dict[tuple[str, str | None], list[Entry]] = {}
    for one in known:
        by_told.setdefault((one.maker, one.told), []).append(one)
    found: dict[int, tuple[Mismatch, int | None]] = {}
    for one in known:
        twins = [each for each in by_told[one.maker, one.told] if each.id != one.id]
        if twins:
            found[one.id] = (Mismatch.TOLD_TWICE, min(each.id for each in twins))
            continue
        if one.confirmed == one.told or not is_serial(one.confirmed):
            continue
        other = by_confirmed.get((one.maker, one.told))
        is_swap = (
            other is not None
            and other.told == one.confirmed
            and by_confirmed[one.maker, one.confirmed] is one
            and told[one.maker, one.confirmed] == 1
        )
        if is_swap and other is not None:
            found[one.id] = (Mismatch.SWAPPED, other.id)
        else:
            found[one.id] = (Mismatch.EXCHANGED, None if other is None else other.id)
    return found


def is_serial(serial: str | None) -> bool:
    """Tell whether a text can be one unit's serial number, not what cards tell that know none."""
    text = (serial or "").strip().lower()
    return text not in PLACEHOLDERS and len(set(text)) > 1
