"""Cancels, and everything that may become of them."""

import pytest

from s6.paper.faults import Step
from s6.paper.requests import Answer
from tests.unit.paper.floor import Floor, eventually


@pytest.fixture
def guarded(floor: Floor) -> Floor:
    """A LONG of 0.3 at 40000 with a stop at 39900."""
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.stop("s1", "SELL", "0.3", "39900")
    return floor


def status(answer: Answer) -> object:
    assert isinstance(answer.body, dict)
    return answer.body.get("status")


def test_a_cancel_is_pending_then_its_outcome_comes(guarded: Floor) -> None:
    answer = guarded.cancel("s1")
    assert (answer.status, status(answer)) == (202, "CANCEL_PENDING")
    eventually(lambda: guarded.statuses("s1") == ["NEW", "CANCELED"])
    again = guarded.cancel("s1")
    assert (again.status, status(again)) == (409, "CANCELED")


def test_an_unknown_order_cannot_be_cancelled(guarded: Floor) -> None:
    assert guarded.cancel("s9").status == 404
    assert guarded.cancel("s1", position_id="other").status == 404


def test_repeated_cancels_have_one_outcome(guarded: Floor) -> None:
    guarded.faults.merge({"exchange": {"cancel_delay_ms": 30}})
    assert [guarded.cancel("s1").status for _ in range(3)] == [202, 202, 202]
    eventually(lambda: guarded.statuses("s1")[-1] == "CANCELED")
    assert guarded.statuses("s1") == ["NEW", "CANCELED"]


def test_a_stop_hit_while_its_cancel_is_pending_is_filled(guarded: Floor) -> None:
    guarded.faults.merge({"exchange": {"cancel_delay_ms": 30}})
    guarded.cancel("s1")
    guarded.tick("39900")
    assert guarded.statuses("s1") == ["NEW", "FILLED"]
    answer = guarded.cancel("s1")
    assert (answer.status, status(answer)) == (409, "FILLED")


@pytest.mark.parametrize(
    ("outcome", "results", "then", "held"),
    [
        ("CANCELED", ["NEW", "CANCELED"], "CANCELED", "0.3"),
        ("REJECTED", ["NEW", "CANCEL_REJECTED"], "NEW", "0.3"),
        ("SILENT_CANCELED", ["NEW"], "CANCELED", "0.3"),
        ("FILL", ["NEW", "FILLED"], "FILLED", "0"),
        ("PARTIAL_FILL", ["NEW", "CANCELED"], "CANCELED", "0.15"),
    ],
)
def test_scripted_outcomes(guarded: Floor, outcome: str, results: list[str], then: str, held: str) -> None:
    guarded.faults.script("cancel:SL", Step(action=outcome))
    guarded.cancel("s1")
    eventually(lambda: bool(guarded.ledger.records(what="cancel")))
    eventually(lambda: guarded.statuses("s1") == results)
    found = guarded.exchange.find("s1").body
    assert isinstance(found, dict)
    assert found["status"] == then
    assert str(guarded.position()["qty"]).rstrip("0").rstrip(".") in {held, ""}


def test_a_silent_cancel_that_never_happened_can_be_tried_again(guarded: Floor) -> None:
    guarded.faults.script("cancel", Step(action="SILENT_LIVE"))
    guarded.cancel("s1")
    eventually(lambda: bool(guarded.ledger.records(what="cancel")))
    assert guarded.statuses("s1") == ["NEW"]
    assert guarded.cancel("s1").status == 202
    eventually(lambda: guarded.statuses("s1") == ["NEW", "CANCELED"])
