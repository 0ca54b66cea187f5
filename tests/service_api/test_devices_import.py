from datetime import date

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from collector.credentials import parse_credentials
from collector.store import known_devices
from service_api.devices_import import Imported, ImportInvalid, import_devices, read_devices
from service_api.secrets import Sealer

TODAY = date(2026, 3, 2)
SEALER = Sealer(Fernet.generate_key().decode())
HEAD = "key,name,site,customer,address"


@pytest.fixture
def api(database):
    with psycopg.connect(database.api_dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def owner(database):
    with psycopg.connect(database.owner_dsn, autocommit=True, row_factory=dict_row) as opened:
        opened.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        yield opened


def load(api, *lines, head=HEAD):
    rows = read_devices("\n".join([head, *lines]), today=TODAY)
    return import_devices(api, rows, sealer=SEALER)


def devices(owner):
    return owner.execute("SELECT * FROM device ORDER BY key").fetchall()


def test_a_list_makes_customers_sites_and_devices(api, owner):
    head = f"{HEAD},site_name,customer_name_zh,latitude,longitude,installed_on"
    counts = load(
        api,
        "u1,UPS 1,s1,c1,snmp://hush@192.0.2.1,North,客户,31.2,121.5,2020-01-01",
        "u2,UPS 2,s1,c1,modbus://192.0.2.2/4,,,,,",
        "u3,UPS 3,s2,c1,mqtt://broker/ridethrough/v1/u3,,,,,",
        head=head,
    )
    assert counts == Imported(new=3, changed=0, unchanged=0)
    first, second, third = devices(owner)
    assert (first["name"], first["protocol"], first["address"]) == (
        "UPS 1",
        "snmp",
        "snmp://192.0.2.1:161",
    )
    assert first["installed_on"] == date(2020, 1, 1)
    assert (first["poll_seconds"], second["poll_seconds"]) == (30, 30)
    assert [row["collector_group"] for row in (first, second, third)] == ["default"] * 2 + ["mqtt"]
    assert first["site_id"] == second["site_id"] != third["site_id"]
    site = owner.execute("SELECT * FROM site WHERE key = 's1'").fetchone()
    assert (site["name"], site["name_zh"], site["latitude"]) == ("North", "North", 31.2)
    customer = owner.execute("SELECT * FROM customer").fetchone()
    assert (customer["key"], customer["name"], customer["name_zh"]) == ("c1", "客户", "客户")


def test_credentials_are_sealed_kept_once_and_open_for_the_collector(api, owner, database):
    load(
        api,
        "u1,n,s,c,snmp://hush@192.0.2.1",
        "u2,n,s,c,snmp://hush@192.0.2.2",
        "u3,n,s,c,snmp://192.0.2.3",
    )
    assert [len(row) for row in owner.execute("SELECT sealed FROM credential").fetchall()] == [1]
    everything = repr(devices(owner)) + repr(owner.execute("SELECT * FROM credential").fetchall())
    assert "hush" not in everything
    with psycopg.connect(database.ingest_dsn) as collector:
        first, second, third = known_devices(collector, collector_group="default")
    assert third.sealed_credentials is None
    for device in (first, second):
        assert parse_credentials(SEALER.unseal(device.sealed_credentials)).user == "hush"


def test_a_unit_moves_to_the_group_that_the_list_names(api, owner):
    head = f"{HEAD},collector_group"
    load(api, "u1,n,s,c,modbus://h,", "u2,n,s,c,modbus://h,site-3", head=head)
    assert [row["collector_group"] for row in devices(owner)] == ["default", "site-3"]
    load(api, "u1,n,s,c,modbus://h,site-3", "u2,n,s,c,modbus://h,", head=head)
    assert [row["collector_group"] for row in devices(owner)] == ["site-3", "site-3"]


def test_the_same_list_again_changes_nothing(api, owner):
    head = f"{HEAD},poll_seconds,battery_life_years,serial,latitude,longitude"
    line = "u1,n,s,c,snmp://hush@192.0.2.1,12.5,3.3,X1,31.23,121.47"
    load(api, line, head=head)
    before = devices(owner)
    assert load(api, line, head=head) == Imported(new=0, changed=0, unchanged=1)
    assert devices(owner) == before


def test_changed_cells_change_and_empty_cells_leave_as_it_is(api, owner):
    head = f"{HEAD},profile,serial,criticality"
    load(
        api,
        "u1,n,s,c,snmp://hush@192.0.2.1,rfc1628,X1,high",
        "u2,n,s,c,modbus://h,,,",
        head=head,
    )
    counts = load(
        api,
        "u1,other name,s,c,snmp://192.0.2.9,,,",
        "u2,n,s,c,modbus://h,,,",
        "u3,n,s,c,modbus://h/2,,,",
        head=head,
    )
    assert counts == Imported(new=1, changed=1, unchanged=1)
    first = devices(owner)[0]
    assert (first["name"], first["address"]) == ("other name", "snmp://192.0.2.9:161")
    assert (first["profile"], first["serial"], first["criticality"]) == ("rfc1628", "X1", "high")
    assert first["credential_id"] is not None


def test_another_protocol_forgets_profile_and_credentials_and_unused_secrets_go(api, owner):
    load(api, "u1,n,s,c,snmp://hush@h,rfc1628", head=f"{HEAD},profile")
    load(api, "u1,n,s,c,mqtt://broker/ridethrough/v1/u1")
    (row,) = devices(owner)
    assert (row["profile"], row["credential_id"], row["collector_group"]) == (None, None, "mqtt")
    assert owner.execute("SELECT * FROM credential").fetchall() == []
    load(api, "u1,n,s,c,modbus://h")
    assert devices(owner)[0]["collector_group"] == "default"


def test_what_a_unit_said_of_itself_wins_over_the_list(api, owner):
    head = f"{HEAD},serial"
    load(api, "u1,n,s,c,modbus://h,TYPED", head=head)
    owner.execute("UPDATE device SET serial = 'TOLD', identified_at = now()")
    assert load(api, "u1,n,s,c,modbus://h,TYPED", head=head).unchanged == 1
    assert devices(owner)[0]["serial"] == "TOLD"


def test_a_serial_number_set_right_before_the_unit_is_heard_is_the_confirmed_one(api, owner):
    head = f"{HEAD},serial"
    load(api, "u1,n,s,c,modbus://h,TYPED-WRONG", head=head)
    load(api, "u1,n,s,c,modbus://h,TYPED", head=head)
    assert load(api, "u1,n,s,c,modbus://h,TYPED", head=head).unchanged == 1
    assert devices(owner)[0]["serial_confirmed"] == "TYPED"


def test_a_unit_that_changes_hands_leaves_its_history_to_the_first_owner(api, owner):
    load(api, "u1,n,s1,c1,modbus://h")
    assert load(api, "u1,n,s2,c2,modbus://h").changed == 1
    assert len(owner.execute("SELECT * FROM device_owner").fetchall()) == 2


def test_a_site_of_another_customer_or_an_unknown_center_stops_everything(api, owner):
    load(api, "u1,n,s1,c1,modbus://h")
    with pytest.raises(ImportInvalid) as refused:
        load(
            api,
            "u8,n,s9,c2,modbus://h,",
            "u9,n,s1,c2,modbus://h,moon",
            head=f"{HEAD},service_center",
        )
    told = [(fault.line, fault.column) for fault in refused.value.faults]
    assert told == [(3, "site"), (3, "service_center")]
    assert [row["key"] for row in devices(owner)] == ["u1"]
    assert len(owner.execute("SELECT * FROM customer").fetchall()) == 1


def test_a_service_center_is_found_by_its_key(api, owner):
    owner.execute("INSERT INTO service_center (key, name, name_zh) VALUES ('sh', 'S', '上海')")
    load(api, "u1,n,s1,c1,modbus://h,sh", head=f"{HEAD},service_center")
    assert owner.execute("SELECT service_center_id FROM site").fetchone()["service_center_id"]


def test_a_thousand_devices_are_one_import(api, owner):
    lines = [f"u{n},n,s{n % 50},c{n % 5},snmp://c{n % 3}@192.0.2.1" for n in range(1000)]
    assert load(api, *lines) == Imported(1000, 0, 0)
    assert load(api, *lines) == Imported(0, 0, 1000)
    assert owner.execute("SELECT count(*) AS n FROM credential").fetchone()["n"] == 3
