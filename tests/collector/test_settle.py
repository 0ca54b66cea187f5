import pytest

from collector.settle import settle, signed


@pytest.mark.parametrize(
    ("points", "known", "low_battery"),
    [
        ({"status_on_battery": True, "battery_charge": 20.0}, {"battery_charge_low": 20.0}, True),
        ({"status_on_battery": True, "battery_charge": 21.0}, {"battery_charge_low": 20.0}, False),
        (
            {"status_on_battery": True, "battery_runtime": 60.0},
            {"battery_runtime_low": 120.0},
            True,
        ),
        ({"status_on_battery": False, "battery_charge": 5.0}, {"battery_charge_low": 20.0}, False),
        ({"status_on_battery": True, "battery_charge": 5.0}, {}, None),
        ({"battery_charge": 5.0}, {"battery_charge_low": 20.0}, None),
        (
            {"status_on_battery": False, "status_low_battery": True, "battery_charge": 90.0},
            {"battery_charge_low": 20.0},
            True,
        ),
        (
            {"status_on_battery": True, "battery_charge": 9.0, "battery_charge_low": 10.0},
            {"battery_charge_low": 5.0},
            True,
        ),
    ],
)
def test_thresholds_tell_a_low_battery_on_battery_only(points, known, low_battery):
    settle(points, known)
    assert points.get("status_low_battery") is low_battery


def test_a_card_that_lost_its_unit_tells_nothing_else():
    points = {"alarm_comm_lost": True, "battery_charge": 100.0, "status_on_line": True}
    settle(points, {})
    assert points == {"alarm_comm_lost": True}


def test_battery_wins_over_mains():
    points = {"status_on_battery": True, "status_on_line": True}
    settle(points, {})
    assert points == {"status_on_battery": True, "status_on_line": False}


def test_bypass_without_a_source_is_on_mains():
    points = {"status_bypass": True, "status_on_line": False, "status_on_battery": False}
    settle(points, {})
    assert points["status_on_line"] is True


def test_bypass_on_battery_stays_on_battery():
    points = {"status_bypass": True, "status_on_battery": True}
    settle(points, {})
    assert "status_on_line" not in points


@pytest.mark.parametrize(
    ("charge", "on_battery", "kept"),
    [(100.0, False, False), (100.0, True, True), (5.0, False, True)],
)
def test_a_runtime_of_zero_on_a_full_battery_with_mains_is_unknown(charge, on_battery, kept):
    points = {"battery_runtime": 0.0, "battery_charge": charge, "status_on_battery": on_battery}
    settle(points, {})
    assert ("battery_runtime" in points) is kept


def test_a_failed_test_asks_for_a_battery():
    points = {"ups_test_result": "failed", "status_replace_battery": False}
    settle(points, {})
    assert points["status_replace_battery"] is True


def test_lines_add_up_to_the_unit():
    points = {f"ups_l{n}_load": 10.0 * n for n in (1, 2, 3)}
    points |= {f"output_l{n}_realpower": 100.0 * n for n in (1, 2, 3)}
    settle(points, {}, lines=3)
    assert points["ups_load"] == 30.0
    assert points["ups_realpower"] == 600.0


def test_a_sum_with_a_line_missing_is_unknown():
    points = {"output_l1_realpower": 100.0, "output_l2_realpower": 100.0}
    settle(points, {}, lines=3)
    assert "ups_realpower" not in points


@pytest.mark.parametrize(
    ("state", "current"),
    [
        ({"status_on_battery": True}, 4.5),
        ({"status_on_line": True}, -4.5),
        ({"status_on_line": True, "status_testing": True}, 4.5),
        ({}, None),
    ],
)
def test_a_current_of_open_sign_takes_it_from_the_state(state, current):
    assert signed(state, -4.5) == current
    assert signed(state, 0.0) == 0.0
