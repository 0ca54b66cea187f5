"""Read and set what is known of a unit's card; customers see none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from collector.patience import Ground, manner, patience_of
from collector.profile import profiles
from service_api.cards.schemas import Card, Patience, PatienceSetting
from service_api.cards.sentence import sentence
from service_api.errors import NotFound
from service_api.language import msg
from service_api.request import Connection


def card(connection: Connection, device_id: int, now: datetime) -> Card | None:
    """Read the card of a unit; None for one that is not polled, and for who may not see it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT d.profile, d.poll_seconds, d.deadline_seconds, d.patience AS fixed,
                coalesce(c.patience, '{}') AS learned, c.engine_id, c.restarted_at,
                c.failing_since_at, c.failure, c.failure_detail,
                (SELECT coalesce(array_agg(o.key ORDER BY o.key), '{}')
                    FROM device_card k JOIN device o ON o.id = k.device_id
                    WHERE k.engine_id = c.engine_id AND o.id <> d.id AND o.enabled) AS same_engine
            FROM device d LEFT JOIN device_card c ON c.device_id = d.id
            WHERE d.id = %s AND d.protocol <> 'mqtt' AND (SELECT is_staff())
            """,
            (device_id,),
        ).fetchone()
    return None if row is None else _card(row, now)


def _card(row: Mapping[str, Any], now: datetime) -> Card:
    learned, fixed = patience_of(row["learned"]), row["fixed"]
    profile = profiles().get(row["profile"] or "")
    ground = Ground(deadline_seconds=row["deadline_seconds"], interval_seconds=row["poll_seconds"])
    if profile is not None:
        ground = Ground(
            objects=profile.read.varbinds,
            deadline_seconds=row["deadline_seconds"],
            interval_seconds=row["poll_seconds"],
        )
    asked = manner(learned, fixed, ground)
    failure, engine_id = row["failure"], row["engine_id"]
    since = row["failing_since_at"]
    return Card(
        patience=Patience(
            asked.objects,
            asked.pause_seconds,
            asked.deadline_seconds,
            max(asked.interval_seconds, row["poll_seconds"]),
            asked.bulk,
        ),
        learned=_known(row["learned"]),
        set=_known(fixed),
        engine_id=None if engine_id is None else bytes(engine_id).hex(),
        same_engine=row["same_engine"] or [],
        restarted_at=row["restarted_at"],
        failing_since_at=since,
        failure=failure,
        failure_detail=row["failure_detail"],
        sentence_en=None if failure is None else sentence("en", failure, since, now),
        sentence_zh=None if failure is None else sentence("zh", failure, since, now),
    )


def _known(kept: Mapping[str, Any]) -> Patience:
    return Patience(
        *(
            kept.get(name)
            for name in ("objects", "pause_seconds", "deadline_seconds", "interval_seconds", "bulk")
        )
    )


def set_patience(connection: Connection, device_id: int, setting: PatienceSetting) -> None:
    """Fix how a unit's card is asked; collectors take it over within seconds."""
    kept = setting.model_dump(exclude_none=True)
    changed = connection.execute(
        "UPDATE device SET patience = %s WHERE id = %s AND protocol <> 'mqtt'",
        (Jsonb(kept), device_id),
    )
    if changed.rowcount != 1:
        raise NotFound(msg("This unit is not polled: it speaks by itself."))
