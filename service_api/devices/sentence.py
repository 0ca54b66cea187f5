"""The state of a unit in one sentence, as a person would say it. Pure."""

from datetime import datetime

from service_api import figures
from service_api.fleet.schemas import FleetUnit
from service_api.language import msg, translate

_STATES = {
    "unknown": msg("Never heard from."),
    "testing": msg("Self-test or calibration running."),
    "off": msg("The output is off."),
}


def sentence(language: str, unit: FleetUnit, now: datetime) -> str:
    """Say how a unit is: "On battery for 6 min, about 14 min left at 42 % load."."""

    def say(text: str, **values: object) -> str:
        return translate(language, text, **values)

    load = None if unit.ups_load is None else figures.number(language, unit.ups_load)
    if unit.state == "silent" and unit.received_at:
        past = figures.duration(language, now - unit.received_at)
        return say(msg("Not heard for %(time)s; what is shown is from then."), time=past)
    if unit.state in _STATES:
        return say(_STATES[unit.state])
    if unit.state in {"on_battery", "low_battery"}:
        return _on_battery(language, unit, now, load)
    if unit.state == "bypass":
        if load is None:
            return say(msg("On bypass: the load is not protected."))
        return say(msg("On bypass at %(load)s %% load: the load is not protected."), load=load)
    if load is None:
        return say(msg("On mains."))
    if unit.battery_charge is None:
        return say(msg("On mains at %(load)s %% load."), load=load)
    charge = figures.number(language, unit.battery_charge)
    return say(
        msg("On mains at %(load)s %% load, battery at %(charge)s %%."), load=load, charge=charge
    )


def _on_battery(language: str, unit: FleetUnit, now: datetime, load: str | None) -> str:
    parts = []
    since = unit.on_battery_since_at
    if since:
        past = figures.duration(language, now - since)
        parts.append(translate(language, msg("On battery for %(time)s"), time=past))
    else:
        parts.append(translate(language, msg("On battery")))
    if unit.state == "low_battery":
        parts.append(translate(language, msg("battery low")))
    if unit.runtime_left_seconds is not None:
        left = figures.duration(language, unit.runtime_left_seconds)
        if load is None:
            parts.append(translate(language, msg("about %(time)s left"), time=left))
        else:
            parts.append(
                translate(
                    language,
                    msg("about %(time)s left at %(load)s %% load"),
                    time=left,
                    load=load,
                )
            )
    return ", ".join(parts) + "." if language == "en" else "\N{FULLWIDTH COMMA}".join(parts) + "。"
