"""What is told of corrections, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rules.points import BY_NAME, Kind
from service_api.corrections.operations import Action, Cure, Whose
from service_api.paging import ListQuery, Strict

Factor = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Addend = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done with one value of a device, or of all devices of a profile (and model)."""

    id: int
    device_id: int | None
    device: str | None
    profile: str | None
    model: str | None
    devices: int
    point: str
    column: str
    action: Action
    factor: float
    addend: float
    reason: str
    made_by: str
    made_at: datetime
    ended_by: str | None
    ended_at: datetime | None


class CorrectionQuery(ListQuery):
    """Which corrections; `device_id` asks for the device's own and its family's."""

    state: Literal["active", "ended", "all"] = "active"
    device_id: int | None = None
    profile: Annotated[str | None, Field(max_length=100)] = None
    point: Annotated[str | None, Field(max_length=100)] = None


class NewCorrection(Strict):
    """A correction by hand: for `device_id`, or for `profile` with or without `model`."""

    device_id: int | None = None
    profile: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    point: Annotated[str, Field(max_length=100)]
    action: Action
    factor: Factor = 1.0
    addend: Addend = 0.0
    reason: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.device_id is None) == (self.profile is None):
            raise ValueError("say either device_id or profile")
        if self.device_id is not None and self.model is not None:
            raise ValueError("a model goes with a profile, not with a device")
        point = BY_NAME.get(self.point)
        if point is None:
            raise ValueError(f"there is no point {self.point!r}")
        if self.action == "convert":
            if point.kind is not Kind.NUMBER:
                raise ValueError("only numbers can be converted")
            if self.factor == 0:
                raise ValueError("a factor of 0 would lose the value: ignore the point instead")
        elif (self.factor, self.addend) != (1.0, 0.0):
            raise ValueError("factor and addend go with the action convert")
        return self

    @property
    def whose(self) -> Whose:
        """What it holds for."""
        return Whose(self.device_id, self.profile, self.model)

    @property
    def cure(self) -> Cure:
        """What it does."""
        return Cure(self.action, self.factor, self.addend)
