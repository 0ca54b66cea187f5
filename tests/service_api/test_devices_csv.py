from datetime import date

import pytest

from collector.address import Credentials
from service_api.devices_csv import COLUMNS, ImportInvalid, read_devices

TODAY = date(2026, 3, 2)
HEAD = "key,name,site,customer,address"
GOOD = "u1,UPS 1,s1,c1,snmp://public@192.0.2.1"


def read(*lines, head=HEAD):
    return read_devices("\n".join([head, *lines]), today=TODAY)


def faults(*lines, head=HEAD):
    with pytest.raises(ImportInvalid) as invalid:
        read(*lines, head=head)
    return [(fault.line, fault.column) for fault in invalid.value.faults], str(invalid.value)


def test_every_column_is_read():
    head = ",".join(COLUMNS)
    line = (
        "u-1,UPS 1,s1,c1,snmp://secret@192.0.2.1:1161,rfc1628,Model A,S/N 1,2020-01-31,2024/3/5,"
        "31.2,121.5,Site One,站点一,Customer One,客户一,Asia/Shanghai,"
        "High,15,2028.12.31,VRLA,4.5,sh,site-3"
    )
    (row,) = read(line, head=head)
    assert (row.line, row.key, row.name, row.site, row.customer) == (2, "u-1", "UPS 1", "s1", "c1")
    assert (row.protocol, row.address) == ("snmp", "snmp://192.0.2.1:1161")
    assert row.credentials == Credentials("secret")
    assert (row.profile, row.model, row.serial) == ("rfc1628", "Model A", "S/N 1")
    assert (row.installed_on, row.battery_installed_on) == (date(2020, 1, 31), date(2024, 3, 5))
    assert (row.latitude, row.longitude, row.time_zone) == (31.2, 121.5, "Asia/Shanghai")
    assert (row.site_name_zh, row.customer_name_zh) == ("站点一", "客户一")
    assert (row.criticality, row.poll_seconds, row.warranty_until) == (
        "high",
        15,
        date(2028, 12, 31),
    )
    assert (row.battery_chemistry, row.battery_life_years) == ("vrla", 4.5)
    assert (row.service_center, row.collector_group) == ("sh", "site-3")
    assert "secret" not in repr(row)


def test_empty_cells_and_missing_columns_say_nothing():
    (row,) = read(f"{GOOD},,", head=f"{HEAD},profile,latitude")
    assert (row.profile, row.latitude, row.serial, row.poll_seconds) == (None, None, None, None)


@pytest.mark.parametrize(
    ("address", "protocol", "public", "credentials"),
    [
        ("snmp://192.0.2.1", "snmp", "snmp://192.0.2.1:161", None),
        ("snmp+v1://c@h", "snmp", "snmp+v1://h:161", Credentials("c")),
        (
            "snmpv3://u:authpass1:privpass1@h",
            "snmp",
            "snmpv3://h:161?auth=sha256&priv=aes128",
            Credentials("u", "authpass1", "privpass1"),
        ),
        ("modbus://h/3", "modbus", "modbus://h:502/3", None),
        (
            "mqtts://u:p@h/ridethrough/v1/u1",
            "mqtt",
            "mqtts://h:8883/ridethrough/v1/u1",
            Credentials("u", "p"),
        ),
    ],
)
def test_secrets_are_split_from_the_address(address, protocol, public, credentials):
    (row,) = read(f"u1,n,s,c,{address}")
    assert (row.protocol, row.address, row.credentials) == (protocol, public, credentials)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_files_of_spreadsheet_programs_are_understood(encoding, end, delimiter):
    lines = [HEAD, "", "u1,机房一,s1,c1,snmp://192.0.2.1", ",,,,", "u2,机房二,s1,c1,modbus://h"]
    text = end.join(line.replace(",", delimiter) for line in lines) + end
    rows = read_devices(text.encode(encoding), today=TODAY)
    assert [(row.line, row.name) for row in rows] == [(3, "机房一"), (5, "机房二")]


def test_a_cell_may_hold_a_comma_in_quotation_marks():
    (row,) = read('u1,"UPS 1, room ""A""",s1,c1,modbus://h')
    assert row.name == 'UPS 1, room "A"'


@pytest.mark.parametrize(
    ("extra", "cell", "column", "says"),
    [
        ("profile", "rfc1629", "profile", "did you mean rfc1628?"),
        ("profile", "apc-modbus", "profile", "is for modbus addresses: leave it empty, or"),
        ("installed_on", "2026-03-03", "installed_on", "lies in the future"),
        ("battery_installed_on", "2027-01-01", "battery_installed_on", "up to 2026-03-02"),
        ("installed_on", "31.12.2020", "installed_on", "write 2024-03-05"),
        ("installed_on", "2020-02-30", "installed_on", "no date"),
        ("latitude", "12", "longitude", "fill it in"),
        ("latitude", "91", "latitude", "out of range"),
        ("longitude", "nan", "longitude", "out of range"),
        ("poll_seconds", "0", "poll_seconds", "1 to 86400"),
        ("poll_seconds", "often", "poll_seconds", "no number"),
        ("criticality", "low", "criticality", "normal, high, critical"),
        ("battery_chemistry", "nimh", "battery_chemistry", "vrla, li-ion"),
        ("battery_life_years", "0", "battery_life_years", "out of range"),
        ("time_zone", "Shanghai", "time_zone", "Asia/Shanghai"),
        ("model", "x" * 201, "model", "at most 200"),
        ("model", '"a\nb"', "model", "line break"),
        ("model", "a\0b", "model", "control character"),
        ("collector_group", "site 3", "collector_group", "letters, digits"),
        ("collector_group", "mqtt", "collector_group", "choose another name"),
    ],
)
def test_a_bad_cell_is_named_with_its_cure(extra, cell, column, says):
    where, text = faults(f"{GOOD},{cell}", head=f"{HEAD},{extra}")
    assert where == [(2, column)]
    assert says in text


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("u 1,n,s,c,modbus://h", "key", "no key"),
        (",n,s,c,modbus://h", "key", "empty"),
        ("u1,,s,c,modbus://h", "name", "empty"),
        ("u1,n,s,c,192.0.2.1", "address", "begin it with snmp://"),
        ("u1,n,s,c,snmp://public@h:99999", "address", "port"),
        ("u1,n,s,c,snmpv3://u:short@h", "address", "8 characters"),
        ("u1,n,s,c,mqtt://h/ridethrough/v1/u2/reading", "address", "another device"),
        ("u1,n,s,c,mqtt://h/site/+/ups", "address", "below which all topics of this device"),
        ("u1,n,s,c,mqtt://h/spBv1.0/plant/gate", "address", "write spBv1.0/GROUP/+/NODE/DEVICE"),
        ("u1,n,s,c", None, "4 cells where the header has 5"),
        ("u1,n,s,c,modbus://h,", None, "quotation marks"),
    ],
)
def test_a_bad_line_is_named_with_its_cure(line, column, says):
    where, text = faults(line)
    assert where == [(2, column)]
    assert says in text


def test_a_unit_that_publishes_is_in_no_collectors_group():
    line = "u1,n,s,c,mqtt://h/ridethrough/v1/u1"
    where, text = faults(f"{line},site-3", head=f"{HEAD},collector_group")
    assert where == [(2, "collector_group")]
    assert "leave it empty" in text
    (row,) = read(f"{line},mqtt", head=f"{HEAD},collector_group")
    assert row.collector_group == "mqtt"


def test_a_password_in_a_bad_address_is_not_shown():
    _, text = faults("u1,n,s,c,snmpv3://user:hushhush:pri:vate@h")
    assert "hushhush" not in text


def test_every_bad_line_is_listed_at_once():
    where, text = faults(GOOD, "u2,n,s1,c1,ftp://h", GOOD, "u3,,s1,c2,modbus://h/999")
    assert where == [(3, "address"), (4, "key"), (5, "name"), (5, "address")]
    assert "u1 stands on line 2 already" in text
    assert len(text.splitlines()) == 4


def test_lines_that_disagree_about_a_site_or_customer_are_named():
    head = f"{HEAD},site_name,customer_name"
    where, text = faults(
        "u1,n,s1,c1,modbus://h,North,Bank", "u2,n,s1,c1,modbus://h,South,Mill", head=head
    )
    assert where == [(3, "site_name"), (3, "customer_name")]
    assert "site s1 has site_name North on line 2" in text
    assert faults("u1,n,s1,c1,modbus://h", "u2,n,s1,c2,modbus://h")[0] == [(3, "customer")]


@pytest.mark.parametrize(
    ("head", "column", "says"),
    [
        ("key,name,site,customer", "address", "missing"),
        (f"{HEAD},seriall", "seriall", "did you mean serial?"),
        (f"{HEAD},key", "key", "stands twice"),
    ],
)
def test_a_bad_header_is_named_with_its_cure(head, column, says):
    where, text = faults(GOOD, head=head)
    assert where == [(1, column)]
    assert says in text


def test_a_list_without_header_is_refused():
    assert "no such column" in faults(head=GOOD)[1]


def test_a_file_without_devices_or_of_no_encoding_is_refused():
    assert "no device follows" in faults()[1]
    with pytest.raises(ImportInvalid, match="neither UTF-8 nor GB18030"):
        read_devices(b"key,\xff\xff\xff", today=TODAY)
    with pytest.raises(ImportInvalid, match="quotation marks"):
        read('u1,"n,s,c,modbus://h')
