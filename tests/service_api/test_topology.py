"""The topology of a site: files with their faults, the API, who may, and taking it back."""

import json

import psycopg
import pytest

from rules.operations import OperationRefused
from service_api.cli_topology import topology_import
from service_api.topology.reading import TopologyInvalid, read_topologies
from tests.conftest import NOW
from tests.service_api.conftest import Doors

CSV = """\
site,kind,key,name,name_zh,substation,switch_type,preferred,alternate,redundancy,kilowatts,criticality,feeder,switch,group,load,room,path
mill-1,feeder,feed-a,Feed A,甲路市电,Lingang 110 kV,,,,,,,,,,,,
mill-1,generator,gen,Generator,柴油发电机,,,,,,400,,,,,,,
mill-1,switch,ats-1,ATS 1,,,ATS,feed-a,gen,,,,,,,,,
mill-1,group,pair,Pair,,,,,,N+1,,,,,,,,
mill-1,load,line,Line 1,一号线,,,,,,80,critical,,,,,,
mill-1,room,hall,Hall,机房,,,,,,,,,,,,,
mill-1,path,sw-1,Switch 1,,,,,,,,,,,,,,
mill-1,unit,mill-1-u1,,,,,,,,,,,ats-1,pair,line,hall,sw-1
mill-1,unit,mill-1-u2,,,,,,,,,,feed-a,,pair,line,hall,
"""


def test_a_csv_file_becomes_the_topology_of_its_site():
    (found,) = read_topologies(CSV)
    assert found.site == "mill-1"
    assert found.topology.switches[0].model_dump() == {
        "key": "ats-1",
        "name": "ATS 1",
        "name_zh": "",
        "switch_type": "ATS",
        "preferred": "feed-a",
        "alternate": "gen",
    }
    assert [unit.unit for unit in found.topology.units] == ["mill-1-u1", "mill-1-u2"]
    assert found.topology.generators[0].kilowatts == 400


HEAD = "site,kind,key,preferred,feeder,room,kilowatts\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        (b"\xff\xfe", "is not UTF-8 (byte 0)"),
        (HEAD, "the file has no lines but the first"),
        ("site,kind\n", "line 1: there is no column key"),
        ("site,kind,key,color\n", "line 1: unknown column color"),
        ("site,kind,key,key\n", "line 1: column key stands there twice"),
        (HEAD + "a,feeder\n", "line 2, column key: is empty"),
        (HEAD + "a,room,r,,,,,,,\n", "line 2: more cells than columns"),
        (HEAD + "a,lift,r\n", "line 2, column kind: 'lift' is none of feeder, generator"),
        (HEAD + "a,room,r,f\n", "line 2, column preferred: a room has no preferred"),
        (HEAD + "a,room,r\na,room,r\n", "line 3, column key: r stands there twice"),
        (HEAD + "a,room,bad key\n", "line 2, column key: String should match"),
        (HEAD + "a,load,l,,,,lots\n", "line 2, column kilowatts: Input should be a valid number"),
        (HEAD + "a,load,l,,,,-3\n", "line 2, column kilowatts: Input should be greater than 0"),
        (HEAD + "a,load,l,,,,nan\n", "line 2, column kilowatts: Input should be a finite"),
        (HEAD + "a,switch,s,f\n", "line 2, column preferred: there is no feeder or generator f"),
        (HEAD + "\na,unit,u,,f\n", "line 3, column feeder: there is no feeder f"),
        (HEAD + "a,unit,u\na,unit,u\n", "line 3, column key: u stands there twice"),
        (HEAD + 'a,room,"r\n', "line 2: unexpected end of data"),
        ("{", "line 1, column 2: Expecting property name"),
        ('[{"rooms": []}]', "[0]: is not a topology with its site"),
        ('[{"site": "a"}, {"site": "a"}]', "[1].site: a stands there twice"),
        ('{"site": "a", "lifts": []}', "site a, lifts: Extra inputs are not permitted"),
        ('{"site": "a", "rooms": [{}]}', "site a, rooms[0].key: Field required"),
        (
            '{"site": "a", "units": [{"unit": "u", "room": "r"}]}',
            "site a, units[0].room: there is no room r",
        ),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_wrong_is_told_where_and_why(text, says):
    with pytest.raises(TopologyInvalid) as refused:
        read_topologies(text)
    assert any(says in fault for fault in refused.value.faults), refused.value.faults


def test_every_fault_of_a_file_is_told_at_once():
    with pytest.raises(TopologyInvalid) as refused:
        read_topologies(HEAD + "a,lift,x\na,feeder\na,unit,u,,f\n")
    assert len(refused.value.faults) == 2  # what lines hang on is looked at once they are right


def address(doors: Doors, site: str = "mill-1") -> str:
    return f"/api/v1/sites/{doors.fleet.sites[site]}/topology"


def document() -> dict:
    (found,) = read_topologies(CSV)
    return found.topology.model_dump(mode="json")


def test_a_topology_is_put_read_and_taken_back(doors: Doors):
    desk = doors.api("desk")
    assert desk.get(address(doors)).json()["feeders"] == []
    put = desk.put(address(doors), json=document(), params={"reason": "survey"})
    assert put.status_code == 200, put.text
    told = desk.get(address(doors)).json()
    assert told["units"][0] == {
        "unit": "mill-1-u1",
        "feeder": None,
        "switch": "ats-1",
        "group": "pair",
        "load": "line",
        "room": "hall",
        "path": "sw-1",
    }
    assert told["switches"][0]["alternate"] == "gen"
    assert desk.put(address(doors), json=told).status_code == 200  # the same again
    ((count, reason),) = doors.write("SELECT count(*), min(reason) FROM topology_change")
    assert (count, reason) == (1, "survey")
    assert desk.post(address(doors) + "/undo").json()["units"] == []
    assert desk.post(address(doors) + "/undo").json() == told
    assert doors.write("SELECT count(*) FROM topology_change") == [(3,)]


def test_customers_see_their_own_topology_and_change_none(doors: Doors):
    doors.api("desk").put(address(doors), json=document())
    assert doors.api("mill").get(address(doors)).json()["rooms"][0]["key"] == "hall"
    assert doors.api("bank").get(address(doors)).status_code == 404
    for name in ("mill", "robot"):
        assert doors.api(name).put(address(doors), json={}).status_code == 403
    with psycopg.connect(doors.database.api_dsn) as connection:
        for scope, seen in (
            ("all", True),
            (str(doors.fleet.customers["bank"]), False),
            ("", False),
        ):
            connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (scope,))
            for table in ("topology_node", "topology_unit"):
                (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                assert (count > 0) is seen, (table, scope)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"units": [{"unit": "bank-1-u1"}]}, "there is no unit bank-1-u1 at this site"),
        ({"units": [{"unit": "mill-1-u1", "room": "attic"}]}, "there is no room attic"),
        ({"lifts": []}, "lifts"),
    ],
)
def test_a_topology_that_does_not_fit_is_refused_and_nothing_changes(doors: Doors, change, says):
    desk = doors.api("desk")
    before = desk.get(address(doors)).json()
    answer = desk.put(address(doors), json=change)
    assert answer.status_code == 422
    assert says in answer.text
    assert desk.get(address(doors)).json() == before


def test_the_page_shows_saves_and_refuses(doors: Doors):
    desk = doors.page("desk")
    doors.api("desk").put(address(doors), json=document())
    path = f"/sites/{doors.fleet.sites['mill-1']}/topology"
    text = desk.get(path).text
    assert "Lingang 110 kV" in text
    assert "through ATS 1" in text
    token = text.partition('name="csrf_token" value="')[2].partition('"')[0]
    saved = desk.post(path, data={"csrf_token": token, "text": '{"rooms": [{"key": "hall"}]}'})
    assert saved.status_code == 303, saved.text
    assert [room["key"] for room in doors.api("desk").get(address(doors)).json()["rooms"]] == [
        "hall"
    ]
    assert desk.post(path, data={"csrf_token": token, "text": "site,kind\n"}).status_code == 422
    assert desk.post(path, data={"csrf_token": token, "text": CSV}).status_code == 303
    assert "Feed A" in doors.page("mill").get(path).text
    assert "Paste a topology" not in doors.page("mill").get(path).text


def test_the_command_imports_all_or_nothing(doors: Doors, tmp_path, monkeypatch, capsys):
    import argparse

    from service_api.cli_shared import UsageError

    monkeypatch.setenv("RIDETHROUGH_API_DATABASE_URL", doors.database.api_dsn)
    path = tmp_path / "topology.csv"
    path.write_text(CSV.replace("mill-1", "mill-2"), encoding="utf-8")
    arguments = argparse.Namespace(file=path, json=True, now=lambda: NOW)
    topology_import(arguments)
    assert json.loads(capsys.readouterr().out) == {"sites": 1, "changed": 1, "units": 2}
    path.write_text(CSV + "atlantis,room,r,,,,,,,,,,,,,,,\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 11, column site: there is no site atlantis"):
        topology_import(arguments)
    arguments.file = tmp_path / "missing.csv"
    with pytest.raises(UsageError, match="cannot be read"):
        topology_import(arguments)


def test_nothing_to_take_back_is_said(doors: Doors):
    answer = doors.api("desk").post(address(doors, "metro-1") + "/undo")
    assert answer.status_code == 409
    assert OperationRefused.__name__ not in answer.text
    assert "Nothing was changed yet" in answer.text
