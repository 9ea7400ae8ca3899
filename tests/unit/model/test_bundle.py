"""The Active Bundle: defaults, overrides per symbol, exact numbers, and every fault named."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from s6.model.bundle import ActiveBundle, BundleError, LockStep, parse_bundle

FULL = """
{"version": "b-0007",
 "fut": {
  "stop": {"k_by_regime": {"LOW": 1.5, "NORMAL": 2.0, "HIGH": 3.0}, "default_regime": "NORMAL", "fallback_pct": 0.02,
           "anchor": "ENTRY", "lock_steps": [{"roe": 0.5, "lock_roe": 0.2}, {"roe": 1.0, "lock_roe": 0.6}],
           "liq_clearance": 0.005, "min_move_bps": 0, "min_interval_s": 0},
  "tp_ladder": [{"roe": 0.8, "fraction": 0.33}, {"roe": 1.5, "fraction": 0.5}],
  "add_on": {"roe_gate": 0.3, "cap": 3, "gamma": 0.5, "eta": 0.8, "signal_ttl_s": 60},
  "risk": {"lb_min": 0.05, "reduce_fraction": 0.5, "lb_exit": 0.02, "cooldown_s": 30, "max_reduces": 3},
  "stagnation": {"after_s": 21600, "abs_roe_below": 0.05}},
 "spot": {"guard": {"k_atr": 2.0, "fallback_pct": 0.05, "lock_steps": [{"roe": 0.1, "lock_roe": 0.03}]},
          "tp_ladder": [], "stagnation": {"after_s": 86400, "abs_roe_below": 0.02}},
 "symbols": {"BTCUSDT": {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004",
                         "fut": {}, "spot": {}}},
 "limits": {"fut_budget": null, "spot_budget": null, "adds_in_flight": 10},
 "treasury": {"mode": "SEMI", "asset": "USDT", "min_free_fut": 500, "spot_buffer": 200, "max_transfer": 10000,
              "cooldown_s": 300},
 "execution": {"cancel_wait_ms": 2000, "breach_grace_ms": 2000,
               "retry": {"base_ms": 100, "cap_ms": 5000, "attempts": 6}},
 "health": {"market_stale_ms": 5000, "poll_interval_s": 2}}
"""
MINIMAL = '{"version": "b-1", "symbols": {"BTCUSDT": {}}}'


def bundle_with(**members: Any) -> ActiveBundle:
    return parse_bundle(json.dumps({"version": "b-1", "symbols": {"BTCUSDT": {}}, **members}))


def faults_of(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(BundleError) as refused:
        parse_bundle(text)
    assert str(refused.value) == "; ".join(refused.value.faults)
    return refused.value.faults


def faults_with(**members: Any) -> tuple[str, ...]:
    return faults_of(json.dumps({"version": "b-1", "symbols": {"BTCUSDT": {}}, **members}))


def test_full_bundle_reads_as_written() -> None:
    bundle = parse_bundle(FULL)
    fut, spot = bundle.fut("BTCUSDT"), bundle.spot("BTCUSDT")
    assert fut is not None and spot is not None
    assert bundle.version == "b-0007"
    assert fut.stop.lock_steps[1] == LockStep(roe=Decimal("1.0"), lock_roe=Decimal("0.6"))
    assert fut.add_on is not None and (fut.add_on.cap, fut.add_on.signal_ttl_ms) == (3, 60_000)
    assert [rung.fraction for rung in fut.tp_ladder] == [Decimal("0.33"), Decimal("0.5")]
    assert spot.guard.lock_steps[0].lock_roe == Decimal("0.03")
    assert bundle.limits.fut_budget is None and bundle.limits.adds_in_flight == 10
    assert bundle.execution.retry.attempts == 6
    assert parse_bundle(FULL.encode()) == bundle


def test_all_that_is_absent_is_as_in_the_full_bundle_but_steps_rungs_and_adds_are_off() -> None:
    full, minimal = json.loads(FULL), parse_bundle(MINIMAL)
    for off, section in (("lock_steps", full["fut"]["stop"]), ("tp_ladder", full["fut"]), ("add_on", full["fut"])):
        del section[off]
    del full["spot"]["guard"]["lock_steps"]
    full["version"] = "b-1"
    assert minimal == parse_bundle(json.dumps(full))
    fut = minimal.fut("BTCUSDT")
    assert fut is not None and fut.stop.lock_steps == () and fut.tp_ladder == () and fut.add_on is None


@pytest.mark.parametrize("empty", [{"fut": {}}, {"fut": {"stop": {}, "risk": {}}, "spot": {"guard": {}}}])
def test_empty_sections_hold_the_defaults(empty: dict[str, Any]) -> None:
    assert bundle_with(**empty) == parse_bundle(MINIMAL)


def test_a_partial_add_on_is_on_with_defaults_and_null_is_off() -> None:
    partial = bundle_with(fut={"add_on": {"cap": 1}}).fut("BTCUSDT")
    assert partial is not None and partial.add_on is not None
    assert (partial.add_on.cap, partial.add_on.gamma) == (1, Decimal("0.5"))
    off = bundle_with(fut={"add_on": None, "tp_ladder": None, "stop": {"lock_steps": None}}).fut("BTCUSDT")
    assert off is not None and (off.add_on, off.tp_ladder, off.stop.lock_steps) == (None, (), ())


def test_a_symbols_own_rules_merge_objects_and_replace_lists_and_values() -> None:
    document = json.loads(FULL)
    document["symbols"]["ETHUSDT"] = {
        "fut": {
            "stop": {"k_by_regime": {"HIGH": 9, "WILD": 11}, "lock_steps": [{"roe": 2, "lock_roe": 1}]},
            "add_on": None,
            "risk": {"lb_exit": "0.03"},
        },
        "spot": {"guard": {"anchor": "BEST"}},
    }
    bundle = parse_bundle(json.dumps(document))
    eth, btc, eth_spot = bundle.fut("ETHUSDT"), bundle.fut("BTCUSDT"), bundle.spot("ETHUSDT")
    assert eth is not None and btc is not None and eth_spot is not None
    assert dict(eth.stop.k_by_regime) == {
        "LOW": Decimal("1.5"),
        "NORMAL": Decimal(2),
        "HIGH": Decimal(9),
        "WILD": Decimal(11),
    }
    assert [step.roe for step in eth.stop.lock_steps] == [Decimal(2)]
    assert eth.add_on is None and btc.add_on is not None
    assert (eth.risk.lb_exit, eth.risk.lb_min) == (Decimal("0.03"), Decimal("0.05"))
    assert eth.tp_ladder == btc.tp_ladder and btc == bundle.general_fut
    assert eth_spot.guard.anchor == "BEST" and eth_spot.guard.lock_steps[0].roe == Decimal("0.1")


def test_a_symbols_regime_merges_with_the_default_regimes_when_the_general_ones_are_absent() -> None:
    fut = bundle_with(symbols={"BTCUSDT": {"fut": {"stop": {"k_by_regime": {"HIGH": 4}}}}}).fut("BTCUSDT")
    assert fut is not None
    assert fut.stop.k_for("LOW") == (Decimal("1.5"), True)
    assert fut.stop.k_for("HIGH") == (Decimal(4), True)


def test_a_symbol_may_turn_on_what_is_off_in_general() -> None:
    own = {"fut": {"add_on": {"cap": 2}, "tp_ladder": [{"roe": 1, "fraction": 1}]}, "spot": None}
    fut = bundle_with(symbols={"BTCUSDT": own}).fut("BTCUSDT")
    assert fut is not None and fut.add_on is not None and fut.add_on.cap == 2 and len(fut.tp_ladder) == 1


def test_an_unknown_regime_is_governed_by_the_default_one_and_said_to_be_unknown() -> None:
    bundle = parse_bundle(MINIMAL)
    fut = bundle.fut("BTCUSDT")
    assert fut is not None
    assert fut.stop.k_for("WILD") == (Decimal("2.0"), False)
    assert fut.stop.k_for(None) == (Decimal("2.0"), True)
    assert bundle.knows_regime("BTCUSDT", "HIGH") and not bundle.knows_regime("BTCUSDT", "WILD")
    assert bundle.knows_regime("NOSUCH", "LOW")


def test_the_guard_has_one_multiplier_unless_it_has_regimes() -> None:
    one = bundle_with(spot={"guard": {"k_atr": "2.5"}}).spot("BTCUSDT")
    several = bundle_with(spot={"guard": {"k_by_regime": {"NORMAL": 2, "HIGH": 4}}}).spot("BTCUSDT")
    assert one is not None and several is not None
    assert one.guard.k_for("WILD") == (Decimal("2.5"), True)
    assert several.guard.k_for("HIGH") == (Decimal(4), True)
    assert several.guard.k_for("WILD") == (Decimal(2), False)


def test_a_symbols_one_multiplier_overrides_inherited_regimes_of_the_guard() -> None:
    bundle = bundle_with(
        spot={"guard": {"k_by_regime": {"NORMAL": 2}, "fallback_pct": 0.1}},
        symbols={"BTCUSDT": {"spot": {"guard": {"k_atr": 7}}}, "ETHUSDT": {}},
    )
    own, inherited = bundle.spot("BTCUSDT"), bundle.spot("ETHUSDT")
    assert own is not None and inherited is not None
    assert own.guard.k_for("NORMAL") == (Decimal(7), True) and own.guard.fallback_pct == Decimal("0.1")
    assert inherited.guard.k_for("NORMAL") == (Decimal(2), True)


def test_an_unknown_symbol_has_no_rules() -> None:
    assert parse_bundle(MINIMAL).fut("ETHUSDT") is None
    assert parse_bundle(MINIMAL).spot("ETHUSDT") is None


@given(st.decimals(min_value="0.000000000000000001", max_value="99999999", places=18))
def test_numbers_are_read_by_their_text_whether_number_or_string(number: Decimal) -> None:
    written = f"{number:f}"
    for text in (written, f'"{written}"'):
        bundle = parse_bundle('{"version": "v", "symbols": {"AA": {"min_notional": ' + text + "}}}")
        assert bundle.symbols["AA"].min_notional == number


def test_numbers_with_exponents_become_plain() -> None:
    bundle = parse_bundle('{"version": "v", "symbols": {"AA": {"tick": 1E-1, "min_qty": 2e2, "min_notional": 0e9}}}')
    spec = bundle.symbols["AA"]
    assert [str(n) for n in (spec.tick, spec.min_qty, spec.min_notional)] == ["0.1", "200", "0"]


def test_durations_may_be_fractions_of_a_second() -> None:
    bundle = bundle_with(
        fut={"stop": {"min_interval_s": 0.5}, "risk": {"cooldown_s": "0.25"}, "stagnation": {"after_s": 1.5}},
        treasury={"cooldown_s": 0.1},
        health={"poll_interval_s": 0.2},
    )
    fut = bundle.fut("BTCUSDT")
    assert fut is not None
    assert (fut.stop.min_interval_ms, fut.risk.cooldown_ms, fut.stagnation.after_ms) == (500, 250, 1500)
    assert (bundle.treasury.cooldown_ms, bundle.health.poll_interval_ms) == (100, 200)


def test_a_bundle_never_changes() -> None:
    bundle = parse_bundle(FULL)
    with pytest.raises(ValidationError):
        bundle.version = "other"
    with pytest.raises(TypeError):
        bundle.symbols["XX"] = bundle.symbols["BTCUSDT"]  # type: ignore[index]
    with pytest.raises(TypeError):
        bundle.general_fut.stop.k_by_regime["LOW"] = Decimal(1)  # type: ignore[index]


def test_a_bundle_can_be_shared_hashed_and_pickled() -> None:
    bundle = parse_bundle(FULL)
    assert hash(bundle) == hash(parse_bundle(FULL))
    assert pickle.loads(pickle.dumps(bundle)) == bundle == copy.deepcopy(bundle)


def test_unknown_members_are_ignored_anywhere() -> None:
    unknown = bundle_with(
        colour="red", fut={"stop": {"x": None}, "y": 1}, symbols={"BTCUSDT": {"base": "BTC", "fut": {"z": []}}}
    )
    assert unknown == parse_bundle(MINIMAL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        b"\xff\xfe\x00",
        '{"version": "v", "symbols": {}, "x": NaN}',
        '{"version": "v", "symbols": {}, "x": -Infinity}',
        '{"version": "v", "symbols": {}, "x": 1e99999999999999999999999}',
        "[" * 100_000,
        "[]",
        "null",
        '"text"',
    ],
)
def test_what_is_no_json_object_is_one_fault(text: str | bytes) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith("bundle: must be")


def test_version_and_symbols_are_required() -> None:
    assert faults_of("{}") == ("version: must be present", "symbols: must be present")


FUT_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"stop": {"k_by_regime": {"NORMAL": -1}}}, "stop.k_by_regime.NORMAL = -1: must be a number >= 0"),
    ({"stop": {"k_by_regime": {"LOW": 1}}}, 'stop.default_regime = "NORMAL": must be one of the regimes LOW'),
    (
        {"stop": {"default_regime": "WILD"}},
        'stop.default_regime = "WILD": must be one of the regimes HIGH, LOW, NORMAL',
    ),
    ({"stop": {"k_by_regime": {}}}, 'stop.default_regime = "NORMAL": must be one of the regimes (there are none)'),
    ({"stop": {"fallback_pct": 1}}, "stop.fallback_pct = 1: must be a number > 0 and < 1"),
    ({"stop": {"fallback_pct": True}}, "stop.fallback_pct = true: must be a number > 0 and < 1"),
    ({"stop": {"fallback_pct": None}}, "stop.fallback_pct = null: must be a number > 0 and < 1"),
    ({"stop": {"fallback_pct": "1e-2 "}}, 'stop.fallback_pct = "1e-2 ": must be a number > 0 and < 1'),
    ({"stop": {"anchor": "LAST"}}, "stop.anchor = \"LAST\": must be 'ENTRY' or 'BEST'"),
    (
        {"stop": {"lock_steps": [{"roe": 1, "lock_roe": 0}, {"roe": "0.5", "lock_roe": 0}]}},
        "stop.lock_steps[1].roe = 0.5: must be above the roe 1 before it",
    ),
    (
        {"stop": {"lock_steps": [{"roe": 1, "lock_roe": 0}, {"roe": 1, "lock_roe": 0}]}},
        "stop.lock_steps[1].roe = 1: must be above the roe 1 before it",
    ),
    ({"stop": {"lock_steps": [{"roe": 1, "lock_roe": 1}]}}, "stop.lock_steps[0].lock_roe = 1: must be below"),
    ({"stop": {"lock_steps": [{"roe": 1}]}}, "stop.lock_steps[0].lock_roe: must be present"),
    ({"stop": {"lock_steps": {"roe": 1}}}, "stop.lock_steps: must be a list"),
    ({"stop": {"liq_clearance": "0.02"}}, "risk.lb_exit = 0.02: must be above stop.liq_clearance 0.02"),
    ({"stop": {"min_move_bps": -1}}, "stop.min_move_bps = -1: must be a number >= 0"),
    ({"stop": []}, "stop: must be an object"),
    ({"tp_ladder": [{"roe": 1, "fraction": 0}]}, "tp_ladder[0].fraction = 0: must be a number > 0 and <= 1"),
    ({"tp_ladder": [{"roe": 1, "fraction": "1.01"}]}, 'tp_ladder[0].fraction = "1.01": must be a number > 0 and <= 1'),
    (
        {"tp_ladder": [{"roe": 2, "fraction": 1}, {"roe": 1, "fraction": 1}]},
        "tp_ladder[1].roe = 1: must be above the roe 2 before it",
    ),
    ({"add_on": {"gamma": 1}}, "add_on.gamma = 1: must be a number > 0 and < 1"),
    ({"add_on": {"gamma": 0}}, "add_on.gamma = 0: must be a number > 0 and < 1"),
    ({"add_on": {"eta": -1}}, "add_on.eta = -1: must be a number >= 0"),
    ({"add_on": {"cap": -1}}, "add_on.cap = -1: must be a whole number >= 0"),
    ({"add_on": {"cap": "1.5"}}, 'add_on.cap = "1.5": must be a whole number >= 0'),
    ({"risk": {"lb_min": 1}}, "risk.lb_min = 1: must be a number >= 0 and < 1"),
    ({"risk": {"lb_exit": "0.05"}}, 'risk.lb_exit = "0.05": must be below lb_min 0.05'),
    ({"risk": {"lb_exit": 0}}, "risk.lb_exit = 0: must be above stop.liq_clearance 0.005"),
    ({"risk": {"reduce_fraction": 0}}, "risk.reduce_fraction = 0: must be a number > 0 and <= 1"),
    ({"risk": {"max_reduces": -1}}, "risk.max_reduces = -1: must be a whole number >= 0"),
    ({"stagnation": {"after_s": "soon"}}, 'stagnation.after_s = "soon": must be a number >= 0'),
]


@pytest.mark.parametrize(("rules", "expected"), FUT_FAULTS)
def test_a_fault_in_the_futures_rules_is_named(rules: dict[str, Any], expected: str) -> None:
    (general,) = faults_with(fut=rules)
    assert general.startswith(f"fut.{expected}")


def _survives_merging(rules: dict[str, Any]) -> bool:
    """Too few regimes are no fault of an override: they merge with the general ones."""
    stop = rules.get("stop")
    return not isinstance(stop, dict) or stop.get("k_by_regime", {"NORMAL": 1}).keys() == {"NORMAL"}


@pytest.mark.parametrize(("rules", "expected"), [row for row in FUT_FAULTS if _survives_merging(row[0])])
def test_a_fault_in_a_symbols_own_rules_is_named(rules: dict[str, Any], expected: str) -> None:
    (own,) = faults_with(symbols={"BTCUSDT": {}, "ETHUSDT": {"fut": rules}})
    assert own.startswith(f"symbols.ETHUSDT.fut.{expected}")


OTHER_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"version": ""}, "version"),
    ({"version": 7}, "version = 7: must be a string"),
    ({"symbols": []}, "symbols: must be an object"),
    ({"symbols": {"btc": {}}}, 'symbols.btc = "btc": must match ^[A-Z0-9]{2,24}$'),
    ({"symbols": {"BTC\n": {}}}, "symbols.BTC"),
    ({"symbols": {"AA": 1}}, "symbols.AA = 1: must be an object"),
    ({"symbols": {"AA": {"tick": 0}}}, "symbols.AA.tick = 0: must be a number > 0"),
    ({"symbols": {"AA": {"step": "-1"}}}, 'symbols.AA.step = "-1": must be a number > 0'),
    ({"symbols": {"AA": {"min_qty": "NaN"}}}, 'symbols.AA.min_qty = "NaN": must be a number >= 0'),
    ({"symbols": {"AA": {"min_notional": "1e30"}}}, 'symbols.AA.min_notional = "1e30": must be a number >= 0'),
    ({"symbols": {"AA": {"mmr": 1}}}, "symbols.AA.mmr = 1: must be a number >= 0 and < 1"),
    ({"spot": {"guard": {"k_atr": -1}}}, "spot.guard.k_atr = -1: must be a number >= 0"),
    ({"spot": {"guard": {"k_by_regime": {"LOW": 1}}}}, "spot.guard.default_regime"),
    ({"spot": {"tp_ladder": [{"roe": 1, "fraction": 2}]}}, "spot.tp_ladder[0].fraction = 2"),
    ({"limits": {"fut_budget": -1}}, "limits.fut_budget = -1: must be a number >= 0"),
    ({"limits": {"adds_in_flight": 0.5}}, "limits.adds_in_flight = 0.5: must be a whole number >= 0"),
    ({"treasury": {"mode": "MANUAL"}}, "treasury.mode = \"MANUAL\": must be 'AUTO' or 'SEMI'"),
    ({"treasury": {"max_transfer": -1}}, "treasury.max_transfer = -1: must be a number >= 0"),
    ({"execution": {"cancel_wait_ms": 0}}, "execution.cancel_wait_ms = 0: must be a whole number >= 1"),
    ({"execution": {"retry": {"attempts": 0}}}, "execution.retry.attempts = 0: must be a whole number >= 1"),
    ({"execution": {"retry": {"base_ms": 9, "cap_ms": 8}}}, "execution.retry.cap_ms = 8: must be at least base_ms 9"),
    ({"health": {"market_stale_ms": 0}}, "health.market_stale_ms = 0: must be a whole number >= 1"),
    ({"health": {"poll_interval_s": 0}}, "health.poll_interval_s = 0: must be a number > 0"),
]


@pytest.mark.parametrize(("members", "expected"), OTHER_FAULTS)
def test_every_other_fault_is_named(members: dict[str, Any], expected: str) -> None:
    (fault,) = faults_with(**members)
    assert fault.startswith(expected)


def test_all_faults_are_named_at_once_and_inherited_ones_once() -> None:
    faults = faults_with(
        fut={"stop": {"fallback_pct": 5}, "add_on": {"gamma": 2, "eta": -1}},
        symbols={"BTCUSDT": {}, "ETHUSDT": {"fut": {"add_on": {"gamma": 3}}}},
    )
    assert [fault.split(" = ")[0] for fault in faults] == [
        "fut.stop.fallback_pct",
        "fut.add_on.gamma",
        "fut.add_on.eta",
        "symbols.ETHUSDT.fut.add_on.gamma",
    ]


TEXT = st.text("aA9.-_ é\n", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = ("fut", "spot", "limits", "treasury", "execution", "health", "version")


@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.dictionaries(st.sampled_from(("fut", "spot", "tick")), JSON))
def test_whatever_comes_is_a_bundle_or_named_faults(members: dict[str, Any], spec: dict[str, Any]) -> None:
    text = json.dumps({"version": "v", "symbols": {"BTCUSDT": spec}, **members})
    try:
        faults: tuple[str, ...] | None = None
        bundle = parse_bundle(text)
    except BundleError as refused:
        faults = refused.faults
    assert bundle.fut("BTCUSDT") if faults is None else faults and all(": " in fault for fault in faults)
