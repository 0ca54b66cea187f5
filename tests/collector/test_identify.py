import pytest

from collector.identify import DESCRIPTION, OBJECT_ID, choose_modbus, choose_snmp, under
from collector.profile import profiles
from collector.raw import Registers
from collector.values import text_words

KNOWN = list(profiles().values())
PROBE = {"1.3.6.1.2.1.33.1.1.1.0": b"Somebody"}


@pytest.mark.parametrize(
    ("object_id", "profile"),
    [
        ("1.3.6.1.4.1.318.1.3.27", "apc-powernet"),
        ("1.3.6.1.4.1.318.1.3.2.7", "apc-powernet"),
        (".1.3.6.1.4.1.318.1.3.5.4", "apc-powernet"),
        (b".1.3.6.1.4.1.318.1.3.13", "apc-powernet"),
        ("1.3.6.1.4.1.534.1", "eaton-xups"),
        ("1.3.6.1.4.1.534.2.12", "eaton-xups"),
        ("1.3.6.1.4.1.2254.2.4", "delta"),
        ("1.3.6.1.4.1.2254.2.5", "delta-mini"),
        ("1.3.6.1.4.1.705.1.2", "eaton-mge"),
        ("1.3.6.1.4.1.3808", "cyberpower"),
        ("1.3.6.1.4.1.3808.1.1.1", "cyberpower"),
        ("1.3.6.1.4.1.4555.1.1.7", "socomec"),
        ("1.3.6.1.4.1.935", "netagent"),
        ("1.3.6.1.4.1.935.10.1", "powerwalker"),
        ("1.3.6.1.4.1.850.1.1.1", "tripplite"),
        ("1.3.6.1.4.1.5491.304", "riello"),
        ("1.3.6.1.4.1.2011.6.174.1", "huawei"),
        ("1.3.6.1.4.1.476.1.42", "liebert"),
        ("1.3.6.1.4.1.674.10902.2", "dell"),
        ("1.3.6.1.2.1.33", "rfc1628"),
    ],
)
def test_a_family_is_told_by_its_identifier(object_id, profile):
    found = choose_snmp(KNOWN, {OBJECT_ID: object_id, DESCRIPTION: b"Some card"})
    assert found.profile_name == profile
    assert "lies under" in found.evidence[0]


@pytest.mark.parametrize(
    "object_id",
    [
        "1.3.6.1.4.1.318.1.3.4.5",  # a power strip
        "1.3.6.1.4.1.318.1.3.11",  # a transfer switch
        "1.3.6.1.4.1.318.1.30",
        "1.3.6.1.4.1.5340.1",
        "1.3.6.1.4.1.9.1",
        b"nonsense",
        None,
    ],
)
def test_other_gear_is_no_unit_unless_it_speaks_the_standard(object_id):
    assert choose_snmp(KNOWN, {OBJECT_ID: object_id}) is None
    found = choose_snmp(KNOWN, {OBJECT_ID: object_id, **PROBE})
    assert found.profile_name == "rfc1628"
    assert found.evidence[1] == "1.3.6.1.2.1.33.1.1.1.0 answers"


def test_a_maker_stands_before_the_standard():
    found = choose_snmp(KNOWN, {OBJECT_ID: "1.3.6.1.4.1.318.1.3.27", **PROBE})
    assert found.profile_name == "apc-powernet"


def test_an_empty_answer_is_no_answer():
    assert choose_snmp(KNOWN, {"1.3.6.1.2.1.33.1.1.1.0": b""}) is None


@pytest.mark.parametrize(
    ("oid", "prefix", "is_under"),
    [
        ("1.3.6.1.4.1.318", "1.3.6.1.4.1.318", True),
        ("1.3.6.1.4.1.318.1", "1.3.6.1.4.1.318", True),
        ("1.3.6.1.4.1.3180", "1.3.6.1.4.1.318", False),
        ("1.3.6.1.4.1", "1.3.6.1.4.1.318", False),
    ],
)
def test_prefixes_end_at_arcs(oid, prefix, is_under):
    assert under(oid, prefix) is is_under


@pytest.mark.parametrize("model", ["Smart-UPS 1500", "SMT1500RMI2UC", " SRT 3000"])
def test_a_smart_ups_is_told_by_its_model_registers(model):
    found = choose_modbus(KNOWN, {Registers(3, 532, 16): text_words(model, 16)})
    assert found.profile_name == "apc-modbus"


@pytest.mark.parametrize("model", ["", "Power meter"])
def test_other_registers_are_no_smart_ups(model):
    assert choose_modbus(KNOWN, {Registers(3, 532, 16): text_words(model, 16)}) is None
