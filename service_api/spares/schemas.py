"""What is told of parts and stock over HTTP, and what people may send."""

from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import Field

from service_api.customers.schemas import Name
from service_api.paging import Form, ListQuery, Strict

Sku: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,59}$")]
Kind: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Quantity: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]
Remark: TypeAlias = Annotated[str, Field(max_length=500)]


class PartQuery(ListQuery):
    """Which parts."""

    kind: str | None = None
    q: Annotated[str | None, Field(max_length=200)] = None


class StockQuery(Strict):
    """What lies where."""

    part_id: int | None = None
    warehouse_id: int | None = None


class MoveQuery(ListQuery):
    """Which rows of the ledger."""

    part_id: int | None = None
    warehouse_id: int | None = None
    work_order_id: int | None = None


class NewPart(Strict):
    """A part for the catalog; without models it fits every unit."""

    sku: Sku
    kind: Kind
    name: Name
    name_zh: Name
    fits_models: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list
    )
    price: Annotated[Decimal | None, Field(ge=0, le=10_000_000, decimal_places=2)] = None


class Receipt(Strict):
    """A delivery; the remark names where it came from."""

    part_id: int
    warehouse_id: int
    quantity: Quantity
    remark: Annotated[str, Field(min_length=1, max_length=500)]


class Issue(Strict):
    """Parts taken out, for a work order or without one."""

    part_id: int
    warehouse_id: int
    quantity: Quantity
    work_order_id: int | None = None
    remark: Remark = ""


class Return(Issue):
    """Unused parts brought back."""


class Count(Strict):
    """What was counted."""

    part_id: int
    warehouse_id: int
    counted: Annotated[int, Field(ge=0, le=1_000_000)]
    remark: Remark = ""


class MoveForm(Form):
    """What the form on a part's page sends."""

    kind: Annotated[str, Field(pattern="^(receipt|issue|return|count)$")]
    warehouse_id: int
    quantity: Annotated[int, Field(ge=0, le=100_000)]
    remark: Remark = ""


class NewPartForm(Form):
    """What the page's form for a part sends; models are separated by commas."""

    sku: Sku
    kind: Kind
    name: Name
    name_zh: Name
    models: Annotated[str, Field(max_length=2_000)] = ""
    price: Annotated[str, Field(max_length=20, pattern=r"^\d*(\.\d{1,2})?$")] = ""
