"""One position as S6 keeps it: frozen, complete, and turned into a flat map of strings and back without loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from s6.model.types import TERMINAL, ZERO, Market, OrderKind, OrderSide, OrderStatus, OrderType, PositionStatus, Side

SIGNALS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a position, as far as S6 knows it.

    ``filled`` and ``fee`` are cumulative and already applied to the position; ``avg_price`` is the average of what is
    filled. ``ours`` tells the orders S6 sent from those it only heard of. ``rungs`` belongs to a TP, ``signal_id`` to
    an ADD. ``PENDING`` means: written down, perhaps sent, no word from S4 yet.
    """

    client_order_id: str
    intent_id: str
    kind: OrderKind
    side: OrderSide
    type: OrderType
    qty: Decimal
    status: OrderStatus
    sent_ts: int
    life: int
    ours: bool
    stop_px: Decimal | None = None
    filled: Decimal = ZERO
    avg_price: Decimal = ZERO
    fee: Decimal = ZERO
    rungs: tuple[int, ...] = ()
    signal_id: str = ""

    @property
    def live(self) -> bool:
        """Whether it may still fill."""
        return self.status not in TERMINAL

    @property
    def remaining(self) -> Decimal:
        """What may still fill; 0 once terminal."""
        return self.qty - self.filled if self.live else ZERO


@dataclass(frozen=True, slots=True)
class Position:
    """The live position. Prices in quote currency, quantities in base units, money in USDT, times in ms.

    ``life`` counts entries after closes under the same id; ``seq`` numbers the snapshots without gaps; ``rev`` grows
    with every commit and fences late writers. ``sl_price``/``sl_level`` are those of this life's last *accepted* stop,
    whether its order still lives or not; ``sl_order`` is the live one's id, empty when none rests (SPOT's guard is
    S6's own; so is that of a FUT position too small for S4's stops: ``self_guarded``). ``ladder`` is the take-profit
    ladder in force, as JSON. ``used_signals`` are those that adds were sent for, in any life, the newest last and the
    newest hundred at most; ``add_signal_id`` is the last of them. ``orders`` holds only orders that may still fill.
    ``reserved_margin`` is the margin (SPOT: cost) that the quotas hold for this life. ``exit_reason`` names why it
    must be closed at market; it sticks until flat. ``bundle_version`` is empty until a bundle names the symbol.
    ``unverified_from`` is the first operation's number from which S4 may hold orders that nobody wrote down (0:
    none): until it has been asked, nothing is begun and nothing goes on. ``rebuilt_ts`` is when the store last gave
    the position back.
    """

    position_id: str
    symbol: str
    market: Market
    side: Side
    life: int = 1
    rev: int = 0
    seq: int = 0
    op_count: int = 0
    status: PositionStatus = "OPEN"
    paused: bool = False
    exit_reason: str = ""
    qty: Decimal = ZERO
    dust: Decimal = ZERO
    entry_price_avg: Decimal = ZERO
    isolated_margin_usdt: Decimal = ZERO
    leverage: Decimal = Decimal(1)
    liq_price: Decimal = ZERO
    q0: Decimal = ZERO
    reserved_margin: Decimal = ZERO
    realized_pnl_usdt: Decimal = ZERO
    unrealized_pnl_usdt: Decimal = ZERO
    roe: Decimal = ZERO
    mark: Decimal = ZERO
    opened_ts: int = 0
    entry_ts: int = 0
    closed_ts: int = 0
    ts: int = 0
    # stop
    sl_price: Decimal | None = None
    sl_level: int = 0
    sl_qty: Decimal = ZERO
    sl_order: str = ""
    sl_ts: int = 0
    sl_fallback: Decimal | None = None
    sl_refusals: int = 0
    sl_failures: int = 0
    sl_not_before: int = 0
    breach_ts: int = 0
    # ladder, adds, risk
    tp_done: tuple[int, ...] = ()
    add_on_count: int = 0
    added_qty: Decimal = ZERO
    add_signal_id: str = ""
    used_signals: tuple[str, ...] = ()
    add_ts: int = 0
    reduces: int = 0
    reduce_ts: int = 0
    hold_until: int = 0
    exit_not_before: int = 0
    # watermarks
    best_mark: Decimal = ZERO
    best_roe: Decimal = ZERO
    best_ts: int = 0
    stagnated: bool = False
    ladder: str = ""
    self_guarded: bool = False
    bundle_version: str = ""
    cause: str = ""
    unverified_from: int = 0
    rebuilt_ts: int = 0
    orders: tuple[Order, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.status == "OPEN"

    def is_current(self, order: Order) -> bool:
        """Whether the life this order belongs to goes on."""
        return self.is_open and order.life == self.life

    @property
    def dir(self) -> int:
        """+1 for LONG, -1 for SHORT."""
        return 1 if self.side == "LONG" else -1

    def order(self, client_order_id: str) -> Order | None:
        """The live order of that id, if there is one."""
        return next((o for o in self.orders if o.client_order_id == client_order_id), None)

    @property
    def live_stop(self) -> Order | None:
        """The resting stop order that protects this life, if S4 holds one."""
        return self.order(self.sl_order) if self.sl_order else None

    @property
    def closing_in_flight(self) -> Decimal:
        """What market orders of ours may still close. Those of others rest or not: ours can't over-close."""
        closing = (o for o in self.orders if o.ours and o.kind in ("TP", "REDUCE", "EXIT", "GUARD"))
        return sum((o.remaining for o in closing), ZERO)

    @property
    def working(self) -> bool:
        """Whether any order of ours but the stop may still fill."""
        return any(o.ours and o.kind != "SL" for o in self.orders)

    def unconfirmed(self, now: int, patience_ms: int) -> tuple[str, ...]:
        """Orders of ours that S4 must be asked about: market orders it accepted and has said nothing final of for too
        long and, once it refused an EXIT, the stop as well (it may have closed the position). With no operation in
        flight also any order not accepted yet: its operation was lost."""
        return tuple(
            o.client_order_id
            for o in self.orders
            if o.ours
            and now - o.sent_ts > patience_ms
            and (o.type == "MARKET" or o.status == "PENDING" or self.exit_not_before)
        )

    def with_signal(self, signal_id: str) -> Position:
        """The position with this signal used up."""
        used = [known for known in self.used_signals if known != signal_id][1 - SIGNALS_KEPT :]
        return replace(self, add_signal_id=signal_id, used_signals=(*used, signal_id))

    def with_order(self, order: Order) -> tuple[Order, ...]:
        """``orders`` with this one put in place of its former self; dropped once terminal."""
        rest = tuple(o for o in self.orders if o.client_order_id != order.client_order_id)
        return (*rest, order) if order.live else rest


def rungs_json(rungs: tuple[int, ...]) -> str:
    """Rung indexes as a JSON list."""
    return json.dumps(list(rungs))
