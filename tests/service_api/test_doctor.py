"""What the doctor tells of who watches whom."""

from datetime import timedelta

import psycopg
import pytest
from pydantic import SecretStr

from service_api.daemon import ROLES
from service_api.doctor import examine
from service_api.settings import Settings
from tests.cast import START, register


@pytest.fixture
def findings(database):
    register(database.admin_dsn)

    def look(*roles: str, seconds: int = 10) -> dict[str, tuple[bool, str]]:
        settings = Settings(ingest_database_url=SecretStr(database.ingest_dsn))
        found = examine(settings, roles or ROLES, now=START + timedelta(seconds=seconds))
        return {one.what: (one.is_good, one.detail) for one in found}

    return look


@pytest.fixture
def collectors(database):
    def add(group: str, **columns) -> None:
        columns |= {"key": "k", "collector_group": group, "started_at": START, "beat_at": START}
        with psycopg.connect(database.admin_dsn) as admin:
            admin.execute(
                f"INSERT INTO collector ({', '.join(columns)})"
                f" VALUES ({', '.join(['%s'] * len(columns))})",
                list(columns.values()),
            )

    return add


def test_a_group_that_nobody_watches_is_not_well(findings, collectors):
    assert findings()["collectors of default"] == (False, "1 units, last heard of never")
    collectors("default")
    assert findings()["collectors of default"] == (True, "1 units, last heard of 10 s ago")
    assert not findings(seconds=31)["collectors of default"][0]


def test_a_part_of_an_installation_answers_for_itself_alone(findings):
    assert "collectors of default" not in findings("collect")


@pytest.mark.parametrize(
    ("figures", "is_good"),
    [({}, True), ({"skew_seconds": 61.0}, False), ({"spool_dropped": 3}, False)],
)
def test_a_collector_away_tells_of_its_clock_and_its_disk(findings, collectors, figures, is_good):
    collectors("site-3", name="site-3", is_uplink=True, spooled=7, **figures)
    found, detail = findings()["uplink site-3"]
    assert found is is_good
    assert "7 messages wait" in detail
