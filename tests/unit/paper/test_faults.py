"""Faults: merged, validated, drawn from one seed, and scripted."""

import pytest

from s6.paper.faults import Faults, Step


def test_nothing_goes_wrong_by_default() -> None:
    faults = Faults()
    verdict = faults.http("s4.orders")
    assert (verdict.action, verdict.latency_ms) == (None, 0)
    assert faults.order("SL") is None
    assert faults.cancel("SL") == (20, "CANCELED")
    assert faults.fill_parts("TP") == 1
    assert faults.result("SL", "NEW") == (None, 0)


def test_odd_figures_and_expiries_come_as_often_as_they_are_told_to() -> None:
    faults = Faults()
    stop = {"kind": "SL", "status": "NEW", "filled_qty": "0"}
    assert (faults.odd(stop), faults.expiry_ms()) == (stop, None)
    faults.merge({"stream": {"odd_rate": 1}, "exchange": {"expire_rate": 1, "expire_ms": 70}})
    assert faults.odd(stop) == {**stop, "leverage": "0", "isolated_margin_usdt": "-0.01"}
    assert faults.expiry_ms() == 70
    entry = {"kind": "ENTRY", "status": "FILLED", "qty": "2", "filled_qty": "2", "liq_price": "900"}
    seen = {tuple(sorted(faults.odd(entry).items() - entry.items())) for _ in range(50)}
    assert seen == {(("liq_price", "-12.5"),), (("filled_qty", "2.0000000000000004"),), (("qty", "0"),)}


def test_a_change_is_laid_over_what_is_in_force() -> None:
    faults = Faults()
    faults.merge({"http": {"s4": {"latency_ms": 5}}, "stream": {"duplicate_rate": 0.5}})
    faults.merge({"http": {"s4": {"error_rate": 1, "error_status": [500]}}})
    verdict = faults.http("s4.cancel")
    assert (verdict.latency_ms, verdict.action, verdict.status) == (5, "error", 500)
    assert faults.plan.stream.duplicate_rate == 0.5
    faults.clear()
    assert faults.http("s4.cancel").action is None


def test_a_routes_own_faults_come_before_its_neighbours() -> None:
    faults = Faults()
    faults.merge({"http": {"s4": {"down": "error"}, "s4.order": {"latency_ms": 1}}})
    assert faults.http("s4.orders").action == "error"
    assert faults.http("s4.order").action is None
    assert faults.http("s1.transfer").action is None


@pytest.mark.parametrize(
    "change",
    [
        {"http": {"s5": {"latency_ms": 5}}},
        {"http": {"s4.nothing": {}}},
        {"http": {"s4": {"latency": 5}}},
        {"stream": {"duplicate_rate": 2}},
        {"exchange": {"reject_via": "mail"}},
        {"surprise": {}},
    ],
)
def test_a_bad_change_changes_nothing(change: dict[str, object]) -> None:
    faults = Faults()
    faults.merge({"http": {"s4": {"latency_ms": 5}}})
    with pytest.raises(ValueError, match=r"no such|validation error"):
        faults.merge(change)
    assert faults.http("s4.orders").latency_ms == 5


def test_scripts_come_first_in_order_and_are_used_up() -> None:
    faults = Faults()
    faults.merge({"exchange": {"cancel_delay_ms": 0}})
    faults.script("s4.orders", Step(action="error", status=429, retry_after_s=0.5, count=2))
    faults.script("s4.orders", Step(action="reset_after"))
    actions = [(v.action, v.status) for v in (faults.http("s4.orders") for _ in range(4))]
    assert actions == [("error", 429), ("error", 429), ("reset_after", 503), (None, 503)]
    faults.script("cancel:SL", Step(action="REJECTED", ms=7))
    assert faults.cancel("TP") == (0, "CANCELED")
    assert faults.pending() == {"cancel:SL": 1}
    assert faults.cancel("SL") == (7, "REJECTED")
    assert faults.cancel("SL") == (0, "CANCELED")


@pytest.mark.parametrize(
    ("place", "action"), [("s4.orders", "explode"), ("nowhere", "error"), ("order:XX", "reject"), ("cancel", "error")]
)
def test_impossible_scripts_are_refused(place: str, action: str) -> None:
    with pytest.raises(ValueError, match=r"no such place|takes one of"):
        Faults().script(place, Step(action=action))


def test_the_same_seed_draws_the_same() -> None:
    def draw(seed: int) -> list[object]:
        faults = Faults(seed=seed)
        faults.merge({"http": {"*": {"error_rate": 0.3, "jitter_ms": 5, "error_status": [500, 503]}}})
        faults.merge({"stream": {"duplicate_rate": 0.3, "reorder_rate": 0.2}, "exchange": {"reject_rate": 0.3}})
        return [(faults.http("s4.orders"), faults.result("SL", "NEW"), faults.order("SL")) for _ in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_rates_are_what_they_say() -> None:
    faults = Faults(seed=1)
    faults.merge({"exchange": {"reject_rate": 0.25, "reject_kinds": ["SL"], "reject_reason": "NO"}})
    refused = [faults.order("SL") for _ in range(2000)]
    assert 400 < sum(r is not None for r in refused) < 600
    assert not any(faults.order("TP") for _ in range(200))
