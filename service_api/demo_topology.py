"""What hangs on what at the demo's sites: invented, by the keys of the demo's scenario."""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.topology.operations import put_topology
from service_api.topology.schemas import Topology

Connection = psycopg.Connection[TupleRow]

ACTOR = "demo"

SHANGHAI = {
    "feeders": [
        {
            "key": "feed-a",
            "name": "Feed A",
            "name_zh": "甲路市电",
            "substation": "Lingang 110 kV 临港变电站",
        }
    ],
    "generators": [
        {"key": "gen-1", "name": "Diesel generator", "name_zh": "柴油发电机", "kilowatts": 200}
    ],
    "switches": [
        {
            "key": "ats-1",
            "name": "ATS 1",
            "name_zh": "一号转换开关",
            "preferred": "feed-a",
            "alternate": "gen-1",
        }
    ],
    "loads": [
        {
            "key": "lines",
            "name": "Production lines",
            "name_zh": "生产线",
            "kilowatts": 32,
            "criticality": "high",
        },
        {
            "key": "pumps",
            "name": "Cooling water pumps",
            "name_zh": "冷却水泵",
            "kilowatts": 2,
            "criticality": "critical",
        },
    ],
    "rooms": [
        {"key": "power-room", "name": "Power room", "name_zh": "配电间"},
        {"key": "pump-house", "name": "Pump house", "name_zh": "泵房"},
    ],
    "paths": [
        {"key": "plant-switch", "name": "Plant switch", "name_zh": "厂区交换机"},
        {"key": "gateway", "name": "MQTT gateway", "name_zh": "MQTT 网关"},
    ],
    "units": [
        {
            "unit": "sh-line-1",
            "switch": "ats-1",
            "load": "lines",
            "room": "power-room",
            "path": "plant-switch",
        },
        {
            "unit": "sh-line-2",
            "switch": "ats-1",
            "load": "lines",
            "room": "power-room",
            "path": "plant-switch",
        },
        {
            "unit": "sh-quality",
            "feeder": "feed-a",
            "room": "power-room",
            "path": "plant-switch",
        },
        {"unit": "sh-warehouse", "feeder": "feed-a", "path": "gateway"},
        {
            "unit": "sh-pump-house",
            "feeder": "feed-a",
            "load": "pumps",
            "room": "pump-house",
            "path": "plant-switch",
        },
    ],
}

BEIJING = {
    "feeders": [
        {"key": "feed-a", "name": "Feed A", "name_zh": "A 路市电", "substation": "Yizhuang 亦庄"},
        {"key": "feed-b", "name": "Feed B", "name_zh": "B 路市电", "substation": "Majuqiao 马驹桥"},
    ],
    "generators": [
        {"key": "gen-1", "name": "Generator set", "name_zh": "发电机组", "kilowatts": 800}
    ],
    "switches": [
        {"key": "ats-a", "name": "ATS A", "preferred": "feed-a", "alternate": "gen-1"},
        {"key": "ats-b", "name": "ATS B", "preferred": "feed-b", "alternate": "gen-1"},
    ],
    "groups": [{"key": "hall", "name": "Hall A and B", "name_zh": "机房双路", "redundancy": "2N"}],
    "loads": [
        {
            "key": "hall",
            "name": "Data hall",
            "name_zh": "数据机房",
            "kilowatts": 140,
            "criticality": "critical",
        }
    ],
    "rooms": [{"key": "battery", "name": "Battery room", "name_zh": "电池室"}],
    "paths": [{"key": "core", "name": "Core switch", "name_zh": "核心交换机"}],
    "units": [
        {
            "unit": f"bj-hall-{letter}",
            "switch": f"ats-{letter}",
            "group": "hall",
            "load": "hall",
            "room": "battery",
            "path": "core",
        }
        for letter in "ab"
    ]
    + [
        {"unit": "bj-carrier", "feeder": "feed-a", "path": "core"},
        {"unit": "bj-monitoring", "feeder": "feed-b", "path": "core"},
    ],
}

CHENGDU = {
    "feeders": [
        {
            "key": "feed-1",
            "name": "Traction feed",
            "name_zh": "牵引供电",
            "substation": "Huafu 华府",
        }
    ],
    "rooms": [{"key": "control", "name": "Control center", "name_zh": "控制中心"}],
    "paths": [{"key": "ring", "name": "Line ring switch", "name_zh": "环网交换机"}],
    "units": [
        {"unit": key, "feeder": "feed-1", "room": "control", "path": "ring"}
        for key in ("cd-control", "cd-signal-1", "cd-signal-2")
    ],
}

SOUTH = "Zengcheng 500 kV 增城变电站"
"""Two customers' sites hang on it: the demo's regional failure."""

SHENZHEN = {
    "feeders": [{"key": "feed", "name": "Feed", "name_zh": "市电", "substation": SOUTH}],
    "loads": [
        {
            "key": "clean",
            "name": "Clean room",
            "name_zh": "洁净室",
            "kilowatts": 24,
            "criticality": "high",
        }
    ],
    "rooms": [{"key": "lab", "name": "Laboratory", "name_zh": "实验室"}],
    "units": [
        {"unit": "sz-clean-room", "feeder": "feed", "load": "clean", "room": "lab"},
        {"unit": "sz-test-bench", "feeder": "feed", "room": "lab"},
        {"unit": "sz-archive", "feeder": "feed"},
    ],
}

GUANGZHOU = {
    "feeders": [
        {"key": "feed", "name": "Hospital feed", "name_zh": "医院市电", "substation": SOUTH}
    ],
    "generators": [
        {"key": "gen-1", "name": "Emergency generator", "name_zh": "应急发电机", "kilowatts": 500}
    ],
    "switches": [
        {
            "key": "sts-1",
            "name": "STS 1",
            "name_zh": "静态切换开关",
            "switch_type": "STS",
            "preferred": "feed",
            "alternate": "gen-1",
        }
    ],
    "loads": [
        {
            "key": "theaters",
            "name": "Operating theaters",
            "name_zh": "手术室",
            "kilowatts": 12,
            "criticality": "critical",
        }
    ],
    "units": [
        {"unit": "gz-theater", "switch": "sts-1", "load": "theaters"},
        {"unit": "gz-imaging", "feeder": "feed"},
        {"unit": "gz-pharmacy", "feeder": "feed"},
        {"unit": "gz-records", "feeder": "feed"},
    ],
}

TOPOLOGIES = {
    "shenzhen": SHENZHEN,
    "guangzhou": GUANGZHOU,
    "shanghai": SHANGHAI,
    "beijing": BEIJING,
    "chengdu": CHENGDU,
}
"""Site → topology; the other sites have none, as is so before anybody was there."""


def seed_topology(connection: Connection, *, now: datetime) -> None:
    """Write the topologies of sites that have none, with the units that are registered."""
    here = {key for (key,) in connection.execute("SELECT key FROM device")}
    for site, content in TOPOLOGIES.items():
        row = connection.execute(
            """
            SELECT id FROM site s WHERE key = %s
            AND NOT EXISTS (SELECT FROM topology_node n WHERE n.site_id = s.id)
            """,
            (site,),
        ).fetchone()
        if row is None:
            continue
        topology = Topology.model_validate(content)
        topology.units = [unit for unit in topology.units if unit.unit in here]
        put_topology(connection, row[0], topology, reason="survey", actor=ACTOR, now=now)
