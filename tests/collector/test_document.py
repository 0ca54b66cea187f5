import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.convert import decode, encode
from collector.document import DocumentInvalid, flatten, nest
from collector.plan import plan_for
from collector.profile import profiles
from rules.facts import Identity
from rules.points import BY_COLUMN, TEST_RESULTS, Kind

PROFILE = profiles()["ridethrough-json"]


def decoded(points):
    return decode(plan_for(PROFILE), flatten({"at": "2026-11-22T08:00:00Z", "points": points}))


def test_points_come_by_their_names():
    found = decoded(
        {"battery.charge": 97.5, "status.on_battery": False, "ups.test.result": "passed"}
    )
    assert found.points == {
        "battery_charge": 97.5,
        "status_on_battery": False,
        "ups_test_result": "passed",
    }
    assert found.rejections == ()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("battery.charge", 101, "implausible"),
        ("battery.charge", True, "wrong_type"),
        ("battery.charge", "full", "wrong_type"),
        ("battery.charge", float("nan"), "not_finite"),
        ("battery.charge", 10**400, "not_finite"),
        ("battery.charge", "1e999", "not_finite"),
        ("status.on_battery", 1, "wrong_type"),
        ("status.on_battery", "true", "wrong_type"),
        ("ups.test.result", "splendid", "unknown_code"),
        ("ups.test.result", 3, "wrong_type"),
        ("weather.today", 3, "unknown_point"),
    ],
)
def test_a_wrong_value_is_refused_alone(name, value, reason):
    found = decoded({name: value, "ups.load": 40})
    assert [r.reason for r in found.rejections] == [reason]
    assert found.points == {"ups_load": 40.0}
    assert found.extra == ({"doubtful.battery_charge": 101.0} if reason == "implausible" else {}), (
        "what is out of range may be right in another unit"
    )


@pytest.mark.parametrize("value", [None, ""])
def test_null_and_empty_are_missing(value):
    assert decoded({"battery.charge": value}).points == {}
    assert decoded({"battery.charge": value}).rejections == ()


def test_a_numeric_text_is_a_number():
    assert decoded({"battery.charge": "97.5"}).points == {"battery_charge": 97.5}


def test_what_has_no_column_is_kept_apart():
    found = decoded({"outlet.3.current": 1.5, "alarm.smoke": True})
    assert found.extra == {"outlet.3.current": 1.5, "alarm.smoke": True}
    assert found.points == {}


def test_extras_are_bounded():
    found = decoded({f"outlet.{n}.current": 1.0 for n in range(500)})
    assert len(found.extra) == 60
    assert len(found.rejections) == 440


@pytest.mark.parametrize("document", [[], "text", 3, None])
def test_only_an_object_is_a_document(document):
    with pytest.raises(DocumentInvalid):
        flatten(document)


def test_a_document_too_deep_is_refused():
    document = {}
    for _ in range(50):
        document = {"a": document}
    document = json.loads(json.dumps(document).replace("{}", '{"b": 1}'))
    with pytest.raises(DocumentInvalid):
        flatten(document)


def _value(point):
    match point.kind:
        case Kind.FLAG:
            return st.booleans()
        case Kind.NUMBER:
            return st.floats(point.low, point.high)
    if point.name == "ups.test.result":
        return st.sampled_from(TEST_RESULTS)
    return st.sampled_from(["charging", "resting"])


@given(st.fixed_dictionaries({}, optional={key: _value(point) for key, point in BY_COLUMN.items()}))
def test_every_point_survives_the_convention(points):
    held = encode(PROFILE, points, Identity("Maker", "Model"))
    document = json.loads(json.dumps(nest(held)))
    assert document["manufacturer"] == "Maker"
    found = decode(plan_for(PROFILE), flatten(document))
    assert found.points == points
    assert found.rejections == ()
