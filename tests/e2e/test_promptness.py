"""Each line of promptness by itself: with no sweep, no watch over what stands still and none of the other lines that
would do the same a moment later, S6 does within a second what is to be done at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.e2e.agreement import agrees
from tests.e2e.running import UNSWEPT, D, Running, started
from tests.support.waiting import wait_for

#: The contract's second, and one for a loaded machine.
AT_ONCE_S: Final = 2.0
KNOWN_S: Final = 0.5
QUEUES: Final = ("execution", "manage")
#: All that has a position evaluated at once.
PROMPT: Final = "results,ticks,features,ended"


@pytest.fixture
def s6(unswept: Running) -> Running:
    return unswept


@contextmanager
def cut(s6: Running, name: str, lines: str) -> Iterator[None]:
    """The process is another one for a while, without these lines."""
    restarted(s6, name, lines)
    try:
        yield
    finally:
        restarted(s6, name, UNSWEPT.get(name, ""))


def restarted(s6: Running, name: str, lines: str) -> None:
    s6.s6[name].kill()
    s6.s6.start(name, cut=lines)
    s6.s6.ready((name,))


def calm(s6: Running, position_id: str, *, price: int) -> None:
    """Wait until the position is protected at that price, and all is quiet."""
    s6.protected(position_id, price=price)
    quiet(s6, position_id)


def quiet(s6: Running, position_id: str) -> None:
    """Wait until everybody knows the position as it is: the trigger index, which learns of a change a moment later,
    asks for an evaluation by itself when a tick was quicker.
    """
    last, since = "", time.monotonic()

    def at_rest() -> bool:
        nonlocal last, since
        now = s6.state(position_id)["rev"] if not any(s6.broker.llen(name) for name in QUEUES) else ""
        if not now or now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > KNOWN_S

    wait_for(at_rest, 10, f"{position_id} at rest")


def at_once(s6: Running, position_id: str, *, price: int, qty: str = "0.1") -> None:
    """Wait for that stop to rest at S4; the time for it is short."""

    def look() -> bool:
        stops = s6.orders(position_id, kind="SL", live=True)
        return [(D(str(o["stopPx"])), D(str(o["qty"]))) for o in stops] == [(D(price), D(qty))]

    wait_for(look, AT_ONCE_S, f"{position_id} protected at {price} for {qty}")


def test_a_fill_has_the_position_protected(s6: Running) -> None:
    """Result → evaluation, of a position that has no stop."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    at_once(s6, pid, price=39_200)


def test_a_stranger_s_fill_has_the_stop_resized(s6: Running) -> None:
    """Result → evaluation, of a position that has one."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.manual_close(pid, "0.04")
    at_once(s6, pid, price=39_200, qty="0.06")


def test_a_close_has_what_is_left_at_s4_cancelled(s6: Running) -> None:
    """Result → evaluation, of a position that is closed."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.manual_close(pid)
    wait_for(lambda: not s6.orders(pid, live=True), AT_ONCE_S, "the stop cancelled")


def test_a_crossed_lock_step_moves_the_stop(s6: Running) -> None:
    """Tick → evaluation."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.tick(symbol, 42_000)
    at_once(s6, pid, price=40_800)


@pytest.mark.parametrize(("mark", "kind"), [(41_000, "TP"), (37_950, "REDUCE"), (37_600, "EXIT")])
def test_what_a_tick_crosses_is_acted_on(s6: Running, mark: int, kind: str) -> None:
    """Tick → evaluation, at a rung, at ``lb_min``, and at ``lb_exit`` with nothing else to do on the way there."""
    risk = {"lb_min": D("0.05"), "lb_exit": D("0.04"), "max_reduces": 0 if kind == "EXIT" else 1}
    stop = {"liq_clearance": D("0.001"), "fallback_pct": D("0.09")}
    symbol = s6.symbol(fut={"stop": stop, "risk": risk, "tp_ladder": [{"roe": D("0.25"), "fraction": D("0.5")}]})
    pid = s6.enter(symbol)
    calm(s6, pid, price=36_400)
    if kind == "EXIT":
        s6.paper.tick(symbol, 37_900)  # beyond lb_min already: what follows crosses lb_exit alone
        wait_for(lambda: s6.managed(pid, "EVAL")["plan"]["actions"] == [], 5)
        calm(s6, pid, price=36_400)
    s6.paper.tick(symbol, mark)
    wait_for(lambda: s6.orders(pid, kind=kind), AT_ONCE_S, f"an order of kind {kind}")


def test_a_crossed_guard_sells(s6: Running) -> None:
    """Tick → evaluation, of what S6 holds itself."""
    symbol = s6.symbol()
    pid = s6.enter(symbol, leverage=1, market="SPOT")
    s6.guarded(pid, price=38_000)
    quiet(s6, pid)
    s6.paper.tick(symbol, 37_990)
    wait_for(lambda: s6.orders(pid, kind="GUARD"), AT_ONCE_S, "the guard's order")


def test_the_end_of_an_operation_lets_the_next_begin(s6: Running) -> None:
    """Operation → evaluation: one tick asks for two operations; the news of the first one's stop comes too late to
    ask for the second."""
    symbol = s6.symbol(fut={"tp_ladder": [{"roe": D("0.5"), "fraction": D("0.5")}]})
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.script("result:SL:NEW", "delay", ms=30_000)
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: s6.orders(pid, kind="TP"), AT_ONCE_S, "the take-profit behind the stop's move")


def test_new_features_move_the_stop(s6: Running) -> None:
    """Features → evaluation."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.feature(symbol, atr=200, regime="NORMAL")
    at_once(s6, pid, price=39_600)


def test_the_chain_goes_on_when_the_outcome_never_comes(s6: Running) -> None:
    """The chain's own next link: it asks S4 when the outcome has been waited for long enough, and places."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    calm(s6, pid, price=39_200)
    s6.paper.script("cancel:SL", "SILENT_CANCELED")
    s6.paper.tick(symbol, 42_000)
    waited = D(s6.bundle()["execution"]["cancel_wait_ms"]) / 1000  # type: ignore[index]
    wait_for(lambda: s6.ledger(pid, "cancel") or s6.requests(pid, "s4.cancel"), AT_ONCE_S, "the cancel")
    wait_for(lambda: s6.orders(pid, kind="SL", live=True), float(waited) + AT_ONCE_S, "the new stop")
    at_once(s6, pid, price=40_800)


def test_a_refused_request_is_repeated(s6: Running) -> None:
    """Celery's retry."""
    symbol = s6.symbol()
    s6.paper.script("s4.orders", "error", status=503, count=2)
    pid = s6.enter(symbol)
    at_once(s6, pid, price=39_200)


def test_the_outcome_of_a_cancel_has_the_new_stop_placed(s6: Running) -> None:
    """Result → the operation's next step, with no link of the chain but the first."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    with cut(s6, "worker", "chain"):
        calm(s6, pid, price=39_200)
        s6.paper.script("cancel:SL", "CANCELED", ms=300)
        s6.paper.tick(symbol, 42_000)
        at_once(s6, pid, price=40_800)


def test_the_watch_over_what_stands_still_alone(s6: Running) -> None:
    """It sees to a position without its stop, and to operations that nobody takes on."""
    symbol = s6.symbol()
    with cut(s6, "listener", PROMPT), cut(s6, "worker", f"{PROMPT},chain"):
        pid = s6.enter(symbol)
        s6.protected(pid, price=39_200, qty="0.1")
        s6.paper.script("cancel:SL", "CANCELED", ms=300)
        s6.paper.manual_close(pid, "0.04")
        s6.protected(pid, price=39_200, qty="0.06")


def test_the_sweep_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It sees to everything."""
    cuts = {"listener": f"{PROMPT},rest", "worker": f"{PROMPT},chain"}
    with started(tmp_path_factory.mktemp("swept"), sweep_s="1", cuts=cuts) as s6:
        symbol = s6.symbol()
        pid = s6.enter(symbol)
        s6.protected(pid, price=39_200, qty="0.1")
        s6.paper.manual_close(pid, "0.04")
        s6.protected(pid, price=39_200, qty="0.06")
        s6.paper.feature(symbol, atr=200, regime="NORMAL")
        s6.protected(pid, price=39_600, qty="0.06")
        s6.paper.tick(symbol, 42_000)
        s6.protected(pid, price=40_800, qty="0.06")
        agrees(s6, pid, symbol)
