"""What goes over the uplink: one arrival, one JSON document, checked where it comes in.

Both directions stand here, side by side. The document's form is version 1:

    {"v": 1, "key": "ups-1", "collector": "site-3", "at": "2026-11-22T08:00:00.250Z",
     "skew": 0.0, "source": "snmp",
     "reading": {"at": …, "points": {"battery.charge": 97.5}, "extra": {}, "source": "poll",
                 "stays_valid_seconds": 92.0},
     "rejections": [{"point": …, "raw": …, "reason": …, "detail": …}],
     "identity": {…}, "profile": "rfc1628", "card": {…}, "trap": {…}}

A collector tells of its life under `collectors/<name>`: `availability` (`online`, or the last will
`offline`), `beat`, and the center answers under `clock` when it got a beat, and under `devices`
with the list of its devices, where it asks for that.

What is not told is left out. Instants are by the collector's clock; `skew` says how many seconds
that is ahead of the center's, as the collector knew it then. It is applied where it matters, and
since it is part of the message, a message that is delivered twice gives the same instant twice.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    ValidationError,
)

from collector.arrival import Arrival, CardNews, TrapNews
from collector.shards import shard_of
from rules.facts import Identity, Reading, Rejection, Source, Value
from rules.points import BY_COLUMN, BY_NAME, Kind

ROOT = "ridethrough/v1/uplink"
LARGEST_BYTES = 256 * 1024
"""A longer message is refused unread, and none is sent."""
SKEW_IGNORED_SECONDS = 2.0
"""A collector's clock is corrected only beyond this."""
REPLAYED_AFTER = timedelta(seconds=60)
"""What arrives so long after it was observed had to wait for the line."""

_LONGEST_TEXT = 4_000
_MOST_VALUES = 400
_MOST_REJECTIONS = 50
_RAW_KEPT = 2_000

_FORM = ConfigDict(
    extra="forbid",
    frozen=True,
    str_max_length=_LONGEST_TEXT,
    ser_json_bytes="hex",
    val_json_bytes="hex",
)
_Key = Annotated[str, Field(min_length=1, max_length=100)]
_Word = Annotated[str, Field(max_length=200)]
_Values = Annotated[dict[_Word, StrictBool | FiniteFloat | str], Field(max_length=_MOST_VALUES)]


class _ReadingForm(BaseModel):
    model_config = _FORM
    at: AwareDatetime
    points: _Values
    extra: _Values = Field(default_factory=dict)
    source: Source = Source.POLL
    stays_valid_seconds: Annotated[float, Field(ge=0, le=7 * 86_400)] | None = None


class _Form(BaseModel):
    model_config = _FORM
    v: Literal[1]
    key: _Key
    collector: _Key
    at: AwareDatetime
    skew: FiniteFloat | None = None
    source: Annotated[str, Field(min_length=1, max_length=20)]
    reading: _ReadingForm | None = None
    rejections: tuple[Rejection, ...] = Field(default=(), max_length=_MOST_REJECTIONS)
    identity: Identity | None = None
    profile: _Word | None = None
    card: CardNews | None = None
    trap: TrapNews | None = None


class _News(BaseModel):
    model_config = _FORM
    card: CardNews | None = None
    trap: TrapNews | None = None


class Beat(BaseModel):
    """A sign of life; `at` is by the collector's clock.

    `devices` says which list of devices it has, where it has that from the center.
    """

    model_config = _FORM
    v: Literal[1]
    at: AwareDatetime
    group: _Key
    life: _Key
    number: Annotated[int, Field(ge=0, lt=2**63)]
    spooled: Annotated[int, Field(ge=0, lt=2**63)] = 0
    dropped: Annotated[int, Field(ge=0, lt=2**63)] = 0
    skew: FiniteFloat | None = None
    devices: Annotated[str, Field(max_length=64)] | None = None


class Answer(BaseModel):
    """When the center got a beat, by its clock."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    life: _Key
    number: int
    at: AwareDatetime


class UplinkRefused(ValueError):
    """A message is not of the form: a word to count by and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def topic_of(device_key: str) -> str:
    """Return where a device's arrivals are published."""
    return f"{ROOT}/{shard_of(device_key):02}/{device_key}/reading"


def filter_of(shard: int) -> str:
    """Return the filter of everything in a shard."""
    return f"{ROOT}/{shard:02}/+/reading"


def collector_topic(name: str, kind: str) -> str:
    """Return where a collector tells of its life: `availability`, `beat`, `clock`."""
    return f"{ROOT}/collectors/{name}/{kind}"


def parse_collector_topic(topic: str) -> tuple[str, str] | None:
    """Return (name, kind) of a topic about a collector's life, None for another's."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:4]) != f"{ROOT}/collectors" or not parts[4]:
        return None
    return parts[4], parts[5]


def read_beat(payload: bytes) -> Beat:
    """Return a beat; raise UplinkRefused."""
    if b"\\u0000" in payload:
        raise UplinkRefused("bad_text", "a text holds NUL")
    try:
        return Beat.model_validate_json(payload)
    except ValueError as invalid:
        detail = _first_of(invalid) if isinstance(invalid, ValidationError) else str(invalid)
        raise UplinkRefused("bad_message", detail) from None


def read_answer(payload: bytes) -> Answer | None:
    """Return the center's answer to a beat, None for anything else."""
    try:
        return Answer.model_validate_json(payload)
    except ValueError:
        return None


def parse_topic(topic: str) -> tuple[int, str] | None:
    """Return (shard, device key) of a topic, None for another's."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:3]) != ROOT or parts[5] != "reading":
        return None
    return (int(parts[3]), parts[4]) if parts[3].isdecimal() and parts[4] else None


def encode(arrival: Arrival, *, collector: str, skew: float | None) -> tuple[str, bytes]:
    """Return the topic and the payload of an arrival; what is too long is told as refused."""
    document: dict[str, Any] = {
        "v": 1,
        "key": arrival.device_key,
        "collector": collector,
        "at": _written(arrival.received_at),
        "source": arrival.source,
    }
    if skew is not None:
        document["skew"] = round(skew, 3)
    if arrival.reading is not None:
        document["reading"] = _reading_document(arrival.reading)
    if arrival.rejections:
        document["rejections"] = [
            {
                "point": one.point,
                "raw": one.raw[:_RAW_KEPT],
                "reason": one.reason,
                "detail": one.detail[:_RAW_KEPT],
            }
            for one in arrival.rejections[:_MOST_REJECTIONS]
        ]
    identity = arrival.identity
    if identity is not None:
        document["identity"] = {
            "manufacturer": identity.manufacturer,
            "model": identity.model,
            "serial": identity.serial,
            "firmware": identity.firmware,
            "details": dict(identity.details),
        }
    if arrival.profile is not None:
        document["profile"] = arrival.profile
    if arrival.card is not None or arrival.trap is not None:
        news = _News.model_construct(card=arrival.card, trap=arrival.trap)
        told = news.model_dump(mode="json")
        document |= {name: one for name, one in told.items() if one is not None}
    payload = json.dumps(document, separators=(",", ":")).encode()
    if b"\\u" in payload:
        payload = json.dumps(_clean(document), separators=(",", ":")).encode()
    if len(payload) > LARGEST_BYTES:
        detail = f"{len(payload)} bytes, more than {LARGEST_BYTES}"
        refused = Rejection(None, "", "too_large", detail)
        bare = Arrival(
            arrival.device_key, arrival.received_at, arrival.source, rejections=(refused,)
        )
        return encode(bare, collector=collector, skew=skew)
    return topic_of(arrival.device_key), payload


def decode(
    payload: bytes, *, received_at: datetime, skew_of: Callable[[str], float | None]
) -> Arrival:
    """Return what a message tells, without its device's number; raise UplinkRefused.

    `skew_of` tells what the center believes of a collector's clock, for messages that say nothing.
    """
    if len(payload) > LARGEST_BYTES:
        raise UplinkRefused("too_large", f"{len(payload)} bytes, more than {LARGEST_BYTES}")
    if b"\\u0000" in payload:
        raise UplinkRefused("bad_text", "a text holds NUL")
    try:
        form = _Form.model_validate_json(payload)
    except ValidationError as invalid:
        raise UplinkRefused("bad_message", _first_of(invalid)) from None
    except ValueError as invalid:  # a surrogate, an absurd number
        raise UplinkRefused("bad_message", str(invalid)[:200]) from None
    skew = form.skew if form.skew is not None else skew_of(form.collector)
    ahead = timedelta(seconds=_correction(skew))
    rejections = list(form.rejections)
    reading = None
    if form.reading is not None:
        reading = _reading_of(form.reading, received_at, ahead, rejections)
    return Arrival(
        device_key=form.key,
        received_at=received_at,
        source=form.source,
        reading=reading,
        rejections=tuple(rejections),
        identity=form.identity,
        profile=form.profile,
        card=None if form.card is None else _corrected(form.card, ahead),
        trap=form.trap,
    )


def _reading_document(reading: Reading) -> dict[str, Any]:
    document: dict[str, Any] = {
        "at": _written(reading.observed_at),
        "points": {BY_COLUMN[column].name: value for column, value in reading.points.items()},
        "source": reading.source.value,
        "stays_valid_seconds": reading.stays_valid_seconds,
    }
    if reading.extra:
        document["extra"] = dict(reading.extra)
    return document


def _reading_of(
    form: _ReadingForm, received_at: datetime, ahead: timedelta, rejections: list[Rejection]
) -> Reading:
    points: dict[str, Value] = {}
    for name, value in form.points.items():
        point = BY_NAME.get(name)
        if point is None:
            detail = "the center does not know this point: is it older than the collector?"
            rejections.append(Rejection(name, str(value)[:_RAW_KEPT], "unknown_point", detail))
        elif not _fits(point.kind, point.low, point.high, value):
            detail = "neither this point's kind nor in its range"
            rejections.append(Rejection(name, str(value)[:_RAW_KEPT], "implausible", detail))
        else:
            points[point.column] = value
    at = form.at.astimezone(UTC)
    extra: Mapping[str, Value] = form.extra
    if ahead:
        extra = {**extra, "collector.clock": at.isoformat(timespec="milliseconds")}
        at -= ahead
    is_replayed = received_at - at > REPLAYED_AFTER
    return Reading(
        device_id=0,
        observed_at=at,
        received_at=received_at,
        points=points,
        extra=extra,
        source=Source.REPLAY if is_replayed else form.source,
        stays_valid_seconds=form.stays_valid_seconds,
    )


def _fits(kind: Kind, low: float | None, high: float | None, value: Value) -> bool:
    match kind:
        case Kind.FLAG:
            return isinstance(value, bool)
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.NUMBER:
            if isinstance(value, (bool, str)):
                return False
            return (low is None or value >= low) and (high is None or value <= high)


def _correction(skew: float | None) -> float:
    return skew if skew is not None and abs(skew) > SKEW_IGNORED_SECONDS else 0.0


def _corrected(card: CardNews, ahead: timedelta) -> CardNews:
    if not ahead:
        return card
    return replace(
        card,
        restarted_at=card.restarted_at and card.restarted_at - ahead,
        failing_since_at=card.failing_since_at and card.failing_since_at - ahead,
    )


def _written(at: datetime) -> str:
    # Microseconds too: an instant must stay what it is, or redelivered it would be another.
    return at.astimezone(UTC).isoformat()


def _first_of(invalid: ValidationError) -> str:
    first = invalid.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:200] if where else str(first["msg"])[:200]


def _clean(part: Any) -> Any:  # noqa: ANN401 - any part of a document
    """Return a document's part without what a database refuses: NUL, lone surrogates."""
    match part:
        case str():
            shown = part.replace("\0", "\N{SYMBOL FOR NULL}")
            return shown.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_clean(key): _clean(value) for key, value in part.items()}
        case list():
            return [_clean(one) for one in part]
    return part
