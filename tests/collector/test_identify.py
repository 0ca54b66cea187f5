import pytest

from collector.identify_modbus import choose_modbus
from collector.identify_snmp import (
    DESCRIPTION,
    OBJECT_ID,
    choose_snmp,
    further_questions,
    under,
)
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
        ("1.3.6.1.4.1.534.2.12", "eaton-pxg"),
        ("1.3.6.1.4.1.2254.2.4", "delta"),
        ("1.3.6.1.4.1.705.1.2", "eaton-mge"),
        ("1.3.6.1.4.1.232.165.3", "hpe-ups"),
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
    own = dict.fromkeys(profiles()[profile].identify.probe, 1)
    found = choose_snmp(KNOWN, {OBJECT_ID: object_id, DESCRIPTION: b"Some card", **own})
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


XUPS = {"1.3.6.1.4.1.534.1.4.5.0": 3, "1.3.6.1.4.1.534.1.1.2.0": b"9PX"}
APC = {"1.3.6.1.4.1.318.1.1.1.4.1.1.0": 2}


@pytest.mark.parametrize(
    ("object_id", "answers", "profile"),
    [
        ("1.3.6.1.4.1.8072.3.2.10", APC, "apc-powernet"),  # apcupsd behind Net-SNMP
        ("1.3.6.1.4.1.8072.3.2.10", XUPS | PROBE, "eaton-xups"),
        ("1.3.6.1.4.1.8072.3.2.10", PROBE, "rfc1628"),
        ("1.3.6.1.4.1.318", APC, "apc-powernet"),
        ("1.3.6.1.4.1.318.1.3.4.5", APC, "apc-powernet"),  # says a power strip, but is none
        ("1.3.6.1.4.1.232.165.3", XUPS | PROBE, "eaton-xups"),  # HPE module with Eaton's MIB
        ("1.3.6.1.4.1.705.1", XUPS, "eaton-xups"),
        ("1.3.6.1.4.1.232.165.3", PROBE, "hpe-ups"),  # speaks the standard alone
        (None, XUPS, "eaton-xups"),
    ],
)
def test_a_masked_or_wrong_identifier_is_found_out_by_what_answers(object_id, answers, profile):
    found = choose_snmp(KNOWN, {OBJECT_ID: object_id, **answers})
    assert found.profile_name == profile


def test_the_evidence_tells_a_wrong_identifier():
    found = choose_snmp(KNOWN, {OBJECT_ID: "1.3.6.1.4.1.705.1", **XUPS})
    assert found.evidence == (
        "sysObjectID 1.3.6.1.4.1.705.1 names eaton-mge, of which nothing answers",
        "1.3.6.1.4.1.534.1.4.5.0 answers",
    )
    found = choose_snmp(KNOWN, {OBJECT_ID: "1.3.6.1.4.1.318.1.3.27", DESCRIPTION: b"APC", **APC})
    assert found.evidence == (
        "sysObjectID 1.3.6.1.4.1.318.1.3.27 lies under 1.3.6.1.4.1.318.1.3",
        "sysDescr 'APC'",
        "1.3.6.1.4.1.318.1.1.1.4.1.1.0 answers",
    )


@pytest.mark.parametrize(
    ("object_id", "description", "profile"),
    [
        ("1.3.6.1.4.1.705.1.2", b"MGE Galaxy 7000 UPS 250 kVA", "eaton-mge-galaxy"),
        ("1.3.6.1.4.1.705.1", b"Galaxy 5000", "eaton-mge-galaxy"),
        ("1.3.6.1.4.1.705.1", b"Eaton 5PX 3000", "eaton-mge"),
        ("1.3.6.1.4.1.2254.2.5", b"Delta Mini-SNMP", "delta-mini"),
    ],
)
def test_two_families_of_one_identifier_are_told_by_their_description(
    object_id, description, profile
):
    raw = {OBJECT_ID: object_id, DESCRIPTION: description}
    assert choose_snmp(KNOWN, raw).profile_name == profile


def stages(answers):
    """Return what an agent with these objects is asked, stage by stage."""
    raw, asked = {}, []
    for refs in further_questions(KNOWN, raw):
        asked.append(set(refs))
        raw.update({ref: answers[ref] for ref in refs if ref in answers})
    return asked


def test_a_card_that_tells_the_truth_is_asked_little():
    asked = stages({OBJECT_ID: "1.3.6.1.4.1.318.1.3.27", **APC})
    assert len(asked) == 2
    assert asked[1] == set(profiles()["apc-powernet"].identify.probe)


def test_a_card_that_names_nobody_is_asked_for_everybodys_objects():
    asked = stages({OBJECT_ID: "1.3.6.1.4.1.8072.3.2.10"})
    assert asked[-1] > {"1.3.6.1.4.1.534.1.4.5.0", "1.3.6.1.4.1.318.1.1.1.4.1.1.0", *PROBE}


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
