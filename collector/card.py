"""One card as its collector knows it between polls: how it is asked, and what is news of it.

What polls show goes in; how to ask the next time, and `CardNews` when something changed, come out.
How patience is learned is `collector.patience`; polling itself is `collector.polled`. No clock, no
network: instants are passed in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collector.arrival import CardNews
from collector.patience import (
    Ground,
    Manner,
    Patience,
    Seen,
    look_after,
    manner,
    next_patience,
    patience_of,
)
from collector.raw import CardMemory, Habits

MOST_OF_DEADLINE = 0.7
"""A poll that took more than this share of its deadline was slow."""

_UPTIME_TICKS = 1 << 32  # sysUpTime counts hundredths of a second and begins anew after 497 days
_WRAP_SLACK_TICKS = 60_000


@dataclass(slots=True)
class Card:
    """What is known of a card; `manner` is how to ask it now.

    `clean` counts the polls without trouble since the last look at what they taught, which is due
    at `look_at` of them; adding one and comparing is all that such a poll costs.
    """

    learned: Patience
    fixed: Mapping[str, object]
    ground: Ground
    manner: Manner
    look_at: float
    clean: int = 0
    is_news: bool = False
    told_failure: bool = False
    engine_id: bytes | None = None
    restarted_at: datetime | None = None
    failing_since_at: datetime | None = None
    failure: str | None = None
    failure_detail: str | None = None
    boots: int | None = None

    @classmethod
    def of(
        cls,
        kept: Mapping[str, object],
        fixed: Mapping[str, object],
        ground: Ground,
        *,
        is_failing: bool,
    ) -> "Card":
        """Return a card of which something is known from earlier; `is_failing` was told so."""
        learned = patience_of(kept)
        return cls(
            learned,
            fixed,
            ground,
            manner(learned, fixed, ground),
            look_after(learned, ground),
            told_failure=is_failing,
        )

    def change(self, *, fixed: Mapping[str, object] | None = None, **ground: float) -> bool:
        """Take over what people set, or another ground; return whether it is asked otherwise."""
        self.fixed = self.fixed if fixed is None else fixed
        self.ground = replace(self.ground, **ground)  # type: ignore[arg-type]  # fields by name
        return self._settle()

    def habits(self, of_family: Habits) -> Habits:
        """Return a family's habits as this card wants them."""
        return replace(
            of_family,
            bulk=of_family.bulk and self.manner.bulk,
            varbinds=max(of_family.varbinds, self.manner.objects),
            gap_seconds=max(of_family.gap_seconds, self.manner.pause_seconds),
        )

    def read_cleanly(self) -> bool:
        """Note a poll without any trouble; return whether the card is asked otherwise now."""
        self.clean += 1
        return self.clean >= self.look_at and self.learn(Seen())

    def read_with_care(self, seen: Seen | None, *, seconds: float, is_blip: bool) -> bool:
        """Note a careful poll that brought something; return whether it is asked otherwise now.

        `seconds` is what it took, `is_blip` that the card had been silent for a poll or two.
        """
        is_slow = seconds > self.manner.deadline_seconds * MOST_OF_DEADLINE
        if seen is None and not is_slow and not is_blip:
            return self.read_cleanly()
        seen = seen or Seen()
        return self.learn(replace(seen, slow=seen.slow or is_slow, seconds=seconds, blip=is_blip))

    def learn(self, seen: Seen) -> bool:
        """Learn from what polls showed; return whether it is asked otherwise from now on."""
        before = self.learned.to_json()
        if self.clean and not seen.clean:
            seen = replace(seen, clean=self.clean)
        self.clean = 0
        self.learned = next_patience(self.learned, seen, self.ground)
        self.is_news |= self.learned.to_json() != before
        return self._settle()

    def _settle(self) -> bool:
        before = self.manner
        self.manner = manner(self.learned, self.fixed, self.ground)
        self.look_at = look_after(self.learned, self.ground)
        return self.manner != before

    def note_uptime(self, before: int, ticks: int, at: datetime, *, passed_seconds: float) -> bool:
        """Note that an agent runs for less time than before; return whether it has restarted.

        `passed_seconds` is what went by since then, so that a counter that began anew is told from
        a card that did.
        """
        if before + passed_seconds * 100 + _WRAP_SLACK_TICKS >= _UPTIME_TICKS:
            return False
        self.restarted_at = at - timedelta(seconds=ticks / 100)
        self.is_news = True
        return True

    def note_engine(self, memory: CardMemory, at: datetime) -> bool:
        """Note the engine of an agent of version 3; return whether it has restarted."""
        if memory.engine_id is not None and memory.engine_id != self.engine_id:
            self.engine_id, self.boots = memory.engine_id, memory.boots
            self.is_news = True
            return False
        before, self.boots = self.boots, memory.boots
        if before is None or memory.boots is None or memory.boots <= before:
            return False
        self.restarted_at = at
        self.is_news = True
        return True

    def fail(self, kind: str, detail: str, since: datetime, *, is_streak: bool) -> CardNews | None:
        """Note a failed poll; return news at the start of a streak and when its kind changes."""
        self.clean = 0
        is_known = self.told_failure and self.failure == kind
        if not is_streak or is_known:
            return None
        self.told_failure = True
        self.failing_since_at, self.failure, self.failure_detail = since, kind, detail
        return self._news()

    def read(self) -> CardNews | None:
        """Note that the card was read; return what is news of it."""
        if self.told_failure:
            self.told_failure = False
            self.failing_since_at = self.failure = self.failure_detail = None
        elif not self.is_news:
            return None
        return self._news()

    def _news(self) -> CardNews:
        self.is_news = False
        return CardNews(
            patience=self.learned.to_json(),
            engine_id=self.engine_id,
            restarted_at=self.restarted_at,
            failing_since_at=self.failing_since_at,
            failure=self.failure,
            failure_detail=self.failure_detail,
        )
