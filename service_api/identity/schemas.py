"""What is told of units in doubt, and what people send."""

from dataclasses import dataclass

from rules.identity import Mismatch
from service_api.paging import Form, Strict


@dataclass(frozen=True, slots=True)
class IdentityDoubt:
    """Why the unit behind an entry is not the one that the records know.

    `other` is the entry that it concerns: whose number it tells, or who tells the same.
    """

    device_id: int
    doubt: Mismatch
    told: str
    confirmed: str | None
    other_id: int | None
    other: str | None


class AddressExchange(Strict):
    """The entry to change addresses with."""

    with_device_id: int


class AddressExchangeForm(Form, AddressExchange):
    """What the page's button sends."""
