"""Read the topology of a site, as a document and as its page shows it."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, dict_row

from service_api.errors import NotFound
from service_api.request import Connection
from service_api.topology.schemas import LISTS, Topology, TopologyChange


def site_key(connection: Connection, site_id: int) -> str:
    """Return the key of a site that the asker may see; raise `NotFound`."""
    row = connection.execute("SELECT key FROM site WHERE id = %s", (site_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no site {site_id}.")
    return str(row[0])


_FIELDS = {
    "feeder": ("substation",),
    "generator": ("kilowatts",),
    "switch": ("switch_type", "preferred", "alternate"),
    "group": ("redundancy",),
    "load": ("kilowatts", "criticality"),
}


def topology(connection: Connection, site_id: int) -> Topology:
    """Return a site's topology; an empty one where nothing was entered."""
    lists: dict[str, list[dict[str, object]]] = defaultdict(list)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(
            """
            SELECT n.*, p.key AS preferred, a.key AS alternate FROM topology_node n
            LEFT JOIN topology_node p ON p.id = n.preferred_id
            LEFT JOIN topology_node a ON a.id = n.alternate_id
            WHERE n.site_id = %s ORDER BY n.kind, n.key
            """,
            (site_id,),
        ):
            fields = ("key", "name", "name_zh", *_FIELDS.get(row["kind"], ()))
            lists[LISTS[row["kind"]]].append({name: row[name] for name in fields})
        lists["units"] = [
            dict(row)
            for row in cursor.execute(
                """
                SELECT d.key AS unit, f.key AS feeder, s.key AS switch, g.key AS "group",
                    l.key AS load, r.key AS room, p.key AS path
                FROM topology_unit u
                JOIN device d ON d.id = u.device_id AND d.site_id = u.site_id
                LEFT JOIN topology_node f ON f.id = u.feeder_id
                LEFT JOIN topology_node s ON s.id = u.switch_id
                LEFT JOIN topology_node g ON g.id = u.group_id
                LEFT JOIN topology_node l ON l.id = u.load_id
                LEFT JOIN topology_node r ON r.id = u.room_id
                LEFT JOIN topology_node p ON p.id = u.path_id
                WHERE u.site_id = %s ORDER BY d.key
                """,
                (site_id,),
            )
        ]
    return Topology.model_validate(lists)


def changes(connection: Connection, site_id: int, *, limit: int = 20) -> list[TopologyChange]:
    """Return the newest changes of a site's topology, the last one first."""
    with connection.cursor(row_factory=class_row(TopologyChange)) as cursor:
        return cursor.execute(
            """
            SELECT id, at, actor, reason, before, after FROM topology_change
            WHERE site_id = %s ORDER BY id DESC LIMIT %s
            """,
            (site_id, limit),
        ).fetchall()


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A unit of a site with what it hangs on, by name (en, zh)."""

    id: int
    key: str
    name: str
    on_battery: bool | None
    observed_at: datetime | None
    feeder: str | None
    feeder_zh: str | None
    substation: str | None
    switch: str | None
    switch_zh: str | None
    switch_type: str | None
    group: str | None
    group_zh: str | None
    redundancy: str | None
    load: str | None
    load_zh: str | None
    kilowatts: float | None
    criticality: str | None
    room: str | None
    room_zh: str | None
    path: str | None
    path_zh: str | None


def unit_rows(connection: Connection, site_id: int) -> list[UnitRow]:
    """Return every unit of a site, those that hang on the same things together."""
    with connection.cursor(row_factory=class_row(UnitRow)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.key, d.name, x.status_on_battery AS on_battery, x.observed_at,
                coalesce(f.name, q.name) AS feeder, coalesce(f.name_zh, q.name_zh) AS feeder_zh,
                coalesce(f.substation, q.substation) AS substation,
                s.name AS switch, s.name_zh AS switch_zh, s.switch_type,
                g.name AS "group", g.name_zh AS group_zh, g.redundancy,
                l.name AS load, l.name_zh AS load_zh, l.kilowatts, l.criticality,
                r.name AS room, r.name_zh AS room_zh, p.name AS path, p.name_zh AS path_zh
            FROM device d
            LEFT JOIN visible_device_state x ON x.device_id = d.id
            LEFT JOIN topology_unit u ON u.device_id = d.id AND u.site_id = d.site_id
            LEFT JOIN topology_node f ON f.id = u.feeder_id
            LEFT JOIN topology_node s ON s.id = u.switch_id
            LEFT JOIN topology_node q ON q.id = s.preferred_id
            LEFT JOIN topology_node g ON g.id = u.group_id
            LEFT JOIN topology_node l ON l.id = u.load_id
            LEFT JOIN topology_node r ON r.id = u.room_id
            LEFT JOIN topology_node p ON p.id = u.path_id
            WHERE d.site_id = %s AND d.enabled
            ORDER BY coalesce(f.name, q.name), s.name, g.name, d.name
            """,
            (site_id,),
        ).fetchall()


def sharing(connection: Connection, site_id: int) -> dict[str, list[tuple[int, str, str]]]:
    """Return which other sites the asker sees that hang on the same substations."""
    found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for substation, other_id, name, name_zh in connection.execute(
        """
        SELECT DISTINCT mine.substation, s.id, s.name, s.name_zh FROM topology_node mine
        JOIN topology_node other ON lower(other.substation) = lower(mine.substation)
            AND other.site_id <> mine.site_id
        JOIN site s ON s.id = other.site_id
        WHERE mine.site_id = %s ORDER BY 1, s.name
        """,
        (site_id,),
    ):
        found[substation].append((other_id, name, name_zh))
    return dict(found)
