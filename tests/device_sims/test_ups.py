import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sims.spec import BatterySpec, Chemistry, LoadSpec, RoomSpec, Topology, UpsSpec
from device_sims.ups import Fault, SimulatedUps
from rules.points import BY_COLUMN, CHARGER_STATES, TEST_RESULTS, Kind

START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
NEW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(battery=None, **changes):
    cells = BatterySpec(**{"capacity_ah": 9.0, "cells": 36, "installed_at": NEW, **(battery or {})})
    return UpsSpec(
        **{
            "manufacturer": "Example Power",
            "model": "Tower 3000",
            "serial": "S1",
            "firmware": "1.0",
            "battery": cells,
            "installed_at": NEW,
            "load": LoadSpec(base=0.5, working_hump=0.0),
            **changes,
        }
    )


THREE_PHASE = {
    "phases": 3,
    "rated_va": 60_000.0,
    "rated_watts": 54_000.0,
    "battery": {"capacity_ah": 100.0, "cells": 240},
}


def unit(seed=1, **changes):
    return SimulatedUps(spec(**changes), seed, start=START)


@pytest.mark.parametrize("changes", [{}, THREE_PHASE, {"topology": Topology.LINE_INTERACTIVE}])
@pytest.mark.parametrize("mains", [True, False])
def test_every_point_has_a_column_the_right_kind_and_a_plausible_value(changes, mains):
    device = unit(**changes)
    if not mains:
        device.fail_mains()
    device.advance(30)
    points = device.points()
    assert len(points) > 60
    for column, value in points.items():
        point = BY_COLUMN[column]
        wanted = {Kind.NUMBER: float, Kind.FLAG: bool, Kind.TEXT: str}[point.kind]
        assert type(value) is wanted, column
        if point.low is not None:
            assert point.low <= value <= point.high, column
    assert points["battery_charger_status"] in CHARGER_STATES
    assert points["ups_test_result"] in TEST_RESULTS


def test_equal_seeds_and_inputs_give_equal_units_and_other_seeds_others():
    def reports(seed):
        device = unit(seed)
        found = []
        for minute in range(40):
            if minute == 10:
                device.fail_mains()
            if minute == 12:
                device.return_mains()
            device.advance(60)
            found.append(device.points())
        return found

    assert reports(5) == reports(5)
    assert reports(5) != reports(6)


@given(st.lists(st.floats(0.5, 4_000.0), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_how_often_a_unit_is_asked_hardly_changes_what_it_says(steps):
    asked, left_alone = unit(), unit()
    for step in steps:
        asked.advance(step)
    left_alone.advance(sum(steps))
    one, other = asked.points(), left_alone.points()
    assert one["ups_load"] == other["ups_load"]
    assert one["input_voltage"] == other["input_voltage"]
    assert one["battery_temperature"] == pytest.approx(other["battery_temperature"], abs=0.6)


def test_asking_for_a_time_that_has_passed_changes_nothing():
    device = unit()
    device.at(START + timedelta(hours=1))
    before = device.points()
    assert device.at(START).points() == before
    assert device.now == START + timedelta(hours=1)


@pytest.mark.parametrize("changes", [{}, THREE_PHASE])
def test_on_mains_input_is_output_plus_losses_plus_charging(changes):
    device = unit(**changes)
    device.advance(3_600)
    points = device.points()
    assert points["battery_charge"] == 100.0
    output = points["ups_realpower"]
    assert points["input_realpower"] == pytest.approx(
        output / points["ups_efficiency"] * 100.0, rel=0.002
    )
    device.fail_mains()
    device.advance(120)
    device.return_mains()
    device.advance(1)
    assert device.input_watts == pytest.approx(
        device.output_watts + device.loss_watts + device.charger_watts
    )
    assert device.charger_watts > 0.02 * device.output_watts


def test_on_battery_the_battery_delivers_load_and_losses():
    device = unit()
    device.fail_mains()
    device.advance(10)
    points = device.points()
    assert points["battery_voltage"] * points["battery_current"] == pytest.approx(
        device.output_watts + device.loss_watts, rel=0.01
    )
    assert points["input_voltage"] == 0.0
    assert points["input_realpower"] == 0.0
    assert points["status_on_battery"] is True
    assert points["status_on_line"] is False
    assert points["battery_runtime_elapsed"] == 10.0


def test_voltage_times_current_times_power_factor_is_the_power_of_each_phase():
    device = unit(**THREE_PHASE)
    points = device.points()
    total = 0.0
    for line in (1, 2, 3):
        watts = points[f"output_l{line}_realpower"]
        assert points[f"output_l{line}_n_voltage"] * points[f"output_l{line}_current"] * 0.9 == (
            pytest.approx(watts, rel=0.01)
        )
        total += watts
    assert total == pytest.approx(points["ups_realpower"], abs=3)
    assert points["output_l1_l2_voltage"] == pytest.approx(3**0.5 * 220.0, rel=0.01)
    assert "output_voltage" not in points


def test_an_outage_runs_low_then_off_and_the_return_of_mains_starts_the_unit_again():
    device = unit()
    device.fail_mains()
    low_at = off_at = None
    for second in range(1, 3_600):
        device.advance(1)
        if low_at is None and device.is_low:
            low_at = second
        if device.is_off:
            off_at = second
            break
    assert low_at is not None
    assert off_at is not None
    assert 60 < off_at - low_at < 240
    points = device.points()
    assert points["status_off"] is True
    assert points["output_voltage"] == 0.0
    assert points["ups_realpower"] == 0.0
    device.return_mains()
    device.advance(1)
    points = device.points()
    assert points["status_on_line"] is True
    assert points["status_charging"] is True
    assert points["output_voltage"] == pytest.approx(220.0, rel=0.02)


def test_half_the_load_lasts_longer_than_twice_as_long():
    def runtime(base):
        device = unit(load=LoadSpec(base=base, working_hump=0.0, noise=0.0))
        device.fail_mains()
        seconds = 0
        while not device.is_off:
            device.advance(1)
            seconds += 1
        return seconds

    # Peukert 1.18, a little more for the deeper voltage sag, less for the fixed losses.
    assert 2.0 < runtime(0.35) / runtime(0.70) < 2.5


def test_a_deep_discharge_is_recharged_within_the_nominal_hours():
    device = unit(battery={"recharge_hours": 10.0})
    device.fail_mains()
    while device.battery.charge > 0.2:
        device.advance(5)
    device.return_mains()
    device.advance(4 * 3_600)
    assert 0.6 < device.battery.charge < 0.9
    device.advance(8 * 3_600)
    assert device.battery.charge > 0.99


def test_ten_degrees_of_room_double_the_age_of_the_battery():
    installed = START - timedelta(days=730)
    ages = [
        unit(
            battery={"installed_at": installed},
            room=RoomSpec(mean_celsius=mean, season_celsius=0.0, day_celsius=0.0),
        ).battery.age_years
        for mean in (20.0, 30.0)
    ]
    assert ages[1] / ages[0] == pytest.approx(2.0, rel=0.01)
    # The battery stands about 3 °C above its room: two years at 23 °C are 1.74.
    assert ages[0] == pytest.approx(1.74, rel=0.03)


def test_a_self_test_runs_ten_seconds_on_battery_and_passes_on_a_good_one():
    device = unit(self_test_days=0.0)
    assert device.points()["ups_test_result"] == "none"
    device.start_self_test()
    device.advance(5)
    points = device.points()
    assert points["status_testing"] is True
    assert points["status_on_battery"] is True
    assert points["status_low_battery"] is False
    assert points["ups_test_result"] == "in_progress"
    device.advance(6)
    points = device.points()
    assert points["ups_test_result"] == "passed"
    assert points["status_testing"] is False
    assert points["status_on_line"] is True
    assert points["input_transfer_reason"] == "self-test"


def test_a_worn_battery_fails_its_test_and_is_to_be_replaced_until_a_new_one_passes():
    device = unit(battery={"installed_at": START - timedelta(days=365 * 6)}, self_test_days=0.0)
    assert device.battery.index < 0.6
    device.start_self_test()
    device.advance(11)
    points = device.points()
    assert points["ups_test_result"] == "failed"
    assert points["alarm_battery_test_failed"] is True
    assert points["status_replace_battery"] is True
    device.replace_battery(START + timedelta(hours=1))
    assert device.points()["status_replace_battery"] is True
    device.start_self_test()
    device.advance(11)
    assert device.points()["status_replace_battery"] is False


def test_a_self_test_below_75_percent_charge_is_called_off():
    device = unit()
    device.battery.charge = 0.74
    device.start_self_test()
    device.advance(1)
    points = device.points()
    assert points["ups_test_result"] == "aborted"
    assert points["status_on_battery"] is False


def test_an_outage_aborts_a_running_self_test():
    device = unit()
    device.start_self_test()
    device.advance(2)
    device.fail_mains()
    device.advance(30)
    assert device.points()["ups_test_result"] == "aborted"
    assert device.points()["status_on_battery"] is True


def test_periodic_self_tests_come_once_in_their_interval():
    device = unit(self_test_days=2.0)
    tested = 0
    was_testing = False
    for _ in range(4 * 24 * 720):
        device.advance(5)
        if device.is_testing and not was_testing:
            tested += 1
        was_testing = device.is_testing
    assert tested == 2


@pytest.mark.parametrize(
    ("fault", "column", "within_seconds"),
    [
        (Fault.OVERLOAD, "status_overload", 1),
        (Fault.OVER_TEMPERATURE, "alarm_over_temperature", 180),
        (Fault.FAN_FAULT, "alarm_fan_fault", 1),
        (Fault.CHARGER_FAULT, "alarm_charger_fault", 1),
        (Fault.BYPASS, "status_bypass", 1),
        (Fault.REPLACE_BATTERY, "status_replace_battery", 1),
    ],
)
def test_a_fault_shows_and_goes_when_it_ends(fault, column, within_seconds):
    device = unit()
    device.advance(60)
    assert device.points()[column] is False
    device.begin(fault)
    device.advance(within_seconds)
    assert device.points()[column] is True
    device.end(fault)
    device.advance(3 * 3_600)
    assert device.points()[column] is False


def test_a_unit_on_bypass_drops_its_load_when_mains_fails():
    device = unit()
    device.begin(Fault.BYPASS)
    device.fail_mains()
    device.advance(1)
    points = device.points()
    assert points["status_off"] is True
    assert points["status_on_battery"] is False
    assert points["output_voltage"] == 0.0


def test_a_charger_fault_stops_the_recharge():
    device = unit()
    device.fail_mains()
    device.advance(120)
    device.return_mains()
    device.begin(Fault.CHARGER_FAULT)
    left = device.battery.charge
    device.advance(4 * 3_600)
    assert device.battery.charge <= left
    assert device.points()["battery_charger_status"] == "fault"


def test_a_line_interactive_unit_boosts_low_mains_and_trims_high():
    device = unit(topology=Topology.LINE_INTERACTIVE)
    device.mains_factor = 0.87
    low = device.points()
    device.mains_factor = 1.13
    high = device.points()
    assert low["status_boost"] is True
    assert low["output_voltage"] == pytest.approx(low["input_voltage"] * 1.12, rel=0.01)
    assert high["status_trim"] is True
    assert high["output_voltage"] == pytest.approx(high["input_voltage"] * 0.88, rel=0.01)


def test_a_three_stage_charger_leaves_a_full_battery_alone_after_two_days():
    device = unit(battery={"rest_days": 28.0}, self_test_days=0.0)
    device.advance(3_600)
    floating = device.points()
    device.advance(3 * 86_400)
    resting = device.points()
    assert floating["battery_charger_status"] == "floating"
    assert resting["battery_charger_status"] == "resting"
    assert resting["battery_voltage"] < floating["battery_voltage"] - 2.0


def test_units_of_one_site_share_its_mains_and_its_air():
    one, other = unit(1, has_room_probe=True).points(), unit(2, has_room_probe=True).points()
    assert one["input_voltage"] == other["input_voltage"]
    assert one["ambient_temperature"] == other["ambient_temperature"]
    assert one["ups_load"] != other["ups_load"]


def test_lithium_keeps_its_voltage_where_lead_sags():
    def sag(**battery):
        device = unit(battery=battery)
        device.fail_mains()
        device.advance(5)
        full = device.battery.rest_volts
        device.battery.charge = 0.3
        return 1.0 - device.battery.rest_volts / full

    lithium = sag(chemistry=Chemistry.LI_ION, cells=24)
    assert lithium < sag() / 1.2


def test_identity_tells_who_the_unit_is_and_when_its_battery_came():
    identity = unit().identity()
    assert (identity.manufacturer, identity.model) == ("Example Power", "Tower 3000")
    assert (identity.serial, identity.firmware) == ("S1", "1.0")
    assert identity.details["battery.date"] == "2026-01-01"


def test_a_unit_has_one_or_three_phases():
    with pytest.raises(ValueError, match="1 or 3 phases"):
        dataclasses.replace(spec(), phases=2)
