"""The spool keeps its order, its bound and its promise through kills and torn files."""

import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.spool import FILE, Spool, SpoolBusy

LIMIT = 100_000


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path, limit_bytes=LIMIT)
    yield made
    made.close()


def payloads(spool, after=0):
    return [one.payload for one in spool.after(after, most=10_000)]


def test_messages_come_out_in_the_order_they_went_in(spool):
    spool.put([("a", b"1"), ("b", b"2")])
    spool.put([("a", b"3")])
    first, second, third = spool.after(0, most=10)
    assert [one.topic for one in (first, second, third)] == ["a", "b", "a"]
    assert payloads(spool, first.number) == [b"2", b"3"]
    assert [one.payload for one in spool.after(0, most=2)] == [b"1", b"2"]
    spool.forget(second.number)
    assert payloads(spool) == [b"3"]
    assert len(spool) == 1


def test_what_waits_is_there_after_a_restart_and_numbers_go_on(tmp_path):
    first = Spool(tmp_path, limit_bytes=LIMIT)
    first.put([("a", b"1"), ("a", b"2")])
    number = first.after(0, most=2)[-1].number
    first.forget(number)
    first.note("clock", "1.5")
    first.close()
    second = Spool(tmp_path, limit_bytes=LIMIT)
    second.put([("a", b"3")])
    assert second.after(0, most=1)[0].number > number
    assert second.noted("clock") == "1.5"
    assert second.noted("other") is None
    second.close()


def test_when_it_is_full_the_oldest_make_room_and_are_counted(spool, tmp_path):
    for number in range(500):
        spool.put([("a", b"%05d" % number + bytes(995))])
    kept = payloads(spool)
    assert spool.size <= LIMIT
    assert len(kept) == len(spool) > 80
    assert kept[-1].startswith(b"00499")
    assert [int(one[:5]) for one in kept] == list(range(500 - len(kept), 500))
    assert spool.dropped == 500 - len(kept)
    assert (tmp_path / FILE).stat().st_size < 2 * LIMIT


def test_another_process_is_refused(spool, tmp_path):
    with pytest.raises(SpoolBusy, match=str(tmp_path)):
        Spool(tmp_path, limit_bytes=LIMIT)


def test_a_killed_process_leaves_what_it_was_told_is_kept(tmp_path):
    program = (
        "import sys; from pathlib import Path; from collector.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), limit_bytes=10_000_000)\n"
        "for number in range(1_000_000):\n"
        "    spool.put([('a', b'%d' % number)]); print(number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    told = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    kept = [int(one) for one in payloads(spool)]
    spool.close()
    assert kept[: len(told)] == told
    assert kept == list(range(len(kept)))


def test_a_torn_log_costs_only_what_was_torn(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from collector.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), limit_bytes=100_000)\n"
        "spool.put([('a', b'1')]); spool.put([('a', b'2' * 3_000)])\n"
        "os._exit(0)  # without closing, so that the log is not folded into the file\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    wal = tmp_path / f"{FILE}-wal"
    with wal.open("r+b") as log:
        log.truncate(wal.stat().st_size - 1_000)
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    assert payloads(spool) == [b"1"]
    spool.put([("a", b"3")])
    assert payloads(spool) == [b"1", b"3"]
    spool.close()


def test_a_file_that_is_no_spool_is_put_aside(tmp_path, caplog):
    (tmp_path / FILE).write_bytes(b"not a database, by no means" * 400)
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    spool.put([("a", b"1")])
    assert payloads(spool) == [b"1"]
    assert (tmp_path / f"{FILE}.broken-1").exists()
    assert "put aside" in caplog.text
    spool.close()


def test_a_file_that_breaks_while_it_is_used_is_put_aside(spool, tmp_path, caplog):
    for number in range(20):
        spool.put([("a", b"%03d" % number + bytes(2_000))])
    spool._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._connection.execute("PRAGMA cache_size = 0")
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 60_000)
    assert spool.after(0, most=100) == []
    assert "put aside" in caplog.text
    spool.put([("a", b"1")])
    assert payloads(spool) == [b"1"]


def test_a_full_disk_is_told_and_takes_nothing(spool):
    spool.put([("a", b"1")])
    spool._connection.execute("PRAGMA max_page_count = 4")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        spool.put([("a", bytes(50_000))])
    assert len(spool) == 1
    assert payloads(spool) == [b"1"]
    spool._connection.execute("PRAGMA max_page_count = 1000000")
    spool.put([("a", b"2")])
    assert payloads(spool) == [b"1", b"2"]


@settings(deadline=None, max_examples=30)  # a disk's pace is its own
@given(st.lists(st.binary(max_size=3_000), max_size=60), st.integers(0, 60))
def test_the_figures_tell_what_is_there(tmp_path_factory, contents, forgotten):
    spool = Spool(tmp_path_factory.mktemp("spool"), limit_bytes=20_000)
    for content in contents:
        spool.put([("topic/ü", content)])
    spool.forget(forgotten)
    kept = spool.after(0, most=1_000)
    assert len(spool) == len(kept)
    assert spool.size == sum(len(one.payload) + len("topic/ü".encode()) + 64 for one in kept)
    assert spool.size <= 20_000
    spool.close()
