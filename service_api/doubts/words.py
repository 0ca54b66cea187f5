"""Why a value is doubted, in a sentence for people; the rules are `rules.plausibility`'s."""

from service_api.language import msg

REASONS: dict[str, str] = {
    "voltage_scale": msg("A tenth or ten times of the usual voltage, while mains feeds the load."),
    "zero_while_live": msg("Zero, while the unit plainly works: the card does not measure it."),
    "frequency_range": msg("No mains, generator or inverter runs at this frequency."),
    "battery_scale": msg("Wrong by a power of ten against the battery's nominal voltage."),
    "battery_range": msg("No battery of this nominal voltage can have this voltage."),
    "cell_voltage": msg("The voltage of one cell, not of the battery."),
    "block_voltage": msg("The voltage of one battery block, not of all in series."),
    "nominal_of_a_block": msg("The nominal voltage of one block, not of the battery."),
    "volt_ampere": msg("Voltage times current is far from the power that the unit reports."),
    "watts_above_va": msg("Active power above apparent power cannot be."),
    "load_scale": msg("Two other values agree on another load."),
    "power_in_kilo": msg("Far below what the load rate says: probably in kW or kVA."),
    "rating_in_kilo": msg("The rating is below the load: probably in kW or kVA."),
    "load_without_overload": msg("Far above the rating, and the unit reports no overload."),
    "more_out_than_in": msg("More power comes out than goes in, and the battery does not help."),
    "runtime_too_long": msg("Longer than this battery can feed this load."),
    "runtime_too_short": msg("Shorter than a full battery can last: probably in minutes."),
    "placeholder": msg("A placeholder by which cards say that they do not know."),
    "fahrenheit": msg("Much too hot beside the other temperatures: probably degrees Fahrenheit."),
    "tenths": msg("Much too cold beside the other temperatures: probably a tenth."),
    "phases_dead": msg("Three phases claimed, two without voltage, and no fault reported."),
    "phases_copied": msg("Three equal phases, and the power of one."),
    "on_line_and_on_battery": msg("On mains and on battery at once."),
    "charging_and_discharging": msg("Charging and discharging at once."),
    "off_but_feeding": msg("Reported as off while it feeds a load."),
    "out_of_range": msg("Beyond what this value can be."),
    "frozen": msg("Every measured value has stood still for hours."),
}
"""By the rule in a doubt's evidence."""


def reason_of(rule: object) -> str:
    """Return the sentence for a rule, to be translated."""
    return REASONS.get(str(rule), msg("Not plausible."))
