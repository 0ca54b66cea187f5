"""The form of a profile's `topics`: how a family that publishes lays its values out in topics.

Part of the form of a profile, `collector.form`. What a message then means is
`collector.readers.published`; which device it is of, `collector.ear`.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Availability(_Strict):
    """Where a family says whether it lives: a path as `TopicsBlock` has them, and its words.

    The words are compared without regard to case; true and false are spelled so.
    """

    path: str
    online: str
    offline: str


class Written(_Strict):
    """How a simulated device of the family publishes; `root` holds {key}, its name there.

    `number`, `text` and `flag` are the topic below the root of a point, with {path}, {name},
    {slashes} or {underscores} for its name; what follows a `#` is its key in a JSON object there.
    Flags without `flag` are told as words of the text `status`. `objects` are levels after which
    a path becomes keys of a JSON object.
    """

    root: str = Field(pattern=r"\{key\}")
    number: str = "{path}"
    text: str = "{path}"
    flag: str | None = None
    status: str | None = None
    objects: list[str] = []


class TopicsBlock(_Strict):
    """How the values stand in topics below a root, one root a device.

    `shape`: `values` is one value, or one JSON object, a topic; `sparkplug` is Sparkplug B;
    `discovery` is what Home Assistant discovers. A value's path is its topic below the root and,
    in a JSON object, its keys, joined by `/`.

    `root` recognizes a topic of the family: its group `root` is the device's root. With
    `recognized_by`, one of these patterns must also match a path below it (`re.search`).

    1. `numbered` are paths whose next level names one of several alike: it becomes 1, 2, ….
    2. `endings` are what paths lose at their end, `drop` at their beginning, the first that fits;
       where names are told, the first without which it is one.
    3. With `names`, a path that spells the name of a point is that point, however it separates or
       capitalizes words; `names` adds other spellings. Without, points name their `path`.
    4. `codes` turns texts into the numbers that other firmware sends; `bits` turns a text of
       words into a number, each word being a bit. Paths here are those after 1 to 3.
    5. `flags` are words of a text, each raising a flag by its name, and all others lowering them;
       `texts` are other words for a text.
    6. `scale` multiplies numbers, by the point's name or path; `units` in metadata do so too.

    `availability` is where the family says that it lives. While it does, values are believed until
    replaced; else for `silence_seconds`, by default three times the device's interval. `written`
    is for simulated devices.
    """

    shape: Literal["values", "sparkplug", "discovery"] = "values"
    root: str
    recognized_by: list[str] = []
    rank: int = 50
    numbered: list[str] = []
    drop: list[str] = []
    endings: list[str] = []
    names: dict[str, str] | None = None
    codes: dict[str, dict[str, int]] = {}
    bits: dict[str, list[str]] = {}
    flags: dict[str, dict[str, list[str]]] = {}
    texts: dict[str, dict[str, str]] = {}
    scale: dict[str, float] = {}
    availability: Annotated[list[Availability], BeforeValidator(_listed)] = []
    written: Written | None = None
    silence_seconds: float | None = Field(None, gt=0, le=7 * 86_400)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for pattern in (self.root, *self.recognized_by):
            try:
                compiled = re.compile(pattern)
            except re.error as problem:
                raise ValueError(f"{pattern!r} is no regular expression: {problem}") from None
            if pattern == self.root and "root" not in compiled.groupindex:
                raise ValueError("the pattern of `root` has no group (?P<root>…)")
        return self
