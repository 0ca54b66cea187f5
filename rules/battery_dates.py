"""When the battery in a unit was installed, as far as people, card and maker tell. Pure."""

from datetime import date, timedelta

LONGEST_KEPT = timedelta(days=20 * 365)
"""A lead battery older than this is a date that nobody set."""


def installation_date(
    entered_on: date | None,
    *,
    told: str | None,
    made: str | None,
    unit_installed_on: date | None,
    today: date,
) -> date | None:
    """Return when the battery was installed, None when nothing usable is known.

    `told` is what the card says, `made` when the unit was made; both are ISO dates or any text.

    1. What people entered wins.
    2. A card's date counts where somebody must have set it: factories write the day of making,
       cards the day their clock began, so it has to lie after both the making and the installation
       of the unit, and not ahead of today.
    3. Else the battery came with the unit.
    """
    if entered_on is not None:
        return entered_on
    told_on, made_on = _date(told), _date(made)
    if told_on is None or not today - LONGEST_KEPT < told_on <= today:
        return unit_installed_on
    if made_on is not None and told_on <= made_on:
        return unit_installed_on
    if unit_installed_on is not None and told_on <= unit_installed_on:
        return unit_installed_on
    return told_on


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None
