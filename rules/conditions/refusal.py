"""How rule text is refused: where, why and what would be right, in English and Chinese."""


class ConditionInvalid(ValueError):
    """Rule text that is not a condition: `reason` (and `reason_zh`) at `position`.

    `position` counts characters from 1 and is None where no one place is to blame.
    """

    def __init__(self, reason: str, position: int | None = None, *, reason_zh: str) -> None:
        super().__init__(reason if position is None else f"{reason} (at character {position})")
        self.reason = reason
        self.reason_zh = reason_zh
        self.position = position
