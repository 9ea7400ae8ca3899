"""What SQLite's store promises beyond the common contract: exact digits, durability, several processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from s6.store import Document, Store, StoreError, StoreUnavailable, open_store, sqlite_connection
from s6.store.sqlite import _CLOSED, SqliteStore
from tests.contract.histories import all_snapshots, snapshot, transfer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        yield store


@pytest.mark.parametrize(
    "digits",
    ["0.1", "12345678901234567890.123456789", "-0.00000001", "1E-28", "7", "1E+3", "5.00", "98765432109876543210"],
)
def test_every_digit_is_kept(store: Store, path: Path, digits: str) -> None:
    store.write_snapshots([snapshot(qty=Decimal(digits))])
    store.insert_transfer(transfer("t", amount=Decimal(digits)))
    for doc, name in ((store.snapshots().items[0], "qty"), (store.transfers().items[0], "amount")):
        assert doc[name] == Decimal(digits)
        assert str(doc[name]) == str(Decimal(digits))
    with closing(apsw.Connection(str(path))) as db:
        (text,) = db.execute("SELECT doc FROM positions_snapshots").fetchone() or ("",)
    assert f'"qty":{Decimal(digits)},' in str(text)


def test_a_relative_path_and_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///var/s6%20x.db")) as store:
        store.init()
    assert (tmp_path / "var" / "s6 x.db").is_file()


def test_the_indexes_are_those_of_the_contract(store: Store, path: Path) -> None:
    store.init()
    with closing(apsw.Connection(str(path))) as db:
        found = {
            (tuple(str(row[2]) for row in db.execute(f"PRAGMA index_info('{name}')")), bool(unique))
            for _, name, unique, *_ in db.execute("PRAGMA index_list('positions_snapshots')").fetchall()
        }
        assert db.pragma("journal_mode") == "wal"
    assert found >= {
        (("symbol",), False),
        (("ts",), False),
        (("symbol", "ts"), False),
        (("position_id", "seq"), True),
        (("key",), True),
    }


def write_until_killed(url: str, position_id: str, report: int) -> None:
    """A process that writes batch after batch, and says so after each."""
    store = open_store(url)
    seq = 1
    while True:
        store.write_snapshots([snapshot(position_id, number) for number in range(seq, seq + 20)])
        seq += 20
        os.write(report, (seq - 1).to_bytes(4, "big"))


def test_what_was_confirmed_survives_sigkill(store: Store, path: Path) -> None:
    url = f"sqlite:///{path}"
    children: dict[int, tuple[str, int]] = {}
    for number in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                write_until_killed(url, f"p{number}", writing)
            os._exit(1)
        os.close(writing)
        children[child] = (f"p{number}", reading)
    confirmed = {}
    for child, (position_id, reading) in children.items():
        said = b""
        while len(said) < 4 * 5:
            said += os.read(reading, 4)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        while more := os.read(reading, 4096):
            said += more
        os.close(reading)
        confirmed[position_id] = int.from_bytes(said[-4:], "big")
    for position_id, seq in confirmed.items():
        found = [doc["seq"] for doc in all_snapshots(store, limit=500, position_id=position_id)]
        assert found == list(range(1, len(found) + 1))
        assert seq <= len(found) <= seq + 20 and len(found) % 20 == 0, "whole batches, all that was confirmed"
    with closing(apsw.Connection(str(path))) as db:
        assert db.pragma("integrity_check") == "ok"


def test_processes_that_start_together_on_nothing(path: Path) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                store = open_store(f"sqlite:///{path}")
                for seq in range(1, 11):
                    store.write_snapshots([snapshot(f"p{number}", seq)])
                status = 0
            os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert [doc["seq"] for doc in store.latest()] == [10] * 4


def test_a_child_leaves_its_parents_connection_alone(store: Store) -> None:
    store.write_snapshots([snapshot(seq=1)])
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            store.write_snapshots([snapshot(seq=2)])
            store.close()
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    store.write_snapshots([snapshot(seq=3)])
    assert [doc["seq"] for doc in store.snapshots(position_id="p1").items] == [1, 2, 3]


def test_ended_threads_do_not_pile_up_open_files(store: Store, path: Path) -> None:
    def open_files() -> int:
        return sum(
            os.path.realpath(f"/proc/self/fd/{each}").startswith(str(path)) for each in os.listdir("/proc/self/fd")
        )

    store.ping()
    before = open_files()
    for _ in range(20):
        thread = threading.Thread(target=store.ping)
        thread.start()
        thread.join()
    assert 0 < before <= open_files() <= 3 * before


def test_a_writer_that_holds_on_makes_others_wait_not_fail_for_good(path: Path) -> None:
    with closing(SqliteStore(path, busy_timeout_ms=200)) as store:
        store.init()
        db = apsw.Connection(str(path))
        db.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.write_snapshots([snapshot()])
        assert 0.15 < time.monotonic() - started < 3
        assert store.snapshots().items == [], "readers do not wait"
        db.execute("COMMIT")
        db.close()
        store.write_snapshots([snapshot()])


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "x.db"):
        with closing(SqliteStore(bad)) as store, pytest.raises(StoreUnavailable):
            store.ping()
    (tmp_path / "text.db").write_text("no database at all, " * 100)
    with closing(SqliteStore(tmp_path / "text.db")) as store, pytest.raises(StoreError):
        store.ping()


def test_a_newer_schema_and_an_older_sqlite_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SqliteStore(path)) as store:
        store.init()
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA user_version = 99")
    with closing(SqliteStore(path)) as store, pytest.raises(StoreError, match="newer"):
        store.ping()
    monkeypatch.setattr(sqlite_connection, "OLDEST_SQLITE", 9_000_000)
    with pytest.raises(StoreError, match=r"3\.51\.3"):
        SqliteStore(path)


def test_lists_read_by_their_indexes(store: Store, path: Path) -> None:
    store.init()
    plans: Document = {
        "symbol = 'X' AND TRUE ORDER BY ts DESC, id DESC": "snapshots_symbol_ts",
        "symbol = 'X' AND ts <= 5 AND (ts < 5 OR id < 3) ORDER BY ts DESC, id DESC": "snapshots_symbol_ts",
        "ts >= 5 AND (ts > 5 OR id > 3) ORDER BY ts ASC, id ASC": "snapshots_ts",
        "position_id = 'X' AND seq > 5 ORDER BY seq ASC": "snapshots_position_id_seq",
    }
    with closing(apsw.Connection(str(path))) as db:
        for where, index in plans.items():
            sql = f"EXPLAIN QUERY PLAN SELECT doc FROM positions_snapshots WHERE {where} LIMIT 100"
            plan = [str(row[3]) for row in db.execute(sql)]
            assert len(plan) == 1 and f"USING INDEX {index} (" in plan[0], "no sorting, no scan"


def test_closed_positions_are_read_along_an_index_of_their_own(store: Store, path: Path) -> None:
    store.init()
    with closing(apsw.Connection(str(path))) as db:
        sql = f"EXPLAIN QUERY PLAN SELECT doc FROM positions_snapshots WHERE {_CLOSED} TRUE ORDER BY ts DESC, id DESC"
        plan = [str(row[3]) for row in db.execute(f"{sql} LIMIT 100")]
    assert plan[0] == "SCAN positions_snapshots USING INDEX snapshots_closed"
    assert not any("TEMP B-TREE" in step for step in plan)
    assert any("SEARCH later USING" in step and "snapshots_position_id_seq" in step for step in plan)
