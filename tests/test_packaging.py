"""The wheel alone, in an empty environment outside of the checkout, is the whole product."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("rules", "collector", "device_sims", "service_api", "migrations")
START_SECONDS = 120
STOP_SECONDS = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Path]:
    """A folder outside of the checkout, open to the user whom root's PostgreSQL runs as."""
    made = Path(tempfile.mkdtemp(prefix="rt elsewhere "))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def wheel(elsewhere: Path) -> Path:
    source = elsewhere / "source"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")
    shutil.copytree(CHECKOUT, source, ignore=unwanted)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", elsewhere / "dist", cwd=source)
    (built,) = (elsewhere / "dist").glob("ridethrough-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(elsewhere: Path, wheel: Path) -> Path:
    """The folder of an environment's commands that holds the wheel and what it asks for."""
    run(sys.executable, "-m", "venv", elsewhere / "venv", cwd=elsewhere)
    commands = elsewhere / "venv" / "bin"
    pip = (commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "-c", CHECKOUT / "constraints.txt", f"{wheel}[demo]", cwd=elsewhere)
    return commands


def test_the_wheel_carries_every_file_of_the_packages_and_no_other(wheel):
    expected = {
        str(path.relative_to(CHECKOUT))
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert carried == expected


def test_the_wheel_carries_its_license(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert "Apache License" in archive.read(name).decode()


def test_what_is_installed_is_consistent_and_explains_itself(installed, elsewhere):
    run(installed / "python", "-m", "pip", "check", cwd=elsewhere)
    assert "demo" in run(installed / "ridethrough", "--help", cwd=elsewhere)
    where = run(installed / "python", "-c", "import rules; print(rules.__file__)", cwd=elsewhere)
    assert str(elsewhere) in where


def processes_about(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_demo_starts_from_there_and_leaves_nothing_running(installed, elsewhere):
    data_dir = elsewhere / "demo data"
    command = [installed / "ridethrough", "demo", "--data-dir", data_dir, "--devices", "6"]
    with (elsewhere / "demo.log").open("w") as log:
        demo = subprocess.Popen(
            [*command, "--port", str(free_port())],
            cwd=elsewhere,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    said = (elsewhere / "demo.log").read_text
    try:
        note = data_dir / "demo.json"
        deadline = time.monotonic() + START_SECONDS
        while not note.exists():
            assert demo.poll() is None, said()
            assert time.monotonic() < deadline, said()
            time.sleep(0.1)
        assert note.stat().st_mode & 0o777 == 0o600
        facts = json.loads(note.read_text())
        assert {user["role"] for user in facts["users"]} >= {"dispatcher", "engineer", "customer"}
        assert facts["api_key"]
        with urllib.request.urlopen(f"{facts['url'].rstrip('/')}/readyz", timeout=30) as answer:
            assert answer.status == 200

        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(STOP_SECONDS)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
    assert "Traceback" not in said()
    with (data_dir / "server.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert processes_about(elsewhere) == []
