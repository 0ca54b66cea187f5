"""CI must not pass because the thing under test was not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

SKIPPED_TESTS = """
import pytest
pytestmark = pytest.mark.mosquitto

@pytest.mark.skipif(True, reason="no broker")
def test_skipped_by_a_mark(): ...

@pytest.fixture
def broker(): pytest.skip("no broker")

def test_skipped_by_a_fixture(broker): ...

def test_skipped_inside(): pytest.skip("no broker")
"""
SKIPPED_MODULE = """
import pytest
pytest.importorskip("no_such_module")
"""


def outcome(tests: Path, *, required: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", "pyproject.toml", str(tests)],
        cwd=CHECKOUT,
        env=os.environ | {"RIDETHROUGH_TEST_REQUIRE": required},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.returncode}: {done.stdout.splitlines()[-1].strip('= ').rpartition(' in ')[0]}"


@pytest.mark.parametrize(
    ("text", "required", "expected"),
    [
        (SKIPPED_TESTS, "", "0: 3 skipped"),
        (SKIPPED_TESTS, "chromium captures", "0: 3 skipped"),
        (SKIPPED_TESTS, "chromium mosquitto", "1: 1 failed, 2 errors"),
        (SKIPPED_MODULE, "", "5: 1 skipped"),
        (SKIPPED_MODULE, "mosquitto", "2: 1 error"),
    ],
)
def test_a_skip_fails_where_its_mark_is_required(tmp_path, text, required, expected):
    (tmp_path / "test_these.py").write_text(text)
    assert outcome(tmp_path, required=required) == expected
