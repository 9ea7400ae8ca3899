"""The judge finds each planted violation, and none in a good run."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from s6.paper.faults import Step
from s6.paper.ledger import Ledger
from tests.judge.history import read_ledger
from tests.judge.judge import Bounds, exposure, judge, longest_gap
from tests.unit.paper.floor import Floor, eventually


def kinds(floor: Floor, bounds: Bounds | None = None) -> set[str]:
    return {violation.kind for violation in judge(floor.records(), bounds)}


def cancelled(floor: Floor, client_order_id: str) -> None:
    floor.cancel(client_order_id)
    eventually(lambda: not floor.exchange.orders(live=True) or client_order_id not in live(floor))


def live(floor: Floor) -> set[object]:
    return {order["client_order_id"] for order in floor.exchange.orders(live=True)}


def moved(floor: Floor, old: str, new: str, qty: str, price: str, side: str = "SELL") -> None:
    cancelled(floor, old)
    floor.clock.pass_ms(50)
    assert floor.stop(new, side, qty, price).status == 200


@pytest.fixture
def guarded(floor: Floor) -> Floor:
    """A LONG of 0.3 at 40000, 50 ms later with a stop at 39900."""
    floor.tick("40000")
    floor.signal("LONG", "g0")
    floor.enter("p", "LONG", "0.3", leverage="50")
    floor.clock.pass_ms(50)
    floor.stop("s1", "SELL", "0.3", "39900")
    floor.clock.pass_ms(1_000)
    return floor


def test_a_good_life_has_no_violation(guarded: Floor) -> None:
    guarded.tick("40300")
    moved(guarded, "s1", "s2", "0.3", "40010")
    guarded.order("t1", "TP", "SELL", "0.1")
    moved(guarded, "s2", "s3", "0.2", "40010")
    guarded.order("a1", "ADD", "BUY", "0.15")
    moved(guarded, "s3", "s4", "0.35", "40020")
    assert exposure(guarded.records()) == {
        "FUT": (1, Decimal("0.3") * 40000 / 50 + Decimal("0.15") * 40300 / 50),
        "SPOT": (0, 0),
    }
    guarded.tick("40020")
    guarded.clock.pass_ms(60_000)
    guarded.enter("q", "SHORT", "0.1")
    guarded.stop("s5", "BUY", "0.1", "40100", position_id="q")
    assert judge(guarded.records()) == []
    gap = longest_gap(guarded.records())
    assert gap is not None and gap.length_ms == 50
    assert exposure(guarded.records())["FUT"][0] == 1


def test_a_stop_that_never_came_is_a_gap_with_its_cause(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.clock.pass_ms(1_500)
    floor.enter("other", "LONG", "0.001")
    (violation,) = judge(floor.records())
    assert (violation.kind, violation.position_id) == ("UNPROTECTED", "p")
    assert "after quantity 0 → 0.3" in violation.detail
    assert "1500 ms" in violation.detail


def test_a_stop_for_less_than_is_held_is_no_protection(guarded: Floor) -> None:
    guarded.enter("p", "LONG", "0.3")
    guarded.clock.pass_ms(2_000)
    moved(guarded, "s1", "s2", "0.6", "39900")
    (violation,) = judge(guarded.records())
    assert violation.kind == "UNPROTECTED" and "quantity 0.3 → 0.6" in violation.detail


def test_a_stop_cancelled_and_not_placed_again(guarded: Floor) -> None:
    cancelled(guarded, "s1")
    guarded.clock.pass_ms(3_000)
    guarded.tick("40000")
    guarded.stop("s2", "SELL", "0.3", "39900")
    gap = longest_gap(guarded.records())
    assert gap is not None
    assert (gap.length_ms, gap.cause, gap.qty) == (3_000, "s1 CANCELED", Decimal("0.3"))


def test_a_disturbed_gap_is_measured_from_the_end_of_the_disturbance(guarded: Floor) -> None:
    cancelled(guarded, "s1")
    guarded.ledger.add("note", {"text": "worker killed", "lasts_ms": 0})
    guarded.clock.pass_ms(4_000)
    guarded.stop("s2", "SELL", "0.3", "39900")
    assert kinds(guarded) == set()
    assert kinds(guarded, Bounds(disturbed=3_999)) == {"UNPROTECTED"}
    gap = longest_gap(guarded.records())
    assert gap is not None and gap.notes == ("worker killed",)


def test_a_silent_cancel_disturbs(guarded: Floor) -> None:
    guarded.faults.script("cancel", Step(action="SILENT_CANCELED"))
    cancelled(guarded, "s1")
    guarded.clock.pass_ms(2_100)
    guarded.stop("s2", "SELL", "0.3", "39900")
    assert kinds(guarded) == set()


def test_a_position_too_small_for_a_stop_needs_none(floor: Floor) -> None:
    floor.tick("5000")
    floor.enter("p", "LONG", "0.001")
    floor.clock.pass_ms(10_000)
    floor.tick("5001")
    assert kinds(floor) == set()


def two_stops(floor: Floor) -> None:
    floor.stop("s2", "SELL", "0.3", "39950")


def loosened(floor: Floor) -> None:
    moved(floor, "s1", "s2", "0.3", "39899.9")


def never_resized(floor: Floor) -> None:
    floor.order("t1", "TP", "SELL", "0.1")
    floor.clock.pass_ms(3_001)
    floor.enter("other", "LONG", "0.1")
    floor.stop("s2", "SELL", "0.1", "39900", position_id="other")


def over_closed(floor: Floor) -> None:
    floor.order("t1", "TP", "SELL", "0.1")
    floor.clock.pass_ms(1_001)
    floor.order("x1", "EXIT", "SELL", "0.3")


def closed_twice_at_once(floor: Floor) -> None:
    floor.faults.merge({"exchange": {"fill_delay_ms": 20}})
    floor.order("x1", "EXIT", "SELL", "0.3")
    floor.order("x2", "EXIT", "SELL", "0.3")
    eventually(lambda: "x2" not in live(floor) and "x1" not in live(floor))


def left_over(floor: Floor) -> None:
    floor.order("x1", "EXIT", "SELL", "0.3")
    floor.clock.pass_ms(5_001)
    floor.signal("NONE", "later")


def intent_reused(floor: Floor) -> None:
    for client_order_id in ("x1", "x2"):
        floor.request("s4.orders", {"intent_id": "i", "client_order_id": client_order_id, "position_id": "p"}, {})


def body_changed(floor: Floor) -> None:
    for qty in (1, 2):
        body = {"intent_id": "i", "client_order_id": "x1", "position_id": "p", "qty": qty}
        floor.request("s4.orders", body, {})


def too_many_adds(floor: Floor) -> None:
    for number in (1, 2, 3):
        floor.signal("LONG", f"g{number}")
        floor.order(f"a{number}", "ADD", "BUY", "0.01")
        moved(floor, f"s{number}", f"s{number + 1}", f"0.3{number}", "39900")


def adds_too_large(floor: Floor) -> None:
    floor.order("a1", "ADD", "BUY", "0.241")
    moved(floor, "s1", "s2", "0.541", "39900")


def signal_reused(floor: Floor) -> None:
    for number in (1, 2):
        floor.signal("LONG", "g0")
        floor.signal("SHORT", f"h{number}")
        floor.order(f"a{number}", "ADD", "BUY", "0.01")
        moved(floor, f"s{number}", f"s{number + 1}", f"0.3{number}", "39900")


def too_many_profits(floor: Floor) -> None:
    for number in (1, 2, 3):
        floor.order(f"t{number}", "TP", "SELL", "0.01")


def too_many_reductions(floor: Floor) -> None:
    for number in (1, 2, 3):
        floor.order(f"r{number}", "REDUCE", "SELL", "0.01")


def transfers_overlap(floor: Floor) -> None:
    floor.request("s1.transfer", {"transfer_id": "a"}, {"transfer_id": "a"}, delivered=False, fault="reset_after")
    floor.request("s1.transfer", {"transfer_id": "b"}, {"transfer_id": "b"})


def transfer_changed(floor: Floor) -> None:
    floor.request("s1.transfer", {"transfer_id": "a", "amount": 1}, {"transfer_id": "a"})
    floor.request("s1.transfer", {"transfer_id": "a", "amount": 2}, {"transfer_id": "a"})


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (two_stops, "TWO_STOPS"),
        (loosened, "STOP_LOOSENED"),
        (never_resized, "STOP_NOT_RESIZED"),
        (over_closed, "OVER_CLOSE"),
        (closed_twice_at_once, "OVER_CLOSE"),
        (left_over, "LEFTOVER"),
        (intent_reused, "INTENT_REUSED"),
        (body_changed, "BODY_CHANGED"),
        (too_many_adds, "TOO_MANY_ADDS"),
        (adds_too_large, "ADDS_TOO_LARGE"),
        (signal_reused, "SIGNAL_REUSED"),
        (too_many_profits, "TOO_MANY_TPS"),
        (too_many_reductions, "TOO_MANY_REDUCES"),
        (transfers_overlap, "TRANSFERS_OVERLAP"),
        (transfer_changed, "BODY_CHANGED"),
    ],
)
def test_each_planted_violation_is_found_and_nothing_else(
    guarded: Floor, plant: Callable[[Floor], None], expected: str
) -> None:
    plant(guarded)
    assert kinds(guarded) == {expected}


def test_the_next_life_may_have_a_looser_stop(guarded: Floor) -> None:
    guarded.order("x1", "EXIT", "SELL", "0.3")
    cancelled(guarded, "s1")
    guarded.enter("p", "LONG", "0.1")
    guarded.stop("s2", "SELL", "0.1", "39000")
    assert kinds(guarded) == set()


def test_a_refused_stop_does_not_count_as_one(guarded: Floor) -> None:
    guarded.faults.script("order:SL", Step(action="reject", via="stream", reason="WHATEVER"))
    moved(guarded, "s1", "s2", "0.3", "39950")
    guarded.stop("s3", "SELL", "0.3", "39900")
    assert guarded.statuses("s2") == ["REJECTED"]
    assert kinds(guarded) == set()


def test_a_manual_close_is_nobodys_fault(guarded: Floor) -> None:
    guarded.exchange.close("p", Decimal("0.1"))
    moved(guarded, "s1", "s2", "0.2", "39900")
    assert kinds(guarded) == set()


def test_the_file_says_the_same_as_the_memory(tmp_path: Path, guarded: Floor) -> None:
    path = tmp_path / "ledger.jsonl"
    copy = Ledger(path, clock=guarded.clock)
    two_stops(guarded)
    for record in guarded.records():
        guarded.clock.now = int(str(record["ts"]))
        copy.add(str(record["what"]), {k: v for k, v in record.items() if k not in {"n", "ts", "what"}})
    copy.close()
    with path.open("a") as torn:
        torn.write('{"n": 99, "ts"')
    assert judge(read_ledger(path)) == judge(guarded.records())
