"""A scenario: a fleet of simulated units and what happens to it, read from YAML.

Here is only the form of the file and its checks: the units that it describes are built by `fleet`,
its steps are put in order by `timeline` and done by `serve`.
"""

from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from device_sims.models import HARDWARE

Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

UNIT_FAULTS = (
    "overload",
    "over_temperature",
    "fan_fault",
    "charger_fault",
    "bypass",
    "replace_battery",
)
WIRE_FAULTS = (
    "silent",
    "slow",
    "lossy",
    "restarting",
    "wrong_type",
    "scale_x10",
    "frozen",
    "duplicate",
    "clock_jump",
    "malformed",
)
Action = Literal[
    "mains_fail",
    "mains_return",
    "self_test",
    "clear",
    "overload",
    "over_temperature",
    "fan_fault",
    "charger_fault",
    "bypass",
    "replace_battery",
    "silent",
    "slow",
    "lossy",
    "restarting",
    "wrong_type",
    "scale_x10",
    "frozen",
    "duplicate",
    "clock_jump",
    "malformed",
]
_AMOUNTS = {"slow": "seconds", "lossy": "share", "clock_jump": "seconds"}
_MOMENTARY = ("mains_return", "self_test", "clear")


class ScenarioInvalid(ValueError):
    """The scenario cannot be used; the message names the file, the place and the reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Name(_Strict):
    """A name for people, in both languages; `{n}` is the number of a unit made from a template."""

    en: str
    zh: str


class Customer(_Strict):
    """Who owns units."""

    key: Key
    name: Name


class Room(_Strict):
    """The site's air and mains where they differ from the usual."""

    mean_celsius: float = Field(24.0, ge=-10, le=45)
    season_celsius: float = Field(2.0, ge=0, le=15)
    day_celsius: float = Field(1.0, ge=0, le=10)
    outages_per_year: float = Field(6.0, ge=0, le=400)


class Site(_Strict):
    """Where units stand; they share its mains and its air."""

    key: Key
    customer: Key
    name: Name
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    time_zone: str = "Asia/Shanghai"
    room: Room = Room()


class Load(_Strict):
    """The unit's load where it differs from the usual."""

    base: float = Field(0.40, ge=0.01, le=1.0)
    working_hump: float = Field(0.12, ge=0, le=0.6)
    noise: float = Field(0.012, ge=0, le=0.1)


class BatteryAge(_Strict):
    """How old the battery is at the epoch and how long its kind lasts."""

    installed_days_ago: float | None = Field(None, ge=0)
    service_life_years: float | None = Field(None, gt=0)


class Unit(_Strict):
    """A unit, or several alike: with `count` the key and the names must hold `{n}`.

    `model` is a key of `models.HARDWARE`, `called` the model name that the unit tells instead of
    the hardware's own. `profile` names the collector's profile through which the unit speaks,
    `access` how. `silent_days` is how long before the epoch it was last heard.
    """

    key: str
    count: int = Field(1, ge=1, le=5_000)
    site: Key
    name: Name
    manufacturer: str = "Example Power"
    model: str
    called: str | None = None
    profile: str
    access: Literal["snmp", "snmp+v1", "snmpv3", "modbus", "modbus+rtu", "mqtt"] = "snmp"
    seed: int | None = None
    installed_days_ago: float = Field(900.0, ge=0)
    battery: BatteryAge = BatteryAge()
    load: Load = Load()
    self_test_days: float = Field(7.0, ge=0)
    has_room_probe: bool = False
    silent_days: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _known_hardware(self) -> Self:
        if self.model not in HARDWARE:
            raise ValueError(f"unknown model {self.model!r}: use one of {', '.join(HARDWARE)}")
        return self

    def numbered(self) -> Iterator[tuple[str, int]]:
        """Yield the key and the number of each unit that the template stands for."""
        for number in range(1, self.count + 1):
            yield self.key.replace("{n}", str(number)), number


class Step(_Strict):
    """One thing that happens `at` seconds, at every unit of a site or at one unit.

    `lasting` ends it by itself. `amount` is the delay of `slow`, the lost share of `lossy` and
    the leap of `clock_jump` in seconds.
    """

    at: float = Field(ge=0)
    do: Action
    site: str | None = None
    unit: str | None = None
    lasting: float | None = Field(None, gt=0)
    amount: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.site is None) == (self.unit is None):
            raise ValueError(f"{self.do} needs a site or a unit, and not both")
        if self.lasting is not None and self.do in _MOMENTARY:
            raise ValueError(f"{self.do} takes no time: it cannot be lasting")
        if self.amount is not None and self.do not in _AMOUNTS:
            raise ValueError(f"{self.do} knows no amount")
        return self


class Variant(_Strict):
    """One way a cycle may go; its steps count from the beginning of the cycle."""

    name: str
    steps: list[Step] = Field(min_length=1)


class Cycle(_Strict):
    """Variants that follow each other for ever, in an order that the scenario's seed shuffles."""

    first_at: float = Field(ge=0)
    every: float = Field(gt=0)
    variants: list[Variant] = Field(min_length=1)


class Scenario(_Strict):
    """A fleet and its fate."""

    name: Key
    title: Name
    seed: int = 1
    customers: list[Customer]
    sites: list[Site]
    units: list[Unit] = Field(min_length=1)
    timeline: list[Step] = []
    cycle: Cycle | None = None

    @model_validator(mode="after")
    def _refers_to_what_it_has(self) -> Self:
        customers, sites = ({item.key for item in group} for group in (self.customers, self.sites))
        units = [key for template in self.units for key, _ in template.numbered()]
        for what, keys in (
            ("customer", [item.key for item in self.customers]),
            ("site", [item.key for item in self.sites]),
            ("unit", units),
        ):
            twice = [key for key, count in Counter(keys).items() if count > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there twice (a count needs {{n}})")
        for site in self.sites:
            if site.customer not in customers:
                raise ValueError(f"site {site.key!r}: no customer {site.customer!r}")
        for template in self.units:
            if template.site not in sites:
                raise ValueError(f"unit {template.key!r}: no site {template.site!r}")
        for step in self.every_step():
            if step.site is not None and step.site not in sites:
                raise ValueError(f"step {step.do} at {step.at:g} s: no site {step.site!r}")
            if step.unit is not None and step.unit not in units:
                raise ValueError(f"step {step.do} at {step.at:g} s: no unit {step.unit!r}")
        return self

    def every_step(self) -> Iterator[Step]:
        """Yield each step that is written down, those of the cycle's variants included."""
        yield from self.timeline
        if self.cycle is not None:
            for variant in self.cycle.variants:
                yield from variant.steps

    def site(self, key: str) -> Site:
        """Return a site by key."""
        return next(site for site in self.sites if site.key == key)

    def customer(self, key: str) -> Customer:
        """Return a customer by key."""
        return next(customer for customer in self.customers if customer.key == key)


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    folder = resources.files("device_sims") / "scenarios"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Read a scenario by its name or from a file; raise ScenarioInvalid with all that is wrong."""
    path = Path(name_or_path)
    if str(name_or_path) in scenario_names():
        text = (resources.files("device_sims") / "scenarios" / f"{name_or_path}.yaml").read_text(
            encoding="utf-8"
        )
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise ScenarioInvalid(f"{path} cannot be read as UTF-8 text: {problem}") from problem
    else:
        known = ", ".join(scenario_names())
        raise ScenarioInvalid(f"no scenario {str(name_or_path)!r}: give a file or one of {known}")
    return parse_scenario(text, source=str(name_or_path))


def parse_scenario(text: str, *, source: str = "scenario") -> Scenario:
    """Read a scenario from YAML text; `source` names it in messages."""
    try:
        return Scenario.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as problem:
        raise ScenarioInvalid(f"{source}: not YAML: {problem}") from problem
    except ValidationError as problem:
        lines = (
            f"{source}: {'.'.join(map(str, error['loc'])) or 'scenario'}: {error['msg']}"
            for error in problem.errors()
        )
        raise ScenarioInvalid("\n".join(lines)) from problem
