"""Checks of values against physics and each other: what they doubt, what they propose, what not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.plausibility import COLUMNS, Table, check, out_of_range, suspicions
from rules.points import BY_COLUMN, Kind

LIVE = {
    "status_on_line": True,
    "status_on_battery": False,
    "status_off": False,
    "status_overload": False,
    "status_low_battery": False,
    "status_replace_battery": False,
    "alarm_over_temperature": False,
}
GOOD = LIVE | {
    "battery_charge": 100.0,
    "battery_runtime": 1_500.0,
    "battery_voltage": 82.0,
    "battery_voltage_nominal": 72.0,
    "battery_capacity": 9.0,
    "battery_temperature": 27.0,
    "ups_temperature": 33.0,
    "ambient_temperature": 23.0,
    "input_voltage": 231.0,
    "input_voltage_nominal": 230.0,
    "input_frequency": 50.0,
    "input_current": 5.7,
    "input_realpower": 1_300.0,
    "output_voltage": 230.0,
    "output_voltage_nominal": 230.0,
    "output_frequency": 50.0,
    "output_current": 5.8,
    "ups_load": 44.0,
    "ups_power": 1_334.0,
    "ups_realpower": 1_200.0,
    "ups_power_nominal": 3_000.0,
    "ups_realpower_nominal": 2_700.0,
}
ON_BATTERY = GOOD | {
    "status_on_line": False,
    "status_on_battery": True,
    "status_discharging": True,
    "input_voltage": 0.0,
    "input_frequency": 0.0,
    "input_current": 0.0,
    "input_realpower": 0.0,
    "battery_voltage": 66.0,
    "battery_charge": 30.0,
    "battery_runtime": 240.0,
    "battery_current": 19.0,
}
THREE = LIVE | {
    "input_l1_n_voltage": 229.0,
    "input_l2_n_voltage": 231.0,
    "input_l3_n_voltage": 230.0,
    "output_l1_n_voltage": 230.0,
    "output_l2_n_voltage": 230.0,
    "output_l3_n_voltage": 230.0,
    "output_l1_current": 2.0,
    "output_l2_current": 22.0,
    "output_l3_current": 9.0,
    "ups_l1_load": 7.0,
    "ups_l2_load": 76.0,
    "ups_l3_load": 31.0,
    "ups_load": 76.0,
    "ups_power": 7_590.0,
    "ups_realpower": 6_700.0,
    "ups_power_nominal": 20_000.0,
    "output_voltage_nominal": 230.0,
    "battery_voltage": 545.0,
    "battery_voltage_nominal": 480.0,
    "battery_charge": 100.0,
    "battery_runtime": 2_400.0,
}
DEFAULT = {"factor": 1.0, "addend": 0.0}


def without(row, *columns):
    return {column: value for column, value in row.items() if column not in columns}


@pytest.mark.parametrize(
    ("row", "column", "rule", "proposal"),
    [
        # A battery of 36 cells, in a tenth, in ten times, a cell's voltage, a block's.
        (GOOD | {"battery_voltage": 8.2}, "battery_voltage", "battery_scale", ("convert", 10)),
        (GOOD | {"battery_voltage": 820.0}, "battery_voltage", "battery_scale", ("convert", 0.1)),
        (GOOD | {"battery_voltage": 2.3}, "battery_voltage", "cell_voltage", ("convert", 36)),
        (GOOD | {"battery_voltage": 13.6}, "battery_voltage", "block_voltage", ("convert", 6)),
        (GOOD | {"battery_voltage": 39.0}, "battery_voltage", "battery_range", ("none", 1)),
        (GOOD | {"battery_voltage": 0.0}, "battery_voltage", "zero_while_live", ("ignore", 1)),
        (
            without(GOOD, "battery_voltage_nominal") | {"battery_voltage": 2.3},
            "battery_voltage",
            "cell_voltage",
            ("none", 1),
        ),
        (
            GOOD | {"battery_voltage_nominal": 12.0},
            "battery_voltage_nominal",
            "nominal_of_a_block",
            ("convert", 6),
        ),
        # Mains in tenths too small.
        (GOOD | {"input_voltage": 23.1}, "input_voltage", "voltage_scale", ("convert", 10)),
        (
            without(GOOD, "input_voltage_nominal", "output_voltage_nominal")
            | {"output_voltage": 23.0},
            "output_voltage",
            "voltage_scale",
            ("convert", 10),
        ),
        (
            GOOD | {"input_voltage_nominal": 100.0, "input_voltage": 998.0},
            "input_voltage",
            "voltage_scale",
            ("convert", 0.1),
        ),
        (GOOD | {"input_frequency": 5.0}, "input_frequency", "frequency_range", ("convert", 10)),
        (GOOD | {"input_frequency": 0.0}, "input_frequency", "zero_while_live", ("ignore", 1)),
        (GOOD | {"output_frequency": 74.0}, "output_frequency", "frequency_range", ("none", 1)),
        # Power, current and load, each beside what gives it away.
        (GOOD | {"output_current": 58.0}, "output_current", "volt_ampere", ("convert", 0.1)),
        (GOOD | {"output_current": 0.58}, "output_current", "volt_ampere", ("convert", 10)),
        (GOOD | {"ups_power": 133.0}, "ups_power", "volt_ampere", ("convert", 10)),
        (
            without(GOOD, "ups_power") | {"output_current": 58.0},
            "output_current",
            "volt_ampere",
            ("convert", 0.1),
        ),
        (
            without(GOOD, "ups_power", "ups_load") | {"output_current": 0.58},
            "output_current",
            "volt_ampere",
            ("convert", 10),
        ),
        (GOOD | {"ups_realpower": 12_000.0}, "ups_realpower", "watts_above_va", ("convert", 0.1)),
        (
            without(GOOD, "output_current") | {"ups_power": 134.0},
            "ups_power",
            "watts_above_va",
            ("convert", 10),
        ),
        (GOOD | {"ups_realpower": 2_000.0}, "ups_realpower", "watts_above_va", ("none", 1)),
        (GOOD | {"ups_load": 4.4}, "ups_load", "load_scale", ("convert", 10)),
        (
            without(GOOD, "ups_power", "output_current") | {"ups_realpower": 1.2},
            "ups_realpower",
            "power_in_kilo",
            ("convert", 1_000),
        ),
        (
            GOOD | {"ups_power_nominal": 3.0, "ups_realpower_nominal": 2.7},
            "ups_power_nominal",
            "rating_in_kilo",
            ("convert", 1_000),
        ),
        (GOOD | {"ups_load": 160.0}, "ups_load", "load_without_overload", ("convert", 0.1)),
        (GOOD | {"input_realpower": 130.0}, "input_realpower", "more_out_than_in", ("convert", 10)),
        (GOOD | {"input_realpower": 0.0}, "input_realpower", "zero_while_live", ("ignore", 1)),
        (GOOD | {"input_current": 0.0}, "input_current", "zero_while_live", ("ignore", 1)),
        # Runtime in other units of time.
        (GOOD | {"battery_runtime": 90_000.0}, "battery_runtime", "runtime_too_long",
         ("convert", 1 / 60)),
        (GOOD | {"battery_runtime": 25.0}, "battery_runtime", "runtime_too_short", ("convert", 60)),
        (
            without(GOOD, "battery_capacity") | {"battery_runtime": 540_600.0},
            "battery_runtime",
            "runtime_too_long",
            ("convert", 0.01),
        ),
        (GOOD | {"battery_runtime": 0.0}, "battery_runtime", "zero_while_live", ("ignore", 1)),
        # Degrees Fahrenheit and placeholders.
        (
            GOOD | {"ambient_temperature": 77.0},
            "ambient_temperature",
            "fahrenheit",
            ("convert", 5 / 9),
        ),
        (
            GOOD | {"battery_temperature": 80.0},
            "battery_temperature",
            "fahrenheit",
            ("convert", 5 / 9),
        ),
        (GOOD | {"ups_temperature": 92.0}, "ups_temperature", "fahrenheit", ("convert", 5 / 9)),
        (GOOD | {"battery_temperature": 0.0}, "battery_temperature", "placeholder", ("ignore", 1)),
        (GOOD | {"battery_temperature": -1.0}, "battery_temperature", "placeholder", ("ignore", 1)),
        (GOOD | {"battery_temperature": 2.7}, "battery_temperature", "tenths", ("convert", 10)),
        (GOOD | {"battery_runtime": 65_535.0}, "battery_runtime", "placeholder", ("ignore", 1)),
        (GOOD | {"ups_load": 255.0}, "ups_load", "placeholder", ("ignore", 1)),
        (GOOD | {"input_realpower": -1.0}, "input_realpower", "placeholder", ("ignore", 1)),
        # Three phases that are one.
        (
            THREE | {"output_l2_n_voltage": 0.0, "output_l3_n_voltage": 0.0},
            "output_l2_n_voltage",
            "phases_dead",
            ("ignore", 1),
        ),
        (
            THREE
            | {f"output_l{n}_current": 22.0 for n in (1, 2, 3)}
            | {f"ups_l{n}_load": 25.0 for n in (1, 2, 3)}
            | {"ups_power": 5_060.0, "ups_realpower": 4_600.0},
            "output_l2_n_voltage",
            "phases_copied",
            ("ignore", 1),
        ),
        # Flags that exclude each other.
        (
            GOOD | {"status_on_battery": True},
            "status_on_line",
            "on_line_and_on_battery",
            ("none", 1),
        ),
        (
            GOOD | {"status_charging": True, "status_discharging": True},
            "status_charging",
            "charging_and_discharging",
            ("none", 1),
        ),
        (GOOD | {"status_off": True}, "status_off", "off_but_feeding", ("none", 1)),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_doubted_with_what_would_cure_it(row, column, rule, proposal):
    found = {suspicion.column: suspicion for suspicion in suspicions(row)}
    assert column in found
    assert found[column].rule == rule
    action, factor = proposal
    assert found[column].proposal.action == action
    assert found[column].proposal.factor == pytest.approx(factor)
    assert column in found[column].numbers
    assert found[column].value == float(row[column])


@pytest.mark.parametrize(
    ("row", "column", "becomes"),
    [
        (GOOD | {"battery_voltage": 8.2}, "battery_voltage", 82.0),
        (GOOD | {"output_current": 58.0}, "output_current", 5.8),
        (GOOD | {"ambient_temperature": 77.0}, "ambient_temperature", 25.0),
        (GOOD | {"battery_runtime": 90_000.0}, "battery_runtime", 1_500.0),
    ],
)
def test_the_proposed_correction_makes_the_value_plausible(row, column, becomes):
    (suspicion,) = suspicions(row)
    cure = suspicion.proposal
    corrected = row[column] * cure.factor + cure.addend
    assert corrected == pytest.approx(becomes)
    assert suspicions(row | {column: corrected}) == []


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(GOOD, id="on mains"),
        pytest.param(ON_BATTERY, id="on battery"),
        pytest.param(ON_BATTERY | {"battery_voltage": 57.0, "battery_charge": 3.0,
                                   "battery_runtime": 0.0, "status_low_battery": True},
                     id="nearly empty"),
        pytest.param(THREE, id="unbalanced phases"),
        pytest.param(
            THREE | {"output_l1_current": 0.0, "output_l2_current": 1.0, "output_l3_current": 0.0,
                     "ups_l1_load": 0.0, "ups_l2_load": 1.0, "ups_l3_load": 0.0, "ups_load": 1.0,
                     "ups_power": 170.0, "ups_realpower": 90.0},
            id="nearly no load"),
        pytest.param(
            GOOD | {"ups_load": 0.0, "ups_power": 0.0, "ups_realpower": 0.0,
                    "output_current": 0.0, "input_current": 0.1, "input_realpower": 60.0,
                    "battery_runtime": 109_762.0},
            id="no load"),
        pytest.param(
            GOOD | {"status_on_line": False, "status_off": True, "output_voltage": 0.0,
                    "output_frequency": 0.0, "output_current": 0.0, "ups_load": 0.0,
                    "ups_power": 0.0, "ups_realpower": 0.0, "battery_runtime": 0.0},
            id="off"),
        pytest.param(GOOD | {"status_eco": True, "input_realpower": 1_212.0}, id="economy mode"),
        pytest.param(GOOD | {"status_bypass": True, "input_realpower": 1_205.0}, id="bypass"),
        pytest.param(
            GOOD | {"status_overload": True, "ups_load": 140.0, "ups_power": 4_200.0,
                    "ups_realpower": 3_800.0, "output_current": 18.3, "input_realpower": 4_100.0,
                    "battery_runtime": 300.0},
            id="overload"),
        pytest.param(
            GOOD | {"battery_voltage": 0.0, "battery_charge": 0.0, "battery_runtime": 0.0,
                    "alarm_battery_disconnected": True},
            id="battery disconnected"),
        pytest.param(
            GOOD | {"battery_runtime": 70.0, "status_replace_battery": True}, id="worn battery"),
        pytest.param(
            GOOD | {"ambient_temperature": 60.0, "ups_temperature": 80.0,
                    "battery_temperature": 58.0, "alarm_over_temperature": True},
            id="fire in the room"),
        pytest.param(
            GOOD | {"battery_temperature": 66.0, "alarm_battery_temperature": True},
            id="battery runs away"),
        pytest.param(GOOD | {"ambient_temperature": 1.0, "battery_temperature": 4.0,
                             "ups_temperature": 14.0}, id="cold hall"),
        pytest.param(
            GOOD | {"input_realpower": 600.0, "battery_current": 8.0}, id="battery helps mains"),
        pytest.param(
            THREE | {"input_l2_n_voltage": 0.0, "input_l3_n_voltage": 0.0,
                     "alarm_input_bad": True}, id="two phases of mains lost"),
        pytest.param({"input_voltage": 24.0, "input_frequency": 0.0, "output_voltage": 24.1}
                     | LIVE, id="a unit for direct current"),
        pytest.param({"battery_charge": 100.0}, id="hardly anything said"),
        pytest.param({}, id="nothing said"),
    ],
)  # fmt: skip
def test_a_unit_that_is_as_it_says_is_not_doubted(row):
    assert suspicions(row) == []


def test_a_nominal_value_said_earlier_counts():
    row = without(GOOD, "battery_voltage_nominal") | {"battery_voltage": 8.2}
    assert suspicions(row) == []
    (found,) = suspicions(row, {"battery_voltage_nominal": 72.0})
    assert found.numbers["battery_voltage_nominal"] == 72.0


def test_where_a_check_cannot_tell_it_says_so():
    """A current on an idle unit is neither odd nor sound: three watts do not prove a scale."""
    rows = [GOOD, GOOD | {"output_current": 0.1, "ups_power": 20.0, "ups_realpower": 12.0,
                          "ups_load": 1.0}]  # fmt: skip
    (outcome,) = [one for one in check(Table(rows)) if one.kind == "volt_ampere"]
    assert outcome.tells.tolist() == [True, False]
    assert outcome.odd.tolist() == [False, False]


@pytest.mark.parametrize(
    ("column", "value", "nominal", "action", "factor"),
    [
        ("input_voltage", 2_302.0, None, "convert", 0.1),
        ("battery_voltage", 27_100.0, 240.0, "convert", 0.01),
        ("input_frequency", 500.0, None, "convert", 0.1),
        ("input_frequency", 4_998.0, None, "convert", 0.01),
        ("battery_charge", 1_000.0, None, "convert", 0.1),
        ("ups_load", 420.0, None, "convert", 0.1),
        ("ambient_temperature", 245.0, None, "convert", 0.1),
        ("battery_charge", 255.0, None, "ignore", 1),
        ("battery_temperature", 6_553.5, None, "ignore", 1),
        ("battery_runtime", -60.0, None, "ignore", 1),
        ("battery_runtime", 65_535 * 60.0, None, "ignore", 1),
        ("battery_temperature", -273.1, None, "none", 1),
    ],
)
def test_a_value_beyond_all_range_tells_what_it_probably_means(
    column, value, nominal, action, factor
):
    found = out_of_range(column, value, nominal)
    assert (found.proposal.action, found.proposal.factor) == (action, factor)
    assert found.numbers[column] == value


NUMBERS = [column for column in COLUMNS if BY_COLUMN[column].kind is Kind.NUMBER]
FLAGS = [column for column in COLUMNS if BY_COLUMN[column].kind is Kind.FLAG]
ROWS = st.builds(
    lambda numbers, flags: numbers | flags,
    st.dictionaries(
        st.sampled_from(NUMBERS),
        st.one_of(
            st.floats(-1e9, 1e9),
            st.sampled_from([0.0, -1.0, 255.0, 65_535.0, 230.0, 50.0, 2.3, 100.0]),
        ),
    ),
    st.dictionaries(st.sampled_from(FLAGS), st.booleans()),
)


@settings(max_examples=200)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_whatever_a_card_says_the_checks_answer_and_explain_themselves(rows):
    """Each reading is judged alone: its neighbors in a batch change nothing."""
    outcomes = {one.kind: one for one in check(Table(rows))}
    for place, row in enumerate(rows):
        alone = {one.kind: one for one in check(Table([row]))}
        odd = {kind for kind, one in outcomes.items() if one.odd[place]}
        assert odd == {kind for kind, one in alone.items() if one.odd[0]}
        for suspicion in suspicions(row):
            assert set(suspicion.columns) <= row.keys()
            assert suspicion.rule
            assert all(value == value for value in suspicion.evidence()["numbers"].values())
            assert suspicion.proposal.action in {"convert", "ignore", "none"}
