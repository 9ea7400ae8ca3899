"""The rules by which S6 governs: pure functions from numbers to decisions, with no I/O, clock or settings.

Every function takes `Decimal` (or int) and returns `Decimal`. Results are exact, or rounded once where the docstring
says so, and do not depend on the caller's decimal context. Invalid input raises `ValueError` naming the argument. No
function changes its arguments.
"""

from s6.rules.adds import AddDecision, NoAdd, add_on_decision
from s6.rules.ladder import Rung, TpDecision, tp_ladder_decision
from s6.rules.perp import (
    average_entry,
    implied_leverage,
    initial_margin,
    liquidation_buffer,
    liquidation_price,
    margin_after_add,
    margin_after_close,
    mark_at_buffer,
    mark_at_roe,
    pnl,
    roe,
)
from s6.rules.sizing import reduce_decision, round_down, round_up, smallest_valid_qty
from s6.rules.spot import Holding, Sale, unrealized, wac_buy, wac_sell
from s6.rules.stops import LockStep, StopDecision, next_stop_price
from s6.rules.treasury import TransferNeed, transfer_need

__all__ = [
    "AddDecision",
    "Holding",
    "LockStep",
    "NoAdd",
    "Rung",
    "Sale",
    "StopDecision",
    "TpDecision",
    "TransferNeed",
    "add_on_decision",
    "average_entry",
    "implied_leverage",
    "initial_margin",
    "liquidation_buffer",
    "liquidation_price",
    "margin_after_add",
    "margin_after_close",
    "mark_at_buffer",
    "mark_at_roe",
    "next_stop_price",
    "pnl",
    "reduce_decision",
    "roe",
    "round_down",
    "round_up",
    "smallest_valid_qty",
    "tp_ladder_decision",
    "transfer_need",
    "unrealized",
    "wac_buy",
    "wac_sell",
]
