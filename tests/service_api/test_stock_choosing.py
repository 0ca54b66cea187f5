import pytest

from service_api.dispatch.ranking import Position
from service_api.spares.choosing import in_order_of_use
from service_api.spares.store import Offer

SHANGHAI = Position(31.23, 121.47)


def offer(warehouse: int, **facts: object) -> Offer:
    known: dict[str, object] = {
        "part_id": 1,
        "sku": "B-1",
        "kind": "battery_set",
        "name": "Set",
        "name_zh": "电池组",
        "warehouse_name": "Main",
        "warehouse_name_zh": "总库",
        "engineer_id": None,
        "service_center_id": 1,
        "latitude": 31.23,
        "longitude": 121.47,
        "available": 1,
    }
    return Offer(warehouse_id=warehouse, **{**known, **facts})


FAR = {"latitude": 39.9, "longitude": 116.4}


@pytest.mark.parametrize(
    ("offers", "order"),
    [
        pytest.param([offer(1), offer(2, engineer_id=5)], [2, 1], id="the engineer's van first"),
        pytest.param([offer(1, engineer_id=6), offer(2)], [2, 1], id="another's van last"),
        pytest.param([offer(1, **FAR), offer(2)], [2, 1], id="the nearest warehouse"),
        pytest.param(
            [offer(1, latitude=None, longitude=None), offer(2, **FAR)], [2, 1], id="unknown is far"
        ),
        pytest.param(
            [offer(1, kind="fan_kit"), offer(2, **FAR)], [2, 1], id="the kind named first"
        ),
        pytest.param([], [], id="nothing in stock"),
    ],
)
def test_the_part_at_hand_is_taken(offers, order):
    found = in_order_of_use(
        offers, kinds=("battery_set", "fan_kit"), engineer_id=5, engineer_at=SHANGHAI
    )
    assert [one.warehouse_id for one in found] == order
