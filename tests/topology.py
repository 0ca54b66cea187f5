"""A topology entered straight into the database: what hangs on what, for the store's tests."""

import psycopg


def enter(
    dsn: str,
    device_ids: list[int],
    *,
    substation: str | None = None,
    room: str | None = None,
    path: str | None = None,
) -> None:
    """Hang units of one site on a feeder of a substation, in a room, behind a network path."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        site_id = connection.execute(
            "SELECT DISTINCT site_id FROM device WHERE id = ANY(%s)", (device_ids,)
        ).fetchone()[0]
        nodes = {}
        for kind, name in (("feeder", substation), ("room", room), ("path", path)):
            if name is None:
                continue
            nodes[kind] = connection.execute(
                """
                INSERT INTO topology_node (site_id, kind, key, name, name_zh, substation)
                VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
                """,
                (site_id, kind, name, name, name, name if kind == "feeder" else None),
            ).fetchone()[0]
        for device_id in device_ids:
            connection.execute(
                """
                INSERT INTO topology_unit (device_id, site_id, feeder_id, room_id, path_id)
                VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (device_id) DO UPDATE SET feeder_id = excluded.feeder_id,
                    room_id = excluded.room_id, path_id = excluded.path_id
                """,
                (device_id, site_id, *(nodes.get(kind) for kind in ("feeder", "room", "path"))),
            )
