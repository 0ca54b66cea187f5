"""What is told of the traps that were heard."""

from dataclasses import dataclass
from datetime import datetime

from service_api.paging import ListQuery


@dataclass(frozen=True, slots=True)
class Trap:
    """Traps of one kind from one sender: how many, and what the newest one carried.

    `device_id` is None where nobody knows the sender, or several units stand behind it. `name` is
    None where no profile knows the trap, `flag` where it tells of none; `raises` says whether it
    begins or ends what the flag means. An empty `oid` counts what came too fast, or in too many
    kinds, to be told apart.
    """

    id: int
    device_id: int | None
    device: str | None
    source: str
    oid: str
    name: str | None
    flag: str | None
    raises: bool | None
    count: int
    first_at: datetime
    last_at: datetime
    variables: dict[str, str]


class TrapQuery(ListQuery):
    """Which traps: of one unit, known ones or not, from senders that are units or not."""

    device_id: int | None = None
    known: bool | None = None
    of_unit: bool | None = None
