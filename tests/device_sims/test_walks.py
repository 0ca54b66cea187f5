"""The output of net-snmp's tool as it is mailed."""

import pytest
from pysnmp.proto import rfc1902

from device_sims.recordings import RecordingInvalid
from device_sims.walks import read_walk

WALK = r"""
.1.3.6.1.2.1.1.1.0 = STRING: "A \"quoted\" card
on two lines"
.1.3.6.1.2.1.1.2.0 = OID: .1.3.6.1.4.1.318.1.3.27
.1.3.6.1.2.1.1.3.0 = Timeticks: (1234567) 3:25:45.67
.1.3.6.1.2.1.1.4.0 = ""
.1.3.6.1.2.1.33.1.2.1.0 = INTEGER: batteryNormal(2)
.1.3.6.1.2.1.33.1.2.4.0 = INTEGER: 97 percent
.1.3.6.1.2.1.33.1.2.6.0 = INTEGER: -5
.1.3.6.1.2.1.33.1.3.1.0 = Counter32: 4
.1.3.6.1.2.1.33.1.4.2.0 = Gauge32: 500
.1.3.6.1.4.1.9.1.0 = Hex-STRING: 00 C0 B7
 11 22 33
.1.3.6.1.4.1.9.2.0 = IpAddress: 10.1.2.3
.1.3.6.1.4.1.9.3.0 = Counter64: 18446744073709551615
.1.3.6.1.4.1.9.4.0 = STRING: bare text
.1.3.6.1.4.1.9.5.0 = No Such Instance currently exists at this OID
.1.3.6.1.4.1.9.6.0 = No more variables left in this MIB View (It is past the end of the MIB tree)
"""


def test_every_usual_form_is_read(tmp_path):
    path = tmp_path / "unit.walk"
    path.write_text(WALK.lstrip("\n"))
    read = {".".join(map(str, oid)): value for oid, value in read_walk(path).values.items()}
    assert read == {
        "1.3.6.1.2.1.1.1.0": rfc1902.OctetString('A "quoted" card\non two lines'),
        "1.3.6.1.2.1.1.2.0": rfc1902.ObjectIdentifier("1.3.6.1.4.1.318.1.3.27"),
        "1.3.6.1.2.1.1.3.0": rfc1902.TimeTicks(1_234_567),
        "1.3.6.1.2.1.1.4.0": rfc1902.OctetString(""),
        "1.3.6.1.2.1.33.1.2.1.0": rfc1902.Integer32(2),
        "1.3.6.1.2.1.33.1.2.4.0": rfc1902.Integer32(97),
        "1.3.6.1.2.1.33.1.2.6.0": rfc1902.Integer32(-5),
        "1.3.6.1.2.1.33.1.3.1.0": rfc1902.Counter32(4),
        "1.3.6.1.2.1.33.1.4.2.0": rfc1902.Gauge32(500),
        "1.3.6.1.4.1.9.1.0": rfc1902.OctetString(hexValue="00c0b7112233"),
        "1.3.6.1.4.1.9.2.0": rfc1902.IpAddress("10.1.2.3"),
        "1.3.6.1.4.1.9.3.0": rfc1902.Counter64(2**64 - 1),
        "1.3.6.1.4.1.9.4.0": rfc1902.OctetString("bare text"),
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SNMPv2-MIB::sysDescr.0 = STRING: card\n", 1),
        (".1.3.6.1.2.1.1.1.0 = STRING: card\n.1.3.6.1.2.1.1.2.0 = NONSENSE: 5\n", 2),
        (".1.3.6.1.2.1.1.3.0 = INTEGER: many\n", 1),
        (".1.3.6.1.2.1.1.3.0 = Hex-STRING: zz\n", 1),
        (".1.3.6.1.2.1.1.3.0 = IpAddress: 10.1\n", 1),
        ("", 1),
    ],
)
def test_a_fault_names_its_line(tmp_path, text, line):
    path = tmp_path / "unit.walk"
    path.write_text(text)
    with pytest.raises(RecordingInvalid) as refused:
        read_walk(path)
    assert refused.value.line == line
