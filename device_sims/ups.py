"""One simulated UPS: a machine that reports itself in points and says who it is.

Equal specifications, seeds, start and inputs give equal reports; time is passed in. How a report
becomes bytes is the servers' business.
"""

from datetime import timedelta

from device_sims.machine import Fault, Machine, TestResult
from device_sims.measures import points
from rules.facts import Identity, Value

__all__ = ["Fault", "SimulatedUps", "TestResult"]


class SimulatedUps(Machine):
    """A unit from `start` on, as if it had stood on mains, fully charged, since its battery came.

    `advance` and `at` make time pass; `fail_mains`, `begin` and their likes are its inputs.
    """

    def points(self) -> dict[str, Value]:
        """Return what the unit measures and says now, keyed by column."""
        return points(self)

    def identity(self) -> Identity:
        """Return who the unit says it is."""
        spec = self.spec
        return Identity(
            manufacturer=spec.manufacturer,
            model=spec.model,
            serial=spec.serial,
            firmware=spec.firmware,
            details={
                "battery.date": spec.battery.installed_at.date().isoformat(),
                # Units stand on a shelf for about two months before they are installed.
                "ups.mfr.date": (spec.installed_at - timedelta(days=60)).date().isoformat(),
            },
        )
