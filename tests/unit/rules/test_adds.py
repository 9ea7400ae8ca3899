from decimal import Decimal as D
from typing import Any

import pytest

from s6 import rules
from s6.rules import AddDecision, NoAdd


def decide(**changes: Any) -> AddDecision:
    arguments: dict[str, Any] = {
        "roe": D("0.3"),
        "add_on_count": 0,
        "added_qty": D(0),
        "q0": D("0.1"),
        "signal": "LONG",
        "side": "LONG",
        "gate": D("0.3"),
        "cap": 3,
        "gamma": D("0.5"),
        "eta": D("0.8"),
        "step": D("0.001"),
        "min_qty": D("0.001"),
        "min_notional": D(5),
        "mark": D(40000),
    }
    return rules.add_on_decision(**{**arguments, **changes})


def test_adds_shrink_geometrically() -> None:
    assert decide() == AddDecision(D("0.05"), None)
    assert decide(add_on_count=1, added_qty=D("0.05")) == AddDecision(D("0.025"), None)
    # The third would be 0.0125; 0.8 * 0.1 - 0.075 = 0.005 is left.
    assert decide(add_on_count=2, added_qty=D("0.075")) == AddDecision(D("0.005"), None)
    assert decide(add_on_count=2, added_qty=D("0.06")).qty == D("0.012")  # 0.0125 rounded down


def test_a_short_adds_on_a_short_signal() -> None:
    assert decide(side="SHORT", signal="SHORT").qty == D("0.05")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signal": None}, NoAdd.NO_SIGNAL),
        ({"signal": "NONE"}, NoAdd.NO_SIGNAL),
        ({"signal": "SHORT"}, NoAdd.OPPOSITE_SIGNAL),
        ({"side": "SHORT"}, NoAdd.OPPOSITE_SIGNAL),
        ({"roe": D("0.2999999999")}, NoAdd.BELOW_GATE),
        ({"add_on_count": 3}, NoAdd.CAP_REACHED),
        ({"cap": 0}, NoAdd.CAP_REACHED),
        ({"added_qty": D("0.08")}, NoAdd.SUM_REACHED),
        ({"added_qty": D("0.09")}, NoAdd.SUM_REACHED),
        ({"eta": D(0)}, NoAdd.SUM_REACHED),
        ({"added_qty": D("0.0795")}, NoAdd.BELOW_STEP),
        ({"gamma": D(0)}, NoAdd.BELOW_STEP),
        ({"min_qty": D("0.051")}, NoAdd.BELOW_MIN_QTY),
        ({"min_notional": D("2000.01")}, NoAdd.BELOW_MIN_NOTIONAL),
    ],
)
def test_no_add_says_why(changes: dict[str, Any], reason: NoAdd) -> None:
    assert decide(**changes) == AddDecision(D(0), reason)


def test_minima_may_be_met_exactly() -> None:
    assert decide(min_qty=D("0.05"), min_notional=D(2000)).qty == D("0.05")
