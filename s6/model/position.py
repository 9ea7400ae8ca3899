"""One position as S6 keeps it: a frozen, complete value that converts to a flat map of strings without loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from s6.model.types import TERMINAL, ZERO, Market, OrderKind, OrderSide, OrderStatus, OrderType, PositionStatus, Side
from s6.model.waiting import is_over

SIGNALS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a position, as far as S6 knows it.

    ``filled`` and ``fee`` are cumulative and already applied to the position; ``avg_price`` is the average of the
    fills. ``ours`` is True for orders that S6 sent. ``rungs`` belongs to a TP, ``signal_id`` to an ADD. A ``PENDING``
    order is written down and perhaps sent, and S4 has not answered yet; S6 gave up an ``ABANDONED`` one, which S4 did
    not have then. ``order_id`` is the exchange's own id, or empty
    if unknown; ``fee_qty`` (SPOT, BUY) is the part of the fill that the exchange took as its fee;
    ``rung_roe`` is the highest ROE among the rungs. ``cancelling``: S4 has taken S6's request to cancel it.
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
    order_id: str = ""
    fee_qty: Decimal = ZERO
    rung_roe: Decimal | None = None
    cancelling: bool = False

    @property
    def live(self) -> bool:
        """Whether the order may still fill."""
        return self.status not in TERMINAL

    @property
    def remaining(self) -> Decimal:
        """The quantity that may still fill; 0 for a terminal order."""
        return self.qty - self.filled if self.live else ZERO


@dataclass(frozen=True, slots=True)
class Position:
    """The live position. Prices are in quote currency, quantities in base units, money in USDT, times in ms.

    ``life`` counts the entries after closes under the same id. ``seq`` numbers the snapshots consecutively. ``rev``
    grows with every commit and fences late writers. ``sl_price`` and ``sl_level`` are those of this life's last
    *accepted* stop, even after its order has ended. ``sl_order`` is the live stop order's id, or empty if none rests:
    S6 itself guards a SPOT position, and a FUT position that is too small for S4's stops (``self_guarded``).

    ``ladder`` is the take-profit ladder in force, as JSON. ``used_signals`` are the newest hundred signals, of any
    life, for which S6 sent an add, the newest last; ``add_signal_id`` is the last of them. ``orders`` holds only orders
    that may still fill. ``reserved_margin`` is the margin (SPOT: cost) that the quotas hold for this life.
    ``exit_reason`` says why the position must be closed at market, and stays until it is flat. ``bundle_version`` is
    empty until a bundle names the symbol.

    ``unverified_from`` is the first operation number from which S4 may hold orders that the books lack (0: none). Until
    S4 has been asked about them, no operation begins or continues. ``rebuilt_ts`` is when the position was last rebuilt
    from the store.

    ``margin_ts``, ``leverage_ts`` and ``liq_ts`` are the times of the fills with which S4 told margin, leverage and
    liquidation price (0: it has not), ``filled_ts`` is that of the newest fill that opened the position or added to it.
    ``tp_roe`` is the highest ROE at which S6 took profit. ``terms`` are the symbol's grid and rules that last governed
    the position, as JSON.

    The ``_refusals``, ``_failures`` and ``_losses`` count what S4 refused, failed or ended in a row, the
    ``_not_before`` (and ``hold_until``, for profits, adds and reductions) say when it is asked again. ``missing_ts`` is
    when S4 first said that it holds nothing to close. ``unprotected_since`` is when the position was last left without
    a stop for its whole quantity (0: it has one). ``born_ts`` is the time of the first fill of the first life under
    this id; it goes on from life to life.
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
    sl_losses: int = 0
    trail_refusals: int = 0
    trail_not_before: int = 0
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
    hold_refusals: int = 0
    exit_not_before: int = 0
    exit_refusals: int = 0
    missing_ts: int = 0
    missing_told: bool = False
    unprotected_since: int = 0
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
    margin_ts: int = 0
    leverage_ts: int = 0
    filled_ts: int = 0
    liq_ts: int = 0
    tp_roe: Decimal | None = None
    terms: str = ""
    born_ts: int = 0
    orders: tuple[Order, ...] = ()

    @property
    def life_name(self) -> str:
        """What ids of orders, events and quota moves call this life.

        It holds the birth as well as the count: a position id that comes again after Redis and the store have forgotten
        it begins at life 1 once more, and must not repeat what S4 and others remember.
        """
        return f"{self.life}@{self.born_ts}" if self.born_ts else str(self.life)

    @property
    def is_open(self) -> bool:
        return self.status == "OPEN"

    def is_current(self, order: Order) -> bool:
        """Return whether the order belongs to the current life and the position is open."""
        return self.is_open and order.life == self.life

    @property
    def dir(self) -> int:
        """+1 for LONG, -1 for SHORT."""
        return 1 if self.side == "LONG" else -1

    def order(self, client_order_id: str) -> Order | None:
        """Return the live order with that id, or None."""
        return next((o for o in self.orders if o.client_order_id == client_order_id), None)

    @property
    def live_stop(self) -> Order | None:
        """The resting stop order that protects this life, or None if S4 holds none."""
        return self.order(self.sl_order) if self.sl_order else None

    @property
    def closing_in_flight(self) -> Decimal:
        """The quantity that S6's own market orders may still close.

        Orders of others do not count: S6's orders reduce only and cannot over-close.
        """
        closing = (o for o in self.orders if o.ours and o.kind in ("TP", "REDUCE", "EXIT", "GUARD"))
        return sum((o.remaining for o in closing), ZERO)

    @property
    def working(self) -> bool:
        """Whether any order that S6 sent, other than the stop, may still fill."""
        return any(o.ours and o.kind != "SL" for o in self.orders)

    def unconfirmed(self, now: int, patience_ms: int) -> tuple[str, ...]:
        """Return the ids of the orders, older than ``patience_ms``, that S6 must ask S4 about.

        These are S6's market orders without a final status and its orders that S4 has not accepted yet. After S4
        refused an EXIT they include the stop, since it may have closed the position.
        """
        return tuple(
            o.client_order_id
            for o in self.orders
            if o.ours
            and is_over(o.sent_ts, patience_ms + 1, now)
            and (o.type == "MARKET" or o.status == "PENDING" or self.exit_not_before)
        )

    def with_signal(self, signal_id: str) -> Position:
        """Return the position with this signal marked as used."""
        used = [known for known in self.used_signals if known != signal_id][1 - SIGNALS_KEPT :]
        return replace(self, add_signal_id=signal_id, used_signals=(*used, signal_id))

    def with_order(self, order: Order) -> tuple[Order, ...]:
        """Return ``orders`` with this order replacing its earlier version, or without it if it is terminal."""
        rest = tuple(o for o in self.orders if o.client_order_id != order.client_order_id)
        return (*rest, order) if order.live else rest


def rungs_json(rungs: tuple[int, ...]) -> str:
    """Return rung indexes as a JSON list."""
    return json.dumps(list(rungs))
