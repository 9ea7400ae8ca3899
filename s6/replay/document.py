"""A replay as one JSON object for programs; its numbers have exactly the booked digits."""

from __future__ import annotations

from collections.abc import Sequence

from s6.model import jsonx
from s6.replay.fold import Fill, Step
from s6.replay.life import CLOSING, Life, unprotected_ms
from s6.replay.proof import Proof


def document(lives: Sequence[Life], proof: Proof | None) -> str:
    """Return ``{"position_id", "symbol", "market", "lives": [{…, "steps": […]}], "check"}`` as JSON text.

    A life's figures are those at its end, or now; its steps are its snapshots. ``check`` is null if no proof was asked
    for. Times are in ms, money is in USDT.
    """
    position = lives[-1].last
    return jsonx.dumps(
        {
            "position_id": position.position_id,
            "symbol": position.symbol,
            "market": position.market,
            "lives": [_life(life) for life in lives],
            "check": None if proof is None else _check(proof),
        }
    )


def _life(life: Life) -> dict[str, object]:
    p = life.last
    return {
        "life": life.number,
        "side": p.side,
        "status": p.status,
        "opened_ts": p.opened_ts,
        "closed_ts": p.closed_ts or None,
        "exit_reason": life.exit_reason or None,
        "q0": p.q0,
        "qty": p.qty,
        "most_held": life.most_held,
        "entry_price_avg": p.entry_price_avg,
        "realized_pnl_usdt": p.realized_pnl_usdt,
        "unrealized_pnl_usdt": p.unrealized_pnl_usdt,
        "fees": life.fees,
        "dust": p.dust,
        "stop_moves": len(life.stop_moves),
        "take_profits": life.count("TP"),
        "adds": life.count("ADD"),
        "reductions": life.count("REDUCE"),
        "closing_orders": life.count(*CLOSING),
        "unprotected_ms": unprotected_ms(life),
        "steps": [_step(step) for step in life.steps],
    }


def _step(step: Step) -> dict[str, object]:
    p = step.position
    return {
        "seq": step.seq,
        "ts": step.ts,
        "phase": step.phase,
        "cause": step.cause,
        "mark": p.mark,
        "qty": p.qty,
        "entry_price_avg": p.entry_price_avg,
        "isolated_margin_usdt": p.isolated_margin_usdt,
        "unrealized_pnl_usdt": p.unrealized_pnl_usdt,
        "realized_pnl_usdt": p.realized_pnl_usdt,
        "roe": p.roe,
        "sl_price": p.sl_price,
        "sl_level": p.sl_level,
        "sl_order": p.sl_order or None,
        "status": p.status,
        "paused": p.paused,
        "bundle_version": p.bundle_version,
        "fill": None if step.fill is None else _fill(step.fill),
        "faults": list(step.faults),
    }


def _fill(fill: Fill) -> dict[str, object]:
    return {
        "kind": fill.kind,
        "side": fill.side,
        "qty": fill.qty,
        "price": fill.price,
        "fee": fill.fee,
        "realized": fill.realized,
        "client_order_id": fill.client_order_id,
        "rungs": list(fill.rungs),
        "ours": fill.ours,
        "closed": fill.closed,
    }


def _check(proof: Proof) -> dict[str, object]:
    return {
        "holds": proof.holds,
        "snapshots": proof.steps,
        "fills": proof.fills,
        "seq": proof.seq,
        "rev": proof.rev,
        "commits_since": proof.later_commits,
        "waiting": proof.waiting,
        "faults": list(proof.faults),
    }
