"""The inside of a unit: rectifier, inverter, bypass, charger, heat, self-test, its own opinions.

Deterministic and without a clock: equal specifications, seeds and inputs give equal machines. Time
is passed in by `advance` or `at`; inputs are mains, faults and a self-test on demand. The words in
which a unit reports itself are written by `measures`.
"""

import math
from datetime import datetime, timedelta
from enum import Enum
from typing import Self

import numpy as np

from device_sims.battery import Battery, age_at
from device_sims.spec import Topology, UpsSpec
from device_sims.surroundings import DAY, Noise, Room, load_fraction

SELF_TEST_SECONDS = 10.0
_TEST_NEEDS_CHARGE = 0.75
"""A self-test counts only above 75 % charge; otherwise it is called off."""
_TEST_FAILS_BELOW = 0.65
"""Measured capacity that fails a test: well under the 80 % at which a battery should have gone."""

_TAU_UNIT = 1_800.0
_TAU_BATTERY = 4.0 * 3_600.0
_TAU_BLOCKED = 60.0
_LONGEST_STEP = 3_600.0
_BATTERY_STEP = 2.0
_FLOAT_DAYS = 2.0


class Fault(Enum):
    """What can be wrong inside a unit, each on or off at will."""

    OVERLOAD = "overload"
    """The load stands at 118 % of the rating."""
    OVER_TEMPERATURE = "over_temperature"
    """The air path is blocked."""
    FAN_FAULT = "fan_fault"
    CHARGER_FAULT = "charger_fault"
    BYPASS = "bypass"
    """The load hangs on mains directly."""
    REPLACE_BATTERY = "replace_battery"
    """The unit asks for a new battery, whatever its battery is like."""


class TestResult(Enum):
    """Outcome of the last self-test, in the words of `rules.points.TEST_RESULTS`."""

    __test__ = False

    NONE = "none"
    IN_PROGRESS = "in_progress"
    PASSED = "passed"
    FAILED = "failed"
    ABORTED = "aborted"


class Machine:
    """A unit from `start` on, as if it had stood on mains, fully charged, since its battery came.

    What a report needs is public; only the methods change it.
    """

    def __init__(self, spec: UpsSpec, seed: int, *, start: datetime) -> None:
        generator = np.random.default_rng((seed, 0x0B5))
        self.spec = spec
        self.seed = seed
        self.room = Room(spec.room)
        self.noise = Noise(generator)
        self.shares = _phase_shares(generator, spec.phases)
        self.seconds = start.timestamp()
        self.time_zone = start.tzinfo
        self.battery = Battery(spec.battery, age_years=age_at(spec, start))
        self.mains_is_on = True
        self.mains_factor = 1.0
        """Scales mains voltage, for brown-outs and swells on cue."""
        self.faults: set[Fault] = set()
        self.is_off = False
        """The output is dead: battery depleted, or on bypass without mains."""
        self.test_result = TestResult.NONE
        self.test_ends_at: float | None = None
        self.battery_since: float | None = None
        """When the unit last went to battery, None while on mains."""
        self.asks_for_battery = False
        self.transfer_reason = "none"
        mean_load = spec.load.base + 0.3 * spec.load.working_hump
        self.output_watt_hours = (
            mean_load
            * spec.rated_va
            * spec.load.power_factor
            * max(start - spec.installed_at, timedelta())
            / timedelta(hours=1)
        )
        self._bias = float(generator.normal(0.0, 0.03))
        self._test_generator = np.random.default_rng((seed, 0x7E57))
        self._test_phase = float(generator.uniform(0.0, max(spec.self_test_days, 1.0) * DAY))
        self._full_since = self.seconds
        self.believed_index = self.battery.index * (1.0 + self._bias)
        """Capacity that the firmware believes in; corrected only by self-tests."""
        self.load = 0.0
        self._take_load()
        air = self.room.celsius(self.seconds)
        self.celsius = air + self._rise()
        self.battery.celsius = self._battery_target(air)
        self._next_test = self._test_after(self.seconds)
        if spec.self_test_days > 0.0:
            self.test_result = TestResult.PASSED
            self._judge_test()

    # Inputs

    def fail_mains(self) -> None:
        """Take mains away."""
        self.mains_is_on = False
        self._settle()

    def return_mains(self) -> None:
        """Give mains back; a unit that shut down starts again."""
        self.mains_is_on = True
        self.is_off = False
        self._settle()

    def begin(self, fault: Fault) -> None:
        """Switch a fault on."""
        self.faults.add(fault)
        self._settle()

    def end(self, fault: Fault) -> None:
        """Switch a fault off."""
        self.faults.discard(fault)
        self._settle()

    def start_self_test(self) -> None:
        """Begin a self-test; called off at once without mains or below 75 % charge."""
        if not self.mains_is_on or self.is_off or self.is_on_bypass or self.is_testing:
            return
        if self.battery.charge < _TEST_NEEDS_CHARGE:
            self.test_result = TestResult.ABORTED
            return
        self.test_result = TestResult.IN_PROGRESS
        self.test_ends_at = self.seconds + SELF_TEST_SECONDS
        self.transfer_reason = "self-test"
        self._settle()

    def replace_battery(self, at: datetime) -> None:
        """Fit a new battery of the same kind; the unit learns of it by its next self-test."""
        self.advance(max(at.timestamp() - self.seconds, 0.0))
        self.battery.age_years = 0.0
        self.battery.charge = 1.0
        self._full_since = self.seconds

    # Time

    def at(self, now: datetime) -> Self:
        """Go on until an instant; one that has passed changes nothing."""
        self.advance(max(now.timestamp() - self.seconds, 0.0))
        return self

    def advance(self, seconds: float) -> None:
        """Go on for some seconds, in as few steps as the state allows."""
        remaining = seconds
        while remaining > 0.0:
            step = min(remaining, self._longest_step())
            self._step(step)
            remaining -= step

    @property
    def now(self) -> datetime:
        """The instant that the unit has reached."""
        return datetime.fromtimestamp(self.seconds, self.time_zone)

    # State in words

    @property
    def is_testing(self) -> bool:
        """A self-test runs."""
        return self.test_ends_at is not None

    @property
    def is_on_bypass(self) -> bool:
        """The load hangs on mains directly."""
        return Fault.BYPASS in self.faults and not self.is_off

    @property
    def is_on_battery(self) -> bool:
        """The battery feeds the load, for want of mains or for a test."""
        return self.battery_since is not None

    @property
    def is_charging(self) -> bool:
        """The charger puts charge into the battery."""
        return self._charger_works and self.battery.charge < 1.0

    @property
    def is_resting(self) -> bool:
        """A three-stage charger leaves the full battery alone."""
        rest = self.spec.battery.rest_days
        if rest == 0.0 or not self._charger_works or self.battery.charge < 1.0:
            return False
        return (self.seconds - self._full_since) % ((_FLOAT_DAYS + rest) * DAY) > _FLOAT_DAYS * DAY

    @property
    def _charger_works(self) -> bool:
        return (
            self.mains_is_on
            and not self.is_on_battery
            and not self.is_off
            and Fault.CHARGER_FAULT not in self.faults
        )

    # Power

    @property
    def output_watts(self) -> float:
        """Active power into the load."""
        if self.is_off:
            return 0.0
        return self.load * self.spec.rated_va * self.spec.load.power_factor

    @property
    def loss_watts(self) -> float:
        """Power turned into heat: fixed, linear and quadratic parts, smaller in line-interactive.

        Full load of a double-conversion unit comes to about 93 % efficiency.
        """
        if self.is_off:
            return 0.0
        part = self.output_watts / self.spec.rated_watts
        if self.is_on_bypass:
            per_unit = 0.010 + 0.005 * part
        elif self.spec.topology is Topology.LINE_INTERACTIVE and not self.is_on_battery:
            per_unit = 0.012 + 0.018 * part * part
        else:
            per_unit = 0.018 + 0.020 * part + 0.032 * part * part
        return per_unit * self.spec.rated_watts

    @property
    def charger_watts(self) -> float:
        """Power into the battery while it charges."""
        if not self.is_charging:
            return 0.0
        return self.battery.charging_amperes * self.battery.charging_volts

    @property
    def battery_watts(self) -> float:
        """Power out of the battery: load and losses while it feeds them."""
        return self.output_watts + self.loss_watts if self.is_on_battery else 0.0

    @property
    def input_watts(self) -> float:
        """Power drawn from mains."""
        if not self.mains_is_on or self.is_on_battery or self.is_off:
            return 0.0
        return self.output_watts + self.loss_watts + self.charger_watts

    # The firmware's opinions

    @property
    def estimated_runtime(self) -> float:
        """Runtime by the firmware's own model, in seconds.

        It is not the truth: it believes an old capacity, knows no temperature, takes a fixed
        Peukert exponent for nominal voltage, and is too hopeful at light load.
        """
        spec = self.spec
        if self.is_off:
            return 0.0
        battery = spec.battery
        watts = max(self.output_watts, 0.08 * spec.rated_watts) * 1.08
        amperes = watts / (battery.nominal_volts * 0.97)
        believed = battery.capacity_ah * battery.strings * self.believed_index
        ratio = believed / (amperes * battery.rated_hours)
        full = battery.rated_hours * 3_600.0 * math.pow(ratio, battery.peukert + 0.02)
        return min(full, 240_000.0) * self.battery.charge

    @property
    def is_low(self) -> bool:
        """Low battery: on battery and the estimate, or the charge, at its threshold."""
        return (
            self.is_on_battery
            and not self.is_testing
            and (
                self.estimated_runtime <= self.spec.low_runtime_seconds
                or self.battery.charge * 100.0 <= self.spec.low_charge_percent
            )
        )

    # Steps

    def _longest_step(self) -> float:
        if self.test_ends_at is not None:
            return min(max(self.test_ends_at - self.seconds, 1e-3), _BATTERY_STEP)
        if self.is_on_battery:
            return _BATTERY_STEP
        step = _TAU_BLOCKED if Fault.OVER_TEMPERATURE in self.faults else _LONGEST_STEP
        return min(step, max(self._next_test - self.seconds, 1e-3))

    def _step(self, seconds: float) -> None:
        battery = self.battery
        if self.is_on_battery:
            amperes = battery.current_at(self.battery_watts)
            if math.isinf(amperes):
                battery.charge = 0.0
            else:
                battery.discharge(amperes, seconds)
        elif self._charger_works:
            if battery.charge < 1.0:
                battery.recharge(seconds)
                self._full_since = self.seconds + seconds
        else:
            battery.rest(seconds)
        battery.age(seconds)
        self.output_watt_hours += self.output_watts * seconds / 3_600.0
        self._warm(seconds)
        self.seconds += seconds
        self._take_load()
        self._settle()
        if self.test_ends_at is not None and self.seconds >= self.test_ends_at - 1e-6:
            self._finish_test()
        elif self.seconds >= self._next_test - 1e-6:
            self._next_test = self._test_after(self.seconds + 1.0)
            self.start_self_test()

    def _settle(self) -> None:
        """Decide, after any change, who feeds the load."""
        if not self.mains_is_on:
            if self.test_ends_at is not None:
                # The outage cuts the test short.
                self.test_ends_at = None
                self.test_result = TestResult.ABORTED
            if self.is_on_bypass or (self.is_on_battery and self.battery.charge <= 0.0):
                self.is_off = True
        wants_battery = not self.is_off and (not self.mains_is_on or self.test_ends_at is not None)
        if wants_battery and self.battery_since is None:
            self.battery_since = self.seconds
            if not self.mains_is_on:
                self.transfer_reason = "blackout"
        elif not wants_battery:
            self.battery_since = None

    def _finish_test(self) -> None:
        self.test_ends_at = None
        self.test_result = TestResult.PASSED
        self._judge_test()
        self._settle()

    def _judge_test(self) -> None:
        """Measure capacity, not too well, and let the firmware learn a part of it."""
        measured = self.battery.index * (1.0 + float(self._test_generator.normal(0.0, 0.025)))
        self.believed_index += 0.35 * (measured * (1.0 + self._bias) - self.believed_index)
        if measured < _TEST_FAILS_BELOW:
            self.test_result = TestResult.FAILED
            self.asks_for_battery = True
        else:
            self.asks_for_battery = False

    def _test_after(self, seconds: float) -> float:
        period = self.spec.self_test_days * DAY
        if period <= 0.0:
            return math.inf
        return math.ceil((seconds - self._test_phase) / period) * period + self._test_phase

    def _take_load(self) -> None:
        if Fault.OVERLOAD in self.faults:
            self.load = 1.18 + 0.01 * self.noise.at(self.seconds, 7.0)
        else:
            self.load = load_fraction(
                self.spec.load, self.noise, self.seconds, self.spec.room.utc_offset_hours
            )

    def _rise(self) -> float:
        """Return how far the inside stands above the room once settled."""
        full = 0.07 * self.spec.rated_watts
        rise = 6.0 + 11.0 * min(self.loss_watts / full, 2.0)
        if Fault.FAN_FAULT in self.faults:
            rise *= 1.8
        if Fault.OVER_TEMPERATURE in self.faults:
            rise += 32.0
        return rise

    def _battery_target(self, air: float) -> float:
        warm = 0.22 * (self.celsius - air) + (4.0 if self.is_on_battery else 0.0)
        return air + warm + (1.5 if self.is_charging else 0.0)

    def _warm(self, seconds: float) -> None:
        air = self.room.celsius(self.seconds)
        tau = _TAU_BLOCKED if Fault.OVER_TEMPERATURE in self.faults else _TAU_UNIT
        target = air + self._rise()
        self.celsius = target + (self.celsius - target) * math.exp(-seconds / tau)
        target = self._battery_target(air)
        self.battery.celsius = target + (self.battery.celsius - target) * math.exp(
            -seconds / _TAU_BATTERY
        )


def _phase_shares(generator: np.random.Generator, phases: int) -> tuple[float, ...]:
    """Return how the load divides over the phases: up to some % out of balance."""
    if phases == 1:
        return (1.0,)
    raw = 1.0 + generator.uniform(-0.10, 0.10, phases)
    return tuple(float(part) for part in raw / raw.sum())
