"""How a card wants to be asked: learned from what its polls show, fixed where people fixed it.

Pure: the last patience and what polls have shown give the next one. It takes back quickly and
trusts slowly again, as TCP does with a line. What is asked is the profile's business, asking the
readers', keeping what was learned `collector.card_store`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

Setting = float | bool

MODEST_OBJECTS = 10
"""How many objects an unknown card is asked at once: some drop requests of 16 without a word."""
BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "objects": (1, 60),
        "pause_seconds": (0.0, 5.0),
        "deadline_seconds": (0.5, 30.0),
        "interval_seconds": (1.0, 3_600.0),
    }
)
"""What may be set, and learned, from where to where; `bulk` is yes or no."""

_STRIKES = 2  # a datagram may get lost on the way: once is no habit of the card
_TRUST_AGAIN_POLLS = 50
_RATE_AGAIN_POLLS = 200
_CEILING_POLLS = 3_000  # about a day: then a larger request is tried once more
_STEP_OBJECTS = 2
_LEAST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_LONGEST_DEADLINE_SECONDS = 15.0
_DEADLINE_STEP = 1.5
_BLIPS = 3
_BLIP_WINDOW_POLLS = 20
_LONGEST_INTERVAL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a card is asked like before anything is learned: device list and profile.

    `objects` is the most that the profile allows in a request, `wanted` how many a poll asks for.
    """

    objects: int = 30
    wanted: int = 30
    deadline_seconds: float = 2.0
    interval_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What polls have shown since the last look.

    `clean` counts polls without any trouble. `lost_at` is the size of a request that was lost
    while a smaller one was answered, `too_big_at` of one that the card called too big, 0 for none.
    `hurried` says that a request was lost though one as large had just been answered; `slow` that
    the answers took most of the deadline, or were cut off by it, after `seconds`; `blip` that the
    card answers again after a poll or two without any; `bulk_failed` that GETBULK misbehaved.
    """

    clean: int = 0
    lost_at: int = 0
    too_big_at: int = 0
    hurried: bool = False
    slow: bool = False
    seconds: float = 0.0
    blip: bool = False
    bulk_failed: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """What was learned about asking one card; None and 0 where nothing had to be learned.

    `ceiling` is the smallest request known to fail. The rest of the fields are counts that decide
    what comes next; they are not kept over a restart.
    """

    objects: int = MODEST_OBJECTS
    ceiling: int | None = None
    pause_seconds: float = 0.0
    deadline_seconds: float | None = None
    interval_seconds: float | None = None
    bulk: bool = True
    proven: int = 0
    strikes: int = 0
    hurries: int = 0
    calm: int = 0
    blips: int = 0
    blip_age: int = 0

    def to_json(self) -> dict[str, Setting]:
        """Return what is kept, by name."""
        kept: dict[str, Setting] = {"objects": self.objects}
        if self.ceiling is not None:
            kept["ceiling"] = self.ceiling
        if self.pause_seconds:
            kept["pause_seconds"] = self.pause_seconds
        if self.deadline_seconds is not None:
            kept["deadline_seconds"] = self.deadline_seconds
        if self.interval_seconds is not None:
            kept["interval_seconds"] = self.interval_seconds
        if not self.bulk:
            kept["bulk"] = False
        return kept


def patience_of(kept: Mapping[str, object]) -> Patience:
    """Return what was kept; what is not understood, or out of bounds, is learned anew."""
    objects = _number(kept, "objects")
    ceiling = kept.get("ceiling")
    return Patience(
        objects=MODEST_OBJECTS if objects is None else int(objects),
        ceiling=int(ceiling) if isinstance(ceiling, int | float) and ceiling >= 2 else None,
        pause_seconds=_number(kept, "pause_seconds") or 0.0,
        deadline_seconds=_number(kept, "deadline_seconds"),
        interval_seconds=_number(kept, "interval_seconds"),
        bulk=kept.get("bulk") is not False,
        proven=0 if objects is None else int(objects),
    )


def _number(kept: Mapping[str, object], name: str) -> float | None:
    value = kept.get(name)
    low, high = BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a card is asked now: what people set, else what was learned, else the ground.

    `interval_seconds` is what has to pass between two polls in any case, 0 for nothing of the kind.
    """

    objects: int
    pause_seconds: float
    deadline_seconds: float
    interval_seconds: float
    bulk: bool


def manner(learned: Patience, fixed: Mapping[str, object], ground: Ground) -> Manner:
    """Return how a card is asked; `fixed` is what people set, and wins."""
    objects, pause = _number(fixed, "objects"), _number(fixed, "pause_seconds")
    deadline, interval = _number(fixed, "deadline_seconds"), _number(fixed, "interval_seconds")
    bulk = fixed.get("bulk")
    return Manner(
        objects=min(learned.objects, ground.objects) if objects is None else int(objects),
        pause_seconds=learned.pause_seconds if pause is None else pause,
        deadline_seconds=max(ground.deadline_seconds, learned.deadline_seconds or 0.0)
        if deadline is None
        else deadline,
        interval_seconds=(learned.interval_seconds or 0.0) if interval is None else interval,
        bulk=bulk if isinstance(bulk, bool) else learned.bulk,
    )


def look_after(learned: Patience, ground: Ground) -> float:
    """Return after how many clean polls the next look is worth while; inf for never."""
    if _may_double(learned, ground):
        return 1
    is_at_rest = (
        not learned.strikes
        and not learned.hurries
        and not learned.blips
        and not learned.pause_seconds
        and learned.deadline_seconds is None
        and learned.interval_seconds is None
        and not _may_grow(learned, ground)
        and (learned.ceiling is None or learned.objects >= ground.wanted)
    )
    return inf if is_at_rest else _BLIP_WINDOW_POLLS


def next_patience(learned: Patience, seen: Seen, ground: Ground) -> Patience:
    """Return what is learned from what was seen: less after trouble at once, more only slowly."""
    if seen.clean:
        learned = _after_clean(learned, seen.clean, ground)
    if seen.too_big_at or seen.lost_at:
        learned = _ask_for_less(learned, seen)
    if seen.hurried:
        learned = _ask_slower(learned)
    if seen.slow:
        enough = max(learned.deadline_seconds or 0.0, ground.deadline_seconds, seen.seconds)
        deadline = enough * _DEADLINE_STEP
        longest = max(_LONGEST_DEADLINE_SECONDS, ground.deadline_seconds)
        learned = replace(learned, deadline_seconds=min(deadline, longest), calm=0)
    if seen.blip:
        learned = _ask_rarer(learned, ground)
    if seen.bulk_failed:
        learned = replace(learned, bulk=False)
    return learned


def _may_double(learned: Patience, ground: Ground) -> bool:
    return learned.ceiling is None and not learned.strikes and _may_grow(learned, ground)


def _may_grow(learned: Patience, ground: Ground) -> bool:
    most = ground.objects if learned.ceiling is None else min(ground.objects, learned.ceiling - 1)
    return learned.objects < min(most, ground.wanted)


def _after_clean(learned: Patience, polls: int, ground: Ground) -> Patience:
    """Trust again: at once while nothing ever went wrong, else after many good polls."""
    calm, blip_age = learned.calm + polls, learned.blip_age + polls
    is_window_over = blip_age >= _BLIP_WINDOW_POLLS
    may_double = _may_double(learned, ground)
    learned = replace(
        learned,
        proven=max(learned.proven, min(learned.objects, ground.wanted)),
        strikes=0,
        hurries=0,
        calm=calm,
        blips=0 if is_window_over else learned.blips,
        blip_age=0 if is_window_over else blip_age,
    )
    if may_double:
        most = min(ground.objects, ground.wanted)
        learned = replace(learned, objects=min(learned.objects * 2, most))
    before = calm - polls
    if calm // _TRUST_AGAIN_POLLS > before // _TRUST_AGAIN_POLLS:
        learned = _trust_again(learned, ground)
    if calm // _RATE_AGAIN_POLLS > before // _RATE_AGAIN_POLLS and learned.interval_seconds:
        interval = learned.interval_seconds / 2
        learned = replace(
            learned, interval_seconds=interval if interval > ground.interval_seconds else None
        )
    if calm >= _CEILING_POLLS:
        learned = replace(learned, ceiling=None, calm=0)
    return learned


def _trust_again(learned: Patience, ground: Ground) -> Patience:
    objects, pause, deadline = learned.objects, learned.pause_seconds, learned.deadline_seconds
    if _may_grow(learned, ground):
        most = ground.objects if learned.ceiling is None else learned.ceiling - 1
        objects = min(objects + _STEP_OBJECTS, most, ground.objects, ground.wanted)
    if pause:
        pause = pause / 2 if pause / 2 >= _LEAST_PAUSE_SECONDS else 0.0
    if deadline is not None:
        deadline = deadline / _DEADLINE_STEP
        deadline = deadline if deadline > ground.deadline_seconds else None
    return replace(learned, objects=objects, pause_seconds=pause, deadline_seconds=deadline)


def _ask_for_less(learned: Patience, seen: Seen) -> Patience:
    """Halve the request: at once when the card said so or when it had just been lengthened."""
    at = min(size for size in (seen.too_big_at, seen.lost_at) if size)
    is_sure = bool(seen.too_big_at) or at > learned.proven > 0
    strikes = learned.strikes + 1
    if not is_sure and strikes < _STRIKES:
        return replace(learned, strikes=strikes, calm=0)
    objects = learned.proven if at > learned.proven > 0 else max(1, at // 2)
    ceiling = at if learned.ceiling is None else min(at, learned.ceiling)
    objects = max(1, min(objects, learned.objects, ceiling - 1))
    return replace(
        learned,
        objects=objects,
        proven=min(learned.proven, objects),
        ceiling=max(ceiling, 2),
        strikes=0,
        calm=0,
    )


def _ask_slower(learned: Patience) -> Patience:
    hurries = learned.hurries + 1
    if hurries < _STRIKES:
        return replace(learned, hurries=hurries, calm=0)
    pause = max(learned.pause_seconds * 2, _LEAST_PAUSE_SECONDS)
    return replace(learned, pause_seconds=min(pause, _LONGEST_PAUSE_SECONDS), hurries=0, calm=0)


def _ask_rarer(learned: Patience, ground: Ground) -> Patience:
    blips = learned.blips + 1
    if blips < _BLIPS:
        return replace(learned, blips=blips, calm=0)
    interval = max(learned.interval_seconds or 0.0, ground.interval_seconds) * 2
    longest = max(_LONGEST_INTERVAL_SECONDS, ground.interval_seconds)
    return replace(learned, interval_seconds=min(interval, longest), blips=0, blip_age=0, calm=0)
