"""What the nightly job lets go, and what it keeps."""

from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from service_api.retention import KEPT, let_go
from tests.cast import register
from tests.conftest import NOW

ROWS = {
    "outbox": """
        INSERT INTO outbox (at, topic, ref, done_at) VALUES (%(at)s, 'alarm.raised', 1, %(at)s)
        """,
    "job_run": "INSERT INTO job_run (job, due_at, started_at) VALUES ('a', %(at)s, %(at)s)",
    "collector": """
        INSERT INTO collector (key, collector_group, started_at, beat_at)
        VALUES ('a', 'default', %(at)s, %(at)s)
        """,
    "notice": """
        INSERT INTO notice (topic, ref, language, title, body, created_at, dedup_key)
        VALUES ('a', 1, 'en', '', '', %(at)s, %(at)s::text)
        """,
    "user_token": """
        INSERT INTO user_token (token_hash, user_id, kind, created_at, expires_at)
        SELECT convert_to(%(at)s::text, 'UTF8'), id, 'session', %(at)s, %(at)s FROM app_user
        """,
}


@pytest.fixture
def admin(database):
    with psycopg.connect(database.admin_dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def pool(database):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as opened:
        yield opened


def test_each_kind_of_row_goes_after_its_time_and_not_before(admin, pool):
    assert ROWS.keys() == KEPT.keys()
    admin.execute("INSERT INTO app_user (name, password_hash, role) VALUES ('boss', 'x', 'admin')")
    for table, insert in ROWS.items():
        for late in (-1, 1):
            admin.execute(insert, {"at": NOW - KEPT[table] + timedelta(hours=late)})
    let_go(pool, NOW, raw_days=14)
    for table in ROWS:
        assert admin.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table


def test_what_is_not_done_or_never_expires_stays(admin, pool):
    ages_ago = NOW - timedelta(days=5000)
    admin.execute("INSERT INTO app_user (name, password_hash, role) VALUES ('boss', 'x', 'admin')")
    admin.execute("INSERT INTO outbox (at, topic, ref) VALUES (%s, 'a', 1)", (ages_ago,))
    admin.execute(
        "INSERT INTO user_token (token_hash, user_id, kind, created_at)"
        " SELECT 'key', id, 'api_key', %s FROM app_user",
        (ages_ago,),
    )
    let_go(pool, NOW, raw_days=14)
    for table in ("outbox", "user_token"):
        assert admin.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table


def test_the_ingest_role_still_reads_no_token_owner(database):
    register(database.admin_dsn)
    with (
        psycopg.connect(database.ingest_dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT user_id FROM user_token")
