"""Write the topology of a site: the whole of it, with a line in the log; and take that back."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rules.operations import OperationRefused
from rules.regroup import move_alarms
from rules.version_store import known_rules
from service_api.request import Connection
from service_api.topology.reading import SiteFile, TopologyInvalid
from service_api.topology.schemas import HANGS_ON, Fault, Topology, faults_of
from service_api.topology.store import site_key, topology


def import_topologies(
    connection: Connection, files: list[SiteFile], *, actor: str, now: datetime
) -> dict[str, int]:
    """Write the topologies of a file, all of it or nothing; returns how many were what.

    Raises `TopologyInvalid` with everything that is wrong.
    """
    faults: list[str] = []
    counts = {"sites": 0, "changed": 0, "units": 0}
    for one in sorted(files, key=lambda one: one.site):
        row = connection.execute("SELECT id FROM site WHERE key = %s", (one.site,)).fetchone()
        if row is None:
            at = "" if one.lines is None else f"line {min(one.lines.values())}, column site: "
            faults.append(f"{at}there is no site {one.site}")
            continue
        missing = _faults(connection, row[0], one.topology)
        faults += [one.where(fault) for fault in missing]
        if not faults:
            counts["sites"] += 1
            counts["units"] += len(one.topology.units)
            counts["changed"] += put_topology(
                connection, row[0], one.topology, reason="import", actor=actor, now=now
            )
    if faults:
        raise TopologyInvalid(faults)
    return counts


def _faults(connection: Connection, site_id: int, new: Topology) -> list[Fault]:
    """Return what does not fit together, and units that are not at the site."""
    here = {
        key
        for (key,) in connection.execute("SELECT key FROM device WHERE site_id = %s", (site_id,))
    }
    return faults_of(new) + [
        Fault("units", place, "unit", f"there is no unit {unit.unit} at this site")
        for place, unit in enumerate(new.units)
        if unit.unit not in here
    ]


def put_topology(
    connection: Connection,
    site_id: int,
    new: Topology,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> bool:
    """Replace a site's topology and look again where its alarms belong; False: it was so already.

    Raises `NotFound` and `TopologyInvalid`.
    """
    site_key(connection, site_id)
    connection.execute("SELECT FROM site WHERE id = %s FOR UPDATE", (site_id,))
    faults = _faults(connection, site_id, new)
    if faults:
        raise TopologyInvalid([str(fault) for fault in faults])
    before = topology(connection, site_id)
    if _plain(before) == _plain(new):
        return False
    ids = _write_nodes(connection, site_id, new)
    _write_switches(connection, new, ids)
    _write_units(connection, site_id, new, ids)
    connection.execute(
        """
        INSERT INTO topology_change (site_id, at, actor, reason, before, after)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (site_id, now, actor, reason.strip(), Jsonb(_plain(before)), Jsonb(_plain(new))),
    )
    move_alarms(connection, known_rules(connection).rules, now=now, site_id=site_id)
    connection.execute("NOTIFY ridethrough, 'change'")
    return True


def undo_last(connection: Connection, site_id: int, *, actor: str, now: datetime) -> None:
    """Take the last change of a site's topology back; that is a change of its own."""
    site_key(connection, site_id)
    row = connection.execute(
        "SELECT before FROM topology_change WHERE site_id = %s ORDER BY id DESC LIMIT 1",
        (site_id,),
    ).fetchone()
    if row is None:
        raise OperationRefused("nothing was changed yet")
    old = Topology.model_validate(row[0])
    put_topology(connection, site_id, old, reason="taken back", actor=actor, now=now)


def _plain(one: Topology) -> dict[str, Any]:
    """Return a topology as it is kept: names filled in, in the order of keys."""
    content = one.model_dump(mode="json")
    for list_, entries in content.items():
        for entry in entries:
            if "key" in entry:
                entry["name"] = entry["name"] or entry["key"]
                entry["name_zh"] = entry["name_zh"] or entry["name"]
        entries.sort(key=lambda entry: entry["unit" if list_ == "units" else "key"])
    return content


def _write_nodes(connection: Connection, site_id: int, new: Topology) -> dict[tuple[str, str], int]:
    kept = {(kind, node.key) for kind, _, _, node in new.nodes()}
    gone = [
        node_id
        for node_id, kind, key in connection.execute(
            "SELECT id, kind, key FROM topology_node WHERE site_id = %s", (site_id,)
        )
        if (kind, key) not in kept
    ]
    connection.execute("DELETE FROM topology_node WHERE id = ANY(%s)", (gone,))
    ids: dict[tuple[str, str], int] = {}
    for kind, _, _, node in new.nodes():
        row = connection.execute(
            """
            INSERT INTO topology_node (site_id, kind, key, name, name_zh, substation, switch_type,
                redundancy, kilowatts, criticality)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (site_id, kind, key) DO UPDATE SET name = excluded.name,
                name_zh = excluded.name_zh, substation = excluded.substation,
                switch_type = excluded.switch_type, redundancy = excluded.redundancy,
                kilowatts = excluded.kilowatts, criticality = excluded.criticality
            RETURNING id
            """,
            (
                site_id,
                kind,
                node.key,
                node.name or node.key,
                node.name_zh or node.name or node.key,
                *(
                    getattr(node, name, None)
                    for name in (
                        "substation", "switch_type", "redundancy", "kilowatts", "criticality"
                    )
                ),
            ),
        ).fetchone()  # fmt: skip
        if row is not None:
            ids[kind, node.key] = int(row[0])
    return ids


def _write_switches(connection: Connection, new: Topology, ids: dict[tuple[str, str], int]) -> None:
    def source(key: str | None) -> int | None:
        return None if key is None else ids.get(("feeder", key)) or ids.get(("generator", key))

    for switch in new.switches:
        connection.execute(
            "UPDATE topology_node SET preferred_id = %s, alternate_id = %s WHERE id = %s",
            (source(switch.preferred), source(switch.alternate), ids["switch", switch.key]),
        )


def _write_units(
    connection: Connection, site_id: int, new: Topology, ids: dict[tuple[str, str], int]
) -> None:
    connection.execute(
        """
        DELETE FROM topology_unit u USING device d
        WHERE d.id = u.device_id AND (u.site_id = %s OR d.site_id = %s)
        """,
        (site_id, site_id),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO topology_unit (device_id, site_id, feeder_id, switch_id, group_id, load_id,
                room_id, path_id)
            SELECT id, site_id, %s, %s, %s, %s, %s, %s FROM device WHERE key = %s
            """,
            [
                (
                    *(
                        None if (key := getattr(unit, kind)) is None else ids[kind, key]
                        for kind in HANGS_ON
                    ),
                    unit.unit,
                )
                for unit in new.units
            ],
        )
