"""The form of a profile: how one device family's raw values become points.

A profile is data, one YAML file a family. Reading and checking the files is `collector.profile`;
compiling a profile for a given device is `collector.plan`; values are converted in
`collector.convert`.
"""

import re
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from collector.topics_form import TopicsBlock
from rules.points import BY_NAME, EXTRA_FLAGS, Kind

EXTRA_POINTS: dict[str, Kind] = {
    "ambient.1.humidity": Kind.NUMBER,
    "ambient.1.temperature": Kind.NUMBER,
    "ambient.2.humidity": Kind.NUMBER,
    "ambient.2.temperature": Kind.NUMBER,
    "battery.condition": Kind.TEXT,
    "battery.current.total": Kind.NUMBER,
    "battery.voltage.cell.maximum": Kind.NUMBER,
    "battery.voltage.cell.minimum": Kind.NUMBER,
    "input.power": Kind.NUMBER,
    "input.powerfactor": Kind.NUMBER,
    "input.source": Kind.TEXT,
    "input.voltage.maximum": Kind.NUMBER,
    "input.voltage.minimum": Kind.NUMBER,
    "outlet.group.1.status": Kind.TEXT,
    "outlet.group.2.status": Kind.TEXT,
    "outlet.group.3.status": Kind.TEXT,
    "output.L1.power": Kind.NUMBER,
    "output.L2.power": Kind.NUMBER,
    "output.L3.power": Kind.NUMBER,
    "ups.timer.shutdown": Kind.NUMBER,
    **dict.fromkeys(EXTRA_FLAGS, Kind.FLAG),
}
"""Points without a column that profiles may read: a reading carries them in `extra`."""

CONTEXTS: dict[str, tuple[str, str, str]] = {
    "{L}": ("L1", "L2", "L3"),
    "{L-N}": ("L1-N", "L2-N", "L3-N"),
    "{L-L}": ("L1-L2", "L2-L3", "L3-L1"),
}
"""Phase contexts in point names; a single-phase unit drops the context."""


def kind_of(name: str) -> Kind | None:
    """Return what kind of value a point or known extra holds, None for an unknown name."""
    point = BY_NAME.get(name)
    return point.kind if point else EXTRA_POINTS.get(name)


def expand(name: str) -> tuple[str, ...]:
    """Return the names for L1, L2 and L3 of a name with a phase context, or the name itself."""
    for placeholder, lines in CONTEXTS.items():
        if placeholder in name:
            return tuple(name.replace(placeholder, line) for line in lines)
    return (name,)


def without_context(name: str) -> str:
    """Return the single-phase name of a name with a phase context."""
    for placeholder in CONTEXTS:
        name = name.replace(f".{placeholder}", "")
    return name


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Place(_Strict):
    """Where a raw value stands: exactly one of an OID, a register or a JSON path.

    An OID not beginning with 1.3.6 is relative to the profile's `base`. `{n}` in an OID is the
    phase number. `type` is the SNMP type an agent serves, or the width of a Modbus value: words
    are most significant first, unless its name ends in `_low`. `function` is the Modbus function
    that reads the place: 3 holding and 4 input registers, 1 coils, 2 discrete inputs.
    """

    oid: str | None = Field(None, pattern=r"^\d+(\.(\d+|\{[a-z]+\}))+$")
    register_: int | None = Field(None, alias="register", ge=0, le=65_535)
    function: Literal[1, 2, 3, 4] = 3
    path: str | None = None
    type: (
        Literal[
            "integer",
            "gauge",
            "counter",
            "ticks",
            "string",
            "oid",
            "u16",
            "s16",
            "u32",
            "s32",
            "u32_low",
            "s32_low",
            "f32",
            "f32_low",
        ]
        | None
    ) = None
    part: str | None = Field(None, pattern=r"^[\w.-]+(/[\w.-]+)*$")
    words: dict[str, int] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [x for x in (self.oid, self.register_, self.path) if x is not None]
        if len(given) > 1:
            raise ValueError("give one of oid, register and path, not several")
        if not given and not self._may_be_nowhere():
            raise ValueError("give one of oid, register and path")
        return self

    def _may_be_nowhere(self) -> bool:
        return False


class Number(Place):
    """A number: raw × scale ÷ divide + offset, in the unit of the table of points.

    `missing` are raw values that mean "not available"; so is every raw value under
    `missing_below`. A number under `floor` is raised to it. `only` restricts the entry to single-
    or three-phase units. `single` names the point on a single-phase unit where dropping the
    context does not. `direction: by_state` is for currents of undocumented sign: the magnitude is
    taken, the sign comes from the state. `codes` are the numbers that coded ones stand for.

    `stride` is how many registers further on each next line of a phase context stands.
    """

    scale: float = Field(1.0, allow_inf_nan=False)
    divide: float = Field(1.0, allow_inf_nan=False, gt=0)
    offset: float = Field(0.0, allow_inf_nan=False)
    missing: list[float] = []
    missing_below: float | None = None
    floor: float | None = None
    only: Literal["single", "three"] | None = None
    single: str | None = None
    direction: Literal["given", "by_state"] = "given"
    generation: int = Field(0, ge=0)
    stride: int | None = Field(None, gt=0)
    pace: Literal["fast", "slow"] | None = None
    codes: dict[int, float] = Field({}, strict=False)

    @model_validator(mode="after")
    def _invertible(self) -> Self:
        if self.scale == 0:
            raise ValueError("a scale of 0 loses the value")
        return self


class State(Place):
    """A coded value: each code, or each bit, raises flags; codes may be texts of points too.

    A code with an empty list is known and raises nothing; a code with null says nothing, so the
    flags stay unknown. `form: text01` is a text of '0' and '1', the first being bit 1.
    `mask` keeps the bits of a number that make its code. `length` is how many registers, coils or
    discrete inputs from the first on make the number.
    """

    codes: dict[int, list[str] | None] = {}
    bits: dict[int, list[str]] = {}
    texts: dict[str, dict[int, str]] = {}
    form: Literal["text01"] | None = None
    mask: int | None = Field(None, gt=0)
    length: int | None = Field(None, gt=0, le=256)
    pace: Literal["fast", "slow"] = "fast"

    @model_validator(mode="after")
    def _codes_or_bits(self) -> Self:
        if self.codes and self.bits:
            raise ValueError("give codes or bits, not both")
        if not (self.codes or self.bits or self.texts):
            raise ValueError("give codes, bits or texts")
        if self.form and not self.bits:
            raise ValueError("form goes with bits")
        return self


class AlarmTable(_Strict):
    """A table whose rows hold OIDs of active alarms: prefix → last arc → flags."""

    column: str
    count: str | None = None
    codes: dict[str, dict[int, list[str]]]


class Mark(Place):
    """A text of the identity. `text` is a constant; `date` the order of a date's parts.

    `days2000` is a count of days since 2000-01-01. Unreadable dates are kept as they came.
    `letters` is how Modbus registers hold the text. A Modbus `path` is an object of the device
    identification, `object/FIRST/NUMBER`; where that is a list `1=…;2=…`, `field` is the key.
    """

    text: str | None = None
    length: int | None = Field(None, gt=0, le=60)
    date: Literal["mdy", "dmy", "ymd", "days2000"] | None = None
    codes: dict[int, str] = {}
    letters: Literal["high_first", "low_first", "low_only"] = "high_first"
    field: str | None = None

    def _may_be_nowhere(self) -> bool:
        return self.text is not None


class Count(Place):
    """A number of lines; `codes` says what a coded one stands for."""

    codes: dict[int, Literal[1, 2, 3]] = {}


AlarmTables = Annotated[list[AlarmTable], BeforeValidator(_listed)]
Marks = Annotated[list[Mark], BeforeValidator(_listed)]
Numbers = Annotated[list[Number], BeforeValidator(_listed)]
Counts = Annotated[list[Count], BeforeValidator(_listed)]
Columns = Annotated[list[str], BeforeValidator(_listed)]


class IdentityBlock(_Strict):
    """Where the unit says who it is; several places are tried in order."""

    manufacturer: Marks = []
    model: Marks = []
    serial: Marks = []
    firmware: Marks = []
    details: dict[str, Marks] = {}


class PhaseBlock(_Strict):
    """Where the unit says how many lines it has."""

    input: Counts = []
    output: Counts = []
    bypass: Counts = []


class Row(_Strict):
    """A table row whose number differs from card to card, found at each meeting.

    It is the first row of the first answering `column` that holds `value` there, an object
    identifier also by its beginning; any row without `value`; the row `at` alone, if that is
    given. `usual` stands for it in a plan, and tells how many arcs of the row are meant.
    """

    column: Columns
    value: str | None = None
    usual: str = Field("1", pattern=r"^\d+(\.\d+)*$")
    at: str | None = Field(None, pattern=r"^\d+(\.\d+)*$")


class ModelRegister(_Strict):
    """A Modbus text whose content tells the family: registers, or an identification object."""

    register_: int | None = Field(None, alias="register", ge=0, le=65_535)
    length: int = Field(1, gt=0, le=60)
    function: Literal[3, 4] = 3
    letters: Literal["high_first", "low_first", "low_only"] = "high_first"
    path: str | None = Field(None, pattern=r"^object/\d{1,3}/\d{1,3}$")
    matches: str

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.register_ is None) == (self.path is None):
            raise ValueError("give one of register and path")
        return self


class SignatureRegister(_Strict):
    """A Modbus register that holds one of few values in this family: listed, or in a span."""

    register_: int = Field(alias="register", ge=0, le=65_535)
    function: Literal[1, 2, 3, 4] = 3
    type: Literal["u16", "s16", "u32", "f32"] = "u16"
    one_of: list[int] = []
    span: tuple[float, float] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if bool(self.one_of) == (self.span is not None):
            raise ValueError("give one of one_of and span")
        return self


class IdentifyBlock(_Strict):
    """How the family is recognized; a smaller rank is tried first.

    `object_ids` are prefixes of sysObjectID on arc boundaries; `description` must be found in
    sysDescr, `description_not` must not; `described_as` tells the family by sysDescr alone. `probe`
    are objects of which one answers: proof for a card that names the family, and the way to find it
    behind one that does not. `texts` are objects whose text must hold a pattern. A Modbus
    family is known by its `model` text, or by all registers of its `signature` where no text is;
    `announce` is what a simulated agent says in sysObjectID and sysDescr.
    """

    rank: int = 50
    object_ids: list[str] = []
    object_ids_not: list[str] = []
    description: str | None = None
    description_not: str | None = None
    described_as: str | None = None
    probe: list[str] = []
    texts: dict[str, str] = {}
    model: ModelRegister | None = None
    signature: list[SignatureRegister] = []
    announce: dict[Literal["object_id", "description"], str] = {}


class Block(_Strict):
    """A run of registers that can be read whole although some are undefined."""

    address: int = Field(ge=0, le=65_535)
    count: int = Field(ge=1, le=2_000)
    function: Literal[1, 2, 3, 4] | None = None

    @model_validator(mode="after")
    def _within_a_frame(self) -> Self:
        if self.count > 125 and self.function not in (1, 2):
            raise ValueError("a request reads at most 125 registers")
        return self


class ReadBlock(_Strict):
    """How the family wants to be asked, see `collector.raw.Habits`."""

    bulk: bool = True
    varbinds: int = Field(30, ge=1, le=60)
    gap_milliseconds: int = Field(0, ge=0, le=5_000)
    blocks: list[Block] = []
    block_limit: int = Field(100, ge=1, le=125)


class Trap(NamedTuple):
    """What a notification tells: its name, and the flag that it raises or lowers, if any.

    `flag` is "*" where the notification names the alarm itself, in an alarm object's OID.
    """

    name: str
    raises: bool | None = None
    flag: str | None = None


def _trap(text: object) -> object:
    """Read `upsOnBattery +status.on_battery`, `powerRestored -status.on_battery` or `coldStart`."""
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(\w+)(?: ([+-])(\*|[a-z]+\.[a-z_]+))?", text)
    if found is None:
        raise ValueError("write a trap as NAME, NAME +FLAG or NAME -FLAG")
    name, sign, flag = found.groups()
    if flag not in (None, "*") and kind_of(flag) is not Kind.FLAG:
        raise ValueError(f"{flag!r} is no flag of the vocabulary")
    return Trap(name, None if sign is None else sign == "+", flag)


class Title(_Strict):
    """The family's name for people."""

    en: str
    zh: str


TrapPrefix = Annotated[str, Field(pattern=r"^1(\.\d+)+$")]


class Profile(_Strict):
    """A device family: how it is recognized, asked and understood.

    `traps` are the notifications by prefix and last arc, the zero arc between them left out.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: Title
    protocol: Literal["snmp", "modbus", "json"]
    base: str | None = Field(None, pattern=r"^1(\.\d+)+$")
    extends: str | None = None
    without: list[str] = []
    identify: IdentifyBlock = IdentifyBlock()
    read: ReadBlock = ReadBlock()
    rows: dict[str, Row] = {}
    phases: PhaseBlock = PhaseBlock()
    identity: IdentityBlock = IdentityBlock()
    points: dict[str, Numbers] = {}
    states: list[State] = []
    alarms: AlarmTables = []
    traps: dict[TrapPrefix, dict[int, Annotated[Trap, BeforeValidator(_trap)]]] = {}
    every_point: str | None = Field(None, pattern=r"\{name\}")
    topics: TopicsBlock | None = None
    missing_texts: list[str] = []
    missing_ones: bool = False
    missing_words: list[int] = []

    # One Profile object is one family: caches are keyed by the object, not by its content.
    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other
