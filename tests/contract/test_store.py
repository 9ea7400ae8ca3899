"""What every history store must do, whichever it is: SQLite, ArangoDB's double, a live ArangoDB where one is named."""

from __future__ import annotations

import threading
from contextlib import closing
from decimal import Decimal

import pytest

from s6.store import Document, Store, StoreConflict, StoreError, StoreRefused, admin, is_standing, open_store
from tests.contract.conftest import LIVE_URL, STORES
from tests.contract.histories import HOUR, T0, alert, all_snapshots, snapshot, transfer


def keys(docs: list[Document]) -> list[object]:
    return [doc["_key"] for doc in docs]


def ids(docs: list[Document], name: str) -> list[object]:
    return [doc[name] for doc in docs]


@pytest.mark.live
@pytest.mark.skipif(not LIVE_URL, reason="S6_TEST_ARANGO_URL names no ArangoDB server: the contract ran on the double")
def test_the_contract_runs_on_a_live_server() -> None:
    assert "arango-live" in STORES


def test_a_store_is_a_store_and_init_may_be_repeated(store: Store) -> None:
    assert isinstance(store, Store)
    store.write_snapshots([snapshot()])
    store.init()
    store.ping()
    assert keys(store.snapshots().items) == ["p1-00000001"]


def test_a_snapshot_comes_back_as_it_was_written(store: Store) -> None:
    doc = snapshot(realized_pnl_usdt=Decimal("-3.21"), nested={"deep": [None, True, {"text": 'é"\\\n☃'}]}, sl_level=-2)
    store.write_snapshots([doc])
    (found,) = store.snapshots(position_id="p1").items
    assert found == doc
    assert isinstance(found["seq"], int)
    assert isinstance(found["mark"], Decimal)
    assert found["paused"] is False


def test_the_same_batch_again_changes_nothing(store: Store) -> None:
    batch = [snapshot(seq=seq) for seq in range(1, 6)]
    store.write_snapshots(batch[:3])
    store.write_snapshots(batch)
    store.write_snapshots(batch)
    assert ids(all_snapshots(store, limit=2, position_id="p1"), "seq") == [1, 2, 3, 4, 5]
    store.write_snapshots([])


@pytest.mark.parametrize("changes", [{"_key": "other"}, {"mark": Decimal("43000.2")}, {"paused": True}, {"new": None}])
def test_another_document_in_the_same_place_is_a_conflict(store: Store, changes: Document) -> None:
    first = snapshot(seq=7)
    store.write_snapshots([first])
    with pytest.raises(StoreConflict, match="p1 seq 7") as caught:
        store.write_snapshots([snapshot(seq=6), {**first, **changes}, snapshot(seq=8)])
    assert caught.value.conflicts == (("p1", 7),)
    found = store.snapshots(position_id="p1").items
    assert ids(found, "seq") == [6, 7, 8], "the others of the batch are written"
    assert found[1] == first, "the first one stands"


def test_a_key_names_one_snapshot_only(store: Store) -> None:
    store.write_snapshots([snapshot(seq=1)])
    with pytest.raises(StoreConflict) as caught:
        store.write_snapshots([{**snapshot(seq=2), "_key": "p1-00000001"}])
    assert caught.value.conflicts == (("p1", 2),)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"_key": "a b"}, "_key"),
        ({"_key": ""}, "_key"),
        ({"_key": "x" * 255}, "_key"),
        ({"position_id": None}, "position_id"),
        ({"seq": 0}, "seq"),
        ({"seq": True}, "seq"),
        ({"ts": Decimal("1.5")}, "ts"),
        ({"ts": "1"}, "ts"),
        ({"symbol": 3}, "symbol"),
        ({"status": ""}, "status"),
        ({"roe": 0.1}, "float"),
        ({"ladder": [{"roe": Decimal("NaN")}]}, "NaN"),
        ({"when": object()}, "object"),
    ],
)
def test_a_faulty_snapshot_is_refused_by_name_and_nothing_is_written(
    store: Store, changes: Document, named: str
) -> None:
    with pytest.raises(StoreRefused, match=named):
        store.write_snapshots([snapshot(seq=1), {**snapshot(seq=2), **changes}])
    assert store.snapshots().items == []


def test_a_position_reads_by_seq_both_ways_whatever_the_times(store: Store) -> None:
    docs = [snapshot(seq=seq, ts=T0 - seq) for seq in range(1, 8)]
    store.write_snapshots([*docs, snapshot("p2", 1)])
    for limit in (1, 3, 7, 100):
        assert ids(all_snapshots(store, limit=limit, position_id="p1"), "seq") == [1, 2, 3, 4, 5, 6, 7]
        newest = all_snapshots(store, limit=limit, position_id="p1", newest_first=True)
        assert ids(newest, "seq") == [7, 6, 5, 4, 3, 2, 1]
    assert store.snapshots(position_id="p1", symbol="ETHUSDT").items == []
    assert len(store.snapshots(position_id="p1", symbol="BTCUSDT").items) == 7
    assert store.snapshots(position_id="nobody") == ([], None)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 5, 20])
def test_a_symbol_reads_by_time_with_none_missed_or_doubled_among_equals(
    store: Store, limit: int, newest_first: bool
) -> None:
    times = [5, 1, 3, 3, 3, 3, 2, 9, 9]
    docs = [snapshot(f"p{number}", 1, ts=T0 + time) for number, time in enumerate(times)]
    store.write_snapshots([*docs, snapshot("other", 1, symbol="ETHUSDT")])
    found = all_snapshots(store, limit=limit, symbol="BTCUSDT", newest_first=newest_first)
    assert ids(found, "ts") == sorted((T0 + time for time in times), reverse=newest_first)
    assert sorted(map(str, ids(found, "position_id"))) == sorted(f"p{number}" for number in range(len(times)))
    everything = all_snapshots(store, limit=limit, newest_first=newest_first)
    assert len(everything) == len(times) + 1


def test_a_page_holds_at_most_a_thousand_and_a_limit_is_positive(store: Store) -> None:
    for start in range(1, 1102, 551):
        store.write_snapshots([snapshot(seq=seq) for seq in range(start, start + 551)])
    page = store.snapshots(position_id="p1", limit=5000)
    assert len(page.items) == 1000
    rest = store.snapshots(position_id="p1", limit=5000, cursor=page.next_cursor)
    assert len(rest.items) == 102 and rest.next_cursor is None
    with pytest.raises(StoreRefused, match="limit"):
        store.snapshots(limit=0)


@pytest.mark.parametrize("cursor", ["x", "1~", "~1", "-1~a", "1" * 30, "1;DROP", "²~1"])
def test_a_cursor_of_no_list_is_refused(store: Store, cursor: str) -> None:
    for read in (store.alerts, store.transfers, lambda cursor: store.snapshots(position_id="p", cursor=cursor)):
        with pytest.raises(StoreRefused, match="cursor"):
            read(cursor=cursor)


def test_latest_is_every_positions_last_one_in_order(store: Store) -> None:
    docs = [snapshot(f"q{number:04d}", seq) for number in range(1203) for seq in ((1, 2) if number % 3 else (1,))]
    for start in range(0, len(docs), 1000):
        store.write_snapshots(docs[start : start + 1000])
    latest = list(store.latest())
    assert ids(latest, "position_id") == [f"q{number:04d}" for number in range(1203)]
    assert ids(latest, "seq") == [2 if number % 3 else 1 for number in range(1203)]


def test_closed_positions_read_by_their_last_snapshot_newest_first(store: Store) -> None:
    for number in range(1, 8):
        symbol = "ETHUSDT" if number == 3 else "BTCUSDT"
        states = ["OPEN", "CLOSED", "CLOSED"] if number != 5 else ["OPEN", "CLOSED", "OPEN"]  # p5 lives anew
        store.write_snapshots(
            [
                snapshot(f"p{number}", seq, ts=T0 + 100 * number + seq, symbol=symbol, status=status)
                for seq, status in enumerate(states, 1)
            ]
        )
    for limit in (1, 2, 6, 100):
        found: list[Document] = []
        cursor: str | None = None
        while True:
            page = store.closed(limit=limit, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [(doc["position_id"], doc["seq"]) for doc in found] == [(f"p{n}", 3) for n in (7, 6, 4, 3, 2, 1)]
    assert ids(store.closed(symbol="ETHUSDT").items, "position_id") == ["p3"]


def test_alerts_are_replaced_and_an_acknowledgement_stays(store: Store) -> None:
    fatal = alert("a:1", ts=T0 + 1, severity="FATAL")
    store.write_alerts([fatal, alert("b", ts=T0 + 2), alert("c", ts=T0 + 2, severity="ERROR")])
    store.write_alerts([{**fatal, "detail": "again"}])
    assert store.alerts(standing=True).items == [{**fatal, "detail": "again"}]
    acknowledged = {**fatal, "ack": {"by": "eve", "ts": T0 + 5}}
    store.write_alerts([acknowledged])
    store.write_alerts([fatal])
    assert store.alerts(standing=True).items == []
    assert store.alerts(severity="FATAL").items == [acknowledged]
    assert not is_standing(acknowledged) and is_standing({**fatal, "ack": None})
    assert len(store.alerts(standing=False).items) == 3
    assert store.alerts(severity="WARN", standing=True).items == []
    store.write_alerts([alert("d"), alert("d", detail="last")])
    assert store.alerts(severity="WARN").items[-1]["detail"] == "last"
    with pytest.raises(StoreRefused, match="severity"):
        store.write_alerts([{"alert_id": "e", "ts": 1}])


def test_alerts_read_newest_first_page_by_page(store: Store) -> None:
    store.write_alerts([alert(f"a{number}", ts=T0 + number // 3) for number in range(10)])
    found: list[Document] = []
    cursor = None
    while True:
        page = store.alerts(limit=3, cursor=cursor)
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert ids(found, "alert_id") == [f"a{number}" for number in reversed(range(10))]


@pytest.mark.parametrize("transfer_id", ["t-1", "a/b?c#d e", "é☃", "..", "%2F", "=2F", "x" * 400])
def test_a_transfer_is_inserted_once_whatever_its_id(store: Store, transfer_id: str) -> None:
    doc = transfer(transfer_id)
    assert store.transfer(transfer_id) is None
    assert store.insert_transfer(doc) is True
    assert store.insert_transfer({**doc, "amount": 1}) is False
    assert store.transfer(transfer_id) == doc
    assert store.update_transfer(transfer_id, expect="PENDING", changes={"status": "APPROVED"}) is not None


def test_transfers_move_on_by_compare_and_set(store: Store) -> None:
    store.insert_transfer(transfer("t", note={"kept": 1, "by": "x"}))
    approved = store.update_transfer("t", expect=["PENDING"], changes={"status": "APPROVED", "note": {"by": "eve"}})
    assert approved == transfer("t", status="APPROVED", note={"by": "eve"}), "members are replaced, not merged"
    assert store.transfer("t") == approved
    assert store.update_transfer("t", expect="PENDING", changes={"status": "REJECTED"}) is None
    assert store.update_transfer("nobody", expect="PENDING", changes={"status": "REJECTED"}) is None
    executed = store.update_transfer("t", expect={"APPROVED", "PENDING"}, changes={"status": "EXECUTED", "tx_id": None})
    assert executed is not None and executed["tx_id"] is None and store.transfer("t") == executed
    for changes in ({"transfer_id": "u"}, {"amount": 0.5}, {"status": None}):
        with pytest.raises(StoreRefused):
            store.update_transfer("t", expect="EXECUTED", changes=changes)
    assert store.transfer("t") == executed


def test_of_several_deciders_one_wins(store: Store) -> None:
    store.insert_transfer(transfer("t"))
    start = threading.Barrier(8)
    won: list[int] = []

    def decide(number: int) -> None:
        start.wait()
        if store.update_transfer("t", expect="PENDING", changes={"status": "APPROVED", "by": number}) is not None:
            won.append(number)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stands = store.transfer("t")
    assert stands is not None and won == [stands["by"]]


def test_the_keys_of_transfers_and_alerts_are_the_stores_own(store: Store) -> None:
    store.insert_transfer({"_key": "mine", **transfer("t")})
    store.write_alerts([{"_key": "mine", **alert("a")}, {"_key": "mine", **alert("b")}])
    assert store.transfer("t") == transfer("t")
    changed = store.update_transfer("t", expect="PENDING", changes={"_key": "x", "status": "APPROVED"})
    assert changed == transfer("t", status="APPROVED") == store.transfers().items[0]
    assert store.alerts().items == [alert("b"), alert("a")]


def test_a_large_batch_is_one_call(store: Store) -> None:
    docs = [snapshot(f"p{number % 7}", number // 7 + 1) for number in range(2345)]
    store.write_snapshots(docs)
    with pytest.raises(StoreConflict) as caught:
        store.write_snapshots([{**doc, "cause": "another"} if doc["seq"] in (3, 300) else doc for doc in docs])
    assert len(caught.value.conflicts) == 14
    assert sum(1 for _ in store.latest()) == 7


def test_transfers_list_newest_first_by_status(store: Store) -> None:
    for number, status in enumerate(["PENDING", "EXECUTED", "FAILED", "PENDING"]):
        store.insert_transfer(transfer(f"t{number}", ts=T0 + number, status=status))
    assert ids(store.transfers().items, "transfer_id") == ["t3", "t2", "t1", "t0"]
    assert ids(store.transfers(status="PENDING").items, "transfer_id") == ["t3", "t0"]
    page = store.transfers(status=["FAILED", "PENDING"], limit=2)
    assert ids(page.items, "transfer_id") == ["t3", "t2"]
    assert ids(store.transfers(status=["FAILED", "PENDING"], cursor=page.next_cursor).items, "transfer_id") == ["t0"]
    assert store.transfers(status=[]).items == []


def test_prune_keeps_what_still_matters(store: Store) -> None:
    now, old = T0 + 100 * HOUR, T0
    store.write_snapshots(
        [
            *(snapshot("open", seq, ts=old) for seq in (1, 2, 3)),
            *(snapshot("closed", seq, ts=old, status="CLOSED" if seq == 2 else "OPEN") for seq in (1, 2)),
            snapshot("moving", 1, ts=old),
            snapshot("moving", 2, ts=now),
        ]
    )
    standing = alert("standing", ts=old, severity="FATAL")
    acknowledged = alert("acknowledged", ts=old, severity="FATAL", ack={"by": "eve"})
    store.write_alerts([standing, acknowledged, alert("old", ts=old), alert("new", ts=now)])
    for status in ("PENDING", "APPROVED", "EXECUTED", "FAILED", "REJECTED"):
        store.insert_transfer(transfer(status, ts=old, status=status))
    store.insert_transfer(transfer("recent", ts=now, status="EXECUTED"))
    counts = store.prune(before_ts=now)
    assert counts == {"positions_snapshots": 5, "treasury_transfers": 3, "alerts": 2}
    assert [(doc["position_id"], doc["seq"]) for doc in store.latest()] == [("moving", 2), ("open", 3)]
    assert sorted(map(str, ids(store.alerts().items, "alert_id"))) == ["new", "standing"]
    assert ids(store.transfers().items, "transfer_id")[0] == "recent"
    assert sorted(map(str, ids(store.transfers().items, "status"))) == ["APPROVED", "EXECUTED", "PENDING"]
    assert set(store.prune(before_ts=now).values()) == {0}


def test_prune_goes_on_past_many_that_stay(store: Store) -> None:
    docs = [snapshot(f"p{number:04d}", seq, ts=T0 + number) for number in range(1300) for seq in (1, 2)]
    for start in range(0, len(docs), 650):
        store.write_snapshots(docs[start : start + 650])
    assert store.prune(before_ts=T0 + 1290)["positions_snapshots"] == 1290
    assert sum(1 for _ in store.latest()) == 1300


def test_threads_share_a_store(store: Store) -> None:
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for seq in range(1, 21):
                store.write_snapshots([snapshot(f"p{number}", seq)])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [(doc["position_id"], doc["seq"]) for doc in store.latest()] == [(f"p{number}", 20) for number in range(6)]


def test_what_one_has_written_another_reads(store: Store, store_url: str) -> None:
    store.write_snapshots([snapshot()])
    with closing(open_store(store_url)) as other:
        assert other.snapshots().items == [snapshot()]


def test_the_operators_functions(store_url: str) -> None:
    admin.init_store(store_url)
    admin.init_store(store_url)
    with closing(open_store(store_url)) as store:
        store.write_snapshots([snapshot(status="CLOSED")])
        assert admin.prune(store_url, 30) == {"positions_snapshots": 1, "treasury_transfers": 0, "alerts": 0}
        assert store.snapshots().items == []
    with pytest.raises(StoreError, match="older_than_days"):
        admin.prune(store_url, 0)
