"""The ArangoDB store on a bad day: lost answers, refusals, silence, conflicts. Nothing is lost, nothing done twice."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from s6.store import Document, StoreConflict, StoreError, StoreUnavailable, open_store
from s6.store.arango import ArangoStore
from s6.store.arango_connection import Address, Clients
from tests.contract.histories import T0, alert, insisting, snapshot, transfer
from tests.doubles.arango import ArangoDouble, FaultKind

FAULTS: list[FaultKind] = ["lost answer", "lost request", "hang", "503", "502", "conflict"]
READS: list[FaultKind] = ["lost answer", "lost request", "hang", "503", "502"]
QUERY = "POST .*/_api/cursor"
INSERT = "POST .*/_api/document/.*"


@pytest.fixture
def store(arango_double: ArangoDouble) -> Iterator[ArangoStore]:
    """A store of little patience, so that silence is noticed soon."""
    clients = Clients(Address.from_url(arango_double.url()), connect_s=1.0, read_s=0.3)
    with closing(ArangoStore(clients)) as store:
        store.init()
        yield store


@pytest.mark.parametrize("fault", FAULTS)
def test_snapshots_are_written_once_in_the_end(
    arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind
) -> None:
    batch = [snapshot(seq=seq) for seq in range(1, 7)]
    arango_double.inject(fault, INSERT, times=2)
    with pytest.raises(StoreUnavailable):
        store.write_snapshots(batch)
    with pytest.raises(StoreUnavailable):
        store.write_snapshots(batch)
    store.write_snapshots(batch)
    assert store.snapshots(position_id="p1").items == batch
    with pytest.raises(StoreConflict):
        store.write_snapshots([{**batch[0], "cause": "another"}])


@pytest.mark.parametrize("fault", READS)
def test_finding_out_what_a_repetition_met_may_fail_too(
    arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind
) -> None:
    store.write_snapshots([snapshot()])
    arango_double.inject(fault, QUERY)
    with pytest.raises(StoreUnavailable):
        store.write_snapshots([snapshot(), snapshot(seq=2)])
    store.write_snapshots([snapshot(), snapshot(seq=2)])
    assert len(store.snapshots().items) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_alerts_are_written_in_the_end(arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind) -> None:
    arango_double.inject(fault, QUERY)
    with pytest.raises(StoreUnavailable):
        store.write_alerts([alert("a", severity="FATAL")])
    store.write_alerts([alert("a", severity="FATAL")])
    assert len(store.alerts(standing=True).items) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_transfer_whose_insert_is_in_doubt_is_there_once(
    arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind
) -> None:
    arango_double.inject(fault, INSERT)
    with pytest.raises(StoreUnavailable):
        store.insert_transfer(transfer("t"))
    happened = store.transfer("t") is not None
    assert happened is (fault in ("lost answer", "hang"))
    assert store.insert_transfer(transfer("t")) is not happened
    assert len(store.transfers().items) == 1


@pytest.mark.parametrize("fault", READS)
def test_an_update_in_doubt_is_settled_by_reading(
    arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind
) -> None:
    store.insert_transfer(transfer("t"))
    arango_double.inject(fault, "PUT .*")
    with pytest.raises(StoreUnavailable):
        store.update_transfer("t", expect="PENDING", changes={"status": "APPROVED"})
    known = store.transfer("t")
    assert known is not None and known["status"] == ("APPROVED" if fault in ("lost answer", "hang") else "PENDING")
    again = store.update_transfer("t", expect="PENDING", changes={"status": "APPROVED"})
    assert (again is None) is (known["status"] == "APPROVED")


@pytest.mark.parametrize("fault", ["revision", "conflict"])
def test_an_update_that_met_another_writer_looks_again(
    arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind
) -> None:
    store.insert_transfer(transfer("t"))
    arango_double.inject(fault, "PUT .*", times=3)
    assert store.update_transfer("t", expect="PENDING", changes={"status": "APPROVED"}) == transfer(
        "t", status="APPROVED"
    )
    arango_double.inject(fault, "PUT .*", times=50)
    with pytest.raises(StoreUnavailable, match="in a row"):
        store.update_transfer("t", expect="APPROVED", changes={"status": "EXECUTED"})


@pytest.mark.parametrize("fault", READS)
def test_reads_fail_in_the_stores_own_words(arango_double: ArangoDouble, store: ArangoStore, fault: FaultKind) -> None:
    reads: list[Callable[[], object]] = [store.ping, store.snapshots, store.alerts, store.transfers]
    reads += [lambda: store.transfer("t"), lambda: list(store.latest()), lambda: store.prune(before_ts=T0)]
    for read in reads:
        arango_double.inject(fault)
        with pytest.raises(StoreUnavailable) as caught:
            read()
        assert "pass/word" not in str(caught.value)
        read()


def test_silence_is_not_waited_out(arango_double: ArangoDouble, store: ArangoStore) -> None:
    arango_double.inject("hang")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.ping()
    assert time.monotonic() - started < 5


def test_each_request_is_sent_once(arango_double: ArangoDouble, store: ArangoStore) -> None:
    arango_double.requests.clear()
    arango_double.inject("lost answer", times=9)
    with pytest.raises(StoreUnavailable):
        store.insert_transfer(transfer("t"))
    assert len(arango_double.requests) == 1, "a client that repeats on its own would do things twice"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with ArangoDouble() as double:
        url = double.url()
    with closing(open_store(url)) as store, pytest.raises(StoreUnavailable):
        store.ping()


def test_wrong_credentials_and_a_missing_database_are_waited_for(arango_double: ArangoDouble) -> None:
    with closing(open_store(arango_double.url("absent"))) as store:
        with pytest.raises(StoreUnavailable, match="init-store"):
            store.write_snapshots([snapshot()])
        store.init()
        store.write_snapshots([snapshot()])
    with (
        closing(open_store(f"arango+http://s6:wrong@127.0.0.1:{arango_double.port}/absent")) as store,
        pytest.raises(StoreUnavailable, match="not authorized"),
    ):
        store.snapshots()


@pytest.mark.parametrize("fault", READS)
def test_init_may_be_repeated_wherever_it_broke_off(arango_double: ArangoDouble, fault: FaultKind) -> None:
    with closing(ArangoStore(Clients(Address.from_url(arango_double.url()), read_s=0.3))) as store:
        for request in ("POST .*/database", "POST .*/collection", "POST .*/index"):
            arango_double.inject(fault, request)
            with pytest.raises(StoreUnavailable):
                store.init()
        store.init()
        store.init()
    database = arango_double.databases["history"]
    assert set(database.collections) == {"positions_snapshots", "treasury_transfers", "alerts"}
    indexes = {
        name: [(index["fields"], index["unique"]) for index in each.indexes[1:]]
        for name, each in database.collections.items()
    }
    assert indexes["positions_snapshots"] == [
        (["position_id", "seq"], True),
        (["symbol"], False),
        (["ts"], False),
        (["symbol", "ts"], False),
        (["status", "ts"], False),
    ]
    assert (["transfer_id"], True) in indexes["treasury_transfers"] and (["ts"], False) in indexes["treasury_transfers"]
    assert {index["type"] for each in database.collections.values() for index in each.indexes[1:]} == {"persistent"}


def test_retention_gives_a_time_to_all_but_the_latest_of_an_open_position(arango_double: ArangoDouble) -> None:
    with closing(open_store(arango_double.url(retention_days=2))) as store:
        store.init()
        docs = [snapshot(seq=1), snapshot(seq=2), snapshot("q", 1), snapshot("q", 2, status="CLOSED")]
        store.write_snapshots(docs)
        arango_double.inject("lost answer", QUERY)
        with pytest.raises(StoreUnavailable):
            store.write_snapshots([snapshot(seq=3)])
        store.write_snapshots([snapshot(seq=3)])
        store.write_snapshots(docs)
        assert store.snapshots(position_id="p1").items == [snapshot(seq=seq) for seq in (1, 2, 3)]
    held = arango_double.databases["history"].collections["positions_snapshots"]
    expiring = {key: doc.get("expires_at") for key, doc in held.docs.items()}
    assert expiring["p1-00000003"] is None, "the latest of an open position never expires"
    day = 86_400
    seconds = T0 // 1000
    assert {key: at for key, at in expiring.items() if at is not None} == {
        "p1-00000001": seconds + 1 + 2 * day,
        "p1-00000002": seconds + 2 + 2 * day,
        "q-00000001": seconds + 1 + 2 * day,
        "q-00000002": seconds + 2 + 2 * day,
    }
    assert [index["fields"] for index in held.indexes if index["type"] == "ttl"] == [["expires_at"]]


def test_writers_on_a_bad_line_lose_nothing(arango_double: ArangoDouble, store: ArangoStore) -> None:
    kinds: list[FaultKind] = ["lost answer", "conflict", "503", "lost request", "502"]
    for number in range(25):
        arango_double.inject(kinds[number % 5], INSERT if number % 2 else ".*")
    errors: list[BaseException] = []

    def write(position_id: str) -> None:
        try:
            for seq in range(1, 41, 4):
                batch = [snapshot(position_id, each) for each in range(seq, seq + 4)]
                insisting(lambda batch=batch: store.write_snapshots(batch))  # type: ignore[misc]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"p{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    arango_double.faults.clear()
    for number in range(4):
        expected: list[Document] = [snapshot(f"p{number}", seq) for seq in range(1, 41)]
        assert store.snapshots(position_id=f"p{number}").items == expected


def test_a_fork_makes_its_own_connection(arango_double: ArangoDouble, store: ArangoStore) -> None:
    store.ping()
    child = os.fork()
    if child == 0:
        try:
            store.write_snapshots([snapshot()])
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert store.snapshots().items == [snapshot()]


@pytest.mark.parametrize(
    "url",
    [
        "arango+http://host/db",
        "arango+http://u:p@host",
        "arango+http://u:p@host/a/b",
        "arango+http://u:p@host/db?retention_days=-1",
        "arango+http://u:p@host/db?ttl=3",
        "arango://u:p@host/db",
        "http://u:p@host/db",
        "sqlite://x",
        "sqlite:///",
        "sqlite:///dir/",
        "sqlite:///:memory:",
        "",
    ],
)
def test_a_bad_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        open_store(url)
    assert "u:p" not in str(caught.value)


def test_addresses_are_read_in_full() -> None:
    address = Address.from_url("arango+https://s6:p%40ss%2Fw@[::1]/our%20db?retention_days=30")
    assert address == Address("https://[::1]:8529", "our db", "s6", "p@ss/w", 30)
    assert issubclass(StoreUnavailable, StoreError)
