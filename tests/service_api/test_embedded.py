import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from service_api import embedded
from service_api.embedded import EmbeddedFailed, EmbeddedPostgres
from service_api.embedded_leftover import leftover

DEADLINE_SECONDS = 60
CHECKOUT = Path(__file__).parents[2]

OWNER = textwrap.dedent("""
    import signal, sys
    from pathlib import Path
    from service_api.embedded import EmbeddedFailed, EmbeddedPostgres
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
    try:
        with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as postgres:
            print(postgres.process_id, flush=True)
            try:
                sys.stdin.read()
            except KeyboardInterrupt:
                if "stubborn" in sys.argv:
                    print("interrupted", flush=True)
                    sys.stdin.read()
    except EmbeddedFailed as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
""")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user may enter, as pytest's own is closed to it under root."""
    made = Path(tempfile.mkdtemp(prefix="rt "))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def owners() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start processes that own a data directory; none of them outlives the test."""
    started = []

    def start(data_dir: Path, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir), *arguments],
            cwd=CHECKOUT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def any_server_process(data_dir: Path) -> bool:
    """Whether the postmaster or any of its children lives: each holds the lock."""
    with (data_dir / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def answer(postgres: EmbeddedPostgres, query: str, role: str = "owner") -> object:
    with psycopg.connect(postgres.dsn(role)) as connection:
        return connection.execute(query).fetchone()[0]


def test_it_starts_in_a_path_with_spaces_quotes_and_commas(folder):
    data_dir = folder / "Site 3, \"UPS\" 数据 $HOME 'a'"
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        assert answer(postgres, "SELECT current_user") == "ridethrough_owner"
        assert answer(postgres, "SHOW server_encoding") == "UTF8"
    assert not any_server_process(data_dir)


def test_everything_in_a_new_data_directory_is_closed_to_others(folder):
    with EmbeddedPostgres(folder / "data", durable=False):
        for name, mode in {
            "": 0o700,
            "run": 0o700,
            "postgres": 0o700,
            "secrets.json": 0o600,
            "postgres.log": 0o600,
        }.items():
            assert (folder / "data" / name).stat().st_mode & 0o777 == mode


def test_it_listens_on_no_port_and_asks_for_the_password(folder):
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert answer(postgres, "SHOW listen_addresses") == ""
        for password in ("", "guess"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(postgres.dsn("superuser"), password=password)


def test_the_owner_is_no_superuser_and_may_create_roles(folder):
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        query = "SELECT rolsuper::text || rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert answer(postgres, query) == "falsetrue"


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_only_a_server_for_tests_forgets_commits(folder, durable, expected):
    with EmbeddedPostgres(folder / "data", durable=durable) as postgres:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert answer(postgres, f"SHOW {setting}") == expected


def test_a_second_start_goes_on_with_the_same_rows_and_passwords(folder):
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        before = dict(postgres.secrets)
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert postgres.secrets == before
        assert answer(postgres, "SELECT value FROM kept") == 42


def test_of_two_starts_at_once_one_wins_and_the_other_says_why(folder, owners):
    both = [owners(folder / "data"), owners(folder / "data")]
    until(lambda: any(process.poll() is not None for process in both))
    loser, winner = sorted(both, key=lambda process: process.poll() is None)
    _, complaint = loser.communicate()
    assert loser.returncode == 1
    assert complaint == (
        f"{folder / 'data'} is in use by another ridethrough (process {winner.pid})\n"
    )
    assert lives(int(winner.stdout.readline()))
    winner.communicate()
    assert winner.returncode == 0
    assert not any_server_process(folder / "data")


def test_a_killed_owner_leaves_a_server_that_the_next_owner_replaces(folder, owners):
    first = owners(folder / "data")
    left_behind = int(first.stdout.readline())
    first.kill()
    first.wait()
    assert lives(left_behind)

    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert postgres.process_id != left_behind
        assert answer(postgres, "SELECT 1") == 1
    assert not any_server_process(folder / "data")


def test_a_server_killed_with_its_owner_recovers(folder, owners):
    first = owners(folder / "data")
    server = int(first.stdout.readline())
    first.kill()
    os.kill(server, signal.SIGKILL)
    first.wait()

    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert answer(postgres, "SELECT 1") == 1
    assert not any_server_process(folder / "data")


def test_a_leftover_number_of_somebody_elses_process_is_not_obeyed(folder):
    with EmbeddedPostgres(folder / "data", durable=False):
        pass
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        number_file = folder / "data" / "postgres" / "postmaster.pid"
        number_file.write_text(f"{bystander.pid}\n{folder}\n0\n5432\n{folder}\n\n0 0\nready\n")
        with EmbeddedPostgres(folder / "data", durable=False) as postgres:
            assert answer(postgres, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_somebody_started_by_hand_is_stopped_first(folder):
    postgres = EmbeddedPostgres(folder / "data", durable=False)
    postgres.start()
    command = [postgres._bin / "postgres", "-D", postgres._cluster, "-k", folder / "data" / "run"]
    surroundings = postgres._as_server()
    postgres.stop()
    with subprocess.Popen([*command, "-h", ""], stderr=subprocess.DEVNULL, **surroundings) as other:
        until(lambda: (found := leftover(postgres._cluster)) is not None and found.answers())
        postgres.start()
        try:
            assert other.wait(DEADLINE_SECONDS) == 0
            assert answer(postgres, "SELECT 1") == 1
        finally:
            postgres.stop()


def test_ctrl_c_reaches_the_owner_alone_and_then_nothing_runs(folder, owners):
    owner = owners(folder / "data", "stubborn")
    server = int(owner.stdout.readline())
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.stdout.readline() == "interrupted\n"
    assert lives(server)
    os.killpg(owner.pid, signal.SIGINT)
    owner.wait(DEADLINE_SECONDS)
    assert not any_server_process(folder / "data")


def test_an_interrupted_initialization_is_begun_again(folder):
    half_made = folder / "data" / ".postgres-draft"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert answer(postgres, "SELECT 1") == 1
    assert not half_made.exists()


def test_a_path_too_long_for_a_socket_gets_it_elsewhere_and_cleans_up(folder):
    data_dir = folder / ("long" * 20) / ("path" * 20)
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        elsewhere = Path(
            str(answer(postgres, "SHOW unix_socket_directories", "superuser")).strip('"')
        )
        assert not elsewhere.is_relative_to(data_dir)
        assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert not elsewhere.exists()


def test_a_socket_folder_that_a_killed_owner_left_elsewhere_is_removed(folder, owners):
    data_dir = folder / ("long" * 20) / ("path" * 20)
    owner = owners(data_dir)
    owner.stdout.readline()
    left_behind = Path((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[4])
    owner.kill()
    owner.wait()
    with EmbeddedPostgres(data_dir, durable=False):
        assert not left_behind.exists()


def test_a_data_directory_of_another_postgres_is_refused_in_one_line(folder):
    with EmbeddedPostgres(folder / "data", durable=False):
        pass
    (folder / "data" / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedFailed, match=r"^.* was made by PostgreSQL 17, this is 18: .*$"):
        EmbeddedPostgres(folder / "data", durable=False).start()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(folder):
    with EmbeddedPostgres(folder / "data", durable=False):
        pass
    with (folder / "data" / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    postgres = EmbeddedPostgres(folder / "data", durable=False)
    with pytest.raises(EmbeddedFailed, match=r"^PostgreSQL ended while starting: .*FATAL.*$"):
        postgres.start()
    assert not any_server_process(folder / "data")
    assert postgres.process_id is None


@pytest.mark.parametrize("text", ["{", "{}"])
def test_damaged_secrets_are_not_replaced(folder, text):
    (folder / "data").mkdir()
    (folder / "data" / "secrets.json").write_text(text)
    with pytest.raises(EmbeddedFailed, match=r"secrets.json is damaged \(.*\)"):
        EmbeddedPostgres(folder / "data", durable=False).start()
    assert (folder / "data" / "secrets.json").read_text() == text


def test_a_file_in_place_of_the_data_directory_is_one_line(folder):
    (folder / "data").write_text("")
    with pytest.raises(EmbeddedFailed, match=r"^cannot start PostgreSQL in .*File exists.*$"):
        EmbeddedPostgres(folder / "data").start()


def test_without_the_wheel_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedFailed, match=r"pip install 'ridethrough\[demo\]'"):
        EmbeddedPostgres(folder / "data").start()


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to be")


@root_only
def test_under_root_the_server_is_an_ordinary_users(folder):
    with EmbeddedPostgres(folder / "data", durable=False):
        data = folder / "data"
        assert (data / "postgres").stat().st_uid == data.stat().st_uid != 0
        assert (data / "secrets.json").stat().st_uid == 0


@root_only
def test_under_root_a_closed_parent_folder_is_refused_in_one_line_and_stays_closed(folder):
    folder.chmod(0o700)
    with pytest.raises(EmbeddedFailed, match=r"^root cannot run PostgreSQL itself, .* open to"):
        EmbeddedPostgres(folder / "data", durable=False).start()
    assert folder.stat().st_mode & 0o777 == 0o700


@root_only
def test_under_root_binaries_in_a_closed_folder_are_copied(folder, monkeypatch):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = embedded._installed().parent
    shutil.copytree(package, closed / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, closed / libraries.name)
    install = closed / package.name / embedded._installed().name
    monkeypatch.setattr(embedded, "_installed", lambda: install)
    for _ in range(2):
        with EmbeddedPostgres(folder / "data", durable=False) as postgres:
            assert answer(postgres, "SELECT 1") == 1
