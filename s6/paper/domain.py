"""The paper exchange's orders and positions, and the arithmetic of fills.

This arithmetic duplicates that of `s6.rules` on purpose: a judge that used `s6.rules` could not find their mistakes.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

Market = Literal["FUT", "SPOT"]
Side = Literal["LONG", "SHORT"]
OrderSide = Literal["BUY", "SELL"]
OrderType = Literal["MARKET", "LIMIT", "STOP_MARKET"]
Kind = Literal["ENTRY", "SL", "TP", "ADD", "REDUCE", "EXIT", "GUARD"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
LIVE: frozenset[str] = frozenset({"NEW", "PARTIALLY_FILLED"})
OPENING: frozenset[str] = frozenset({"ENTRY", "ADD"})
ZERO = Decimal(0)
CENT = Decimal("0.00000001")
SIGNIFICANT = Context(prec=28, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """An instrument's grid: price tick, quantity step, smallest quantity and notional, maintenance margin ratio."""

    tick: Decimal
    step: Decimal
    min_qty: Decimal
    min_notional: Decimal
    mmr: Decimal

    def floor(self, qty: Decimal) -> Decimal:
        """Return `qty` rounded down to the step."""
        return (qty / self.step).to_integral_value(rounding=ROUND_DOWN) * self.step

    def takes(self, qty: Decimal, price: Decimal) -> str | None:
        """Return why an order of `qty` at `price` is too small or off the grid, or None if it is fine."""
        if qty <= 0 or qty % self.step:
            return "LOT_SIZE"
        if qty < self.min_qty:
            return "MIN_QTY"
        return "MIN_NOTIONAL" if qty * price < self.min_notional else None


@dataclass(frozen=True, slots=True)
class Quote:
    """The current market. Prices are in quote currency, `ts` is in ms."""

    mark: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    ts: int

    def taker(self, side: OrderSide) -> Decimal:
        """Return the price of a market order."""
        return self.ask if side == "BUY" else self.bid


@dataclass(frozen=True, slots=True)
class Figures:
    """A FUT position's figures after a fill, as the exchange reports them."""

    leverage: Decimal
    isolated_margin_usdt: Decimal
    liq_price: Decimal


@dataclass(slots=True)
class Order:
    """One order. `cost` is Σ quantity·price of its fills, `life` the position's at placement (0: no position yet)."""

    client_order_id: str
    order_id: str
    intent_id: str
    position_id: str
    symbol: str
    market: Market
    kind: Kind
    side: OrderSide
    type: OrderType
    qty: Decimal
    reduce_only: bool
    ts: int
    stop_px: Decimal | None = None
    price: Decimal | None = None
    leverage: Decimal | None = None
    status: Status = "NEW"
    filled_qty: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    reason: str | None = None
    figures: Figures | None = None
    life: int = 0
    working: bool = False  # it is being filled: a triggered stop or a market order
    cancel_pending: bool = False

    @property
    def live(self) -> bool:
        """Whether the order rests or is being filled."""
        return self.status in LIVE

    @property
    def remaining(self) -> Decimal:
        """The quantity not filled yet."""
        return self.qty - self.filled_qty

    @property
    def avg_price(self) -> Decimal | None:
        """The average price of the fills, to 28 significant digits, or None without fills."""
        return SIGNIFICANT.divide(self.cost, self.filled_qty) if self.filled_qty else None

    def triggers_at(self, mark: Decimal) -> bool:
        """Return whether `mark` triggers this stop order."""
        if self.stop_px is None:
            return False
        return mark <= self.stop_px if self.side == "SELL" else mark >= self.stop_px

    def limit_hit(self, quote: Quote) -> bool:
        """Return whether this limit order fills at `quote`."""
        if self.price is None:
            return False
        return quote.ask <= self.price if self.side == "BUY" else quote.bid >= self.price

    def ledger_members(self) -> dict[str, object]:
        """As the ledger and the control API show it."""
        members = self.members()
        del members["ts"]
        more = {"order_id": self.order_id, "stopPx": self.stop_px, "reduceOnly": self.reduce_only}
        return members | more | {"life": self.life, "live": self.live}

    def members(self) -> dict[str, object]:
        """Return the fields of the result stream, numbers as `Decimal`, without absent ones."""
        fields: dict[str, object] = {
            "ts": self.ts,
            "symbol": self.symbol,
            "market": self.market,
            "position_id": self.position_id,
            "client_order_id": self.client_order_id,
            "intent_id": self.intent_id,
            "kind": self.kind,
            "side": self.side,
            "type": self.type,
            "status": self.status,
            "qty": self.qty,
            "filled_qty": self.filled_qty,
        }
        if self.filled_qty:
            fields |= {"avg_price": self.avg_price, "fee": self.fee}
        if self.reason:
            fields["reason"] = self.reason
        if self.intent_id.startswith("adl-"):  # an exchange uses one client id for all of them
            fields |= {"client_order_id": "adl_autoclose", "order_id": self.order_id}
        if self.figures:
            fields |= {
                "leverage": self.figures.leverage,
                "isolated_margin_usdt": self.figures.isolated_margin_usdt,
                "liq_price": self.figures.liq_price,
            }
        return fields


@dataclass(slots=True)
class Position:
    """One position. FUT has isolated margin; SPOT has its average cost in `entry` and its cost in `margin`."""

    position_id: str
    symbol: str
    market: Market
    side: Side
    leverage: Decimal
    mmr: Decimal
    life: int = 0
    qty: Decimal = ZERO
    entry: Decimal = ZERO
    margin: Decimal = ZERO

    @property
    def closing_side(self) -> OrderSide:
        """The side of the orders that reduce the position."""
        return "SELL" if self.side == "LONG" else "BUY"

    def increase(self, qty: Decimal, price: Decimal) -> Decimal:
        """Add `qty` at `price`. Returns the margin that it takes.

        FUT margin has eight decimals, as the exchange reports it with the fill. A SPOT cost is exact.
        """
        taken = qty * price / self.leverage
        self.entry = (self.qty * self.entry + qty * price) / (self.qty + qty)
        self.qty += qty
        if self.market == "SPOT":
            self.margin += taken
            return taken
        self.margin = (self.margin + taken).quantize(CENT)
        return taken.quantize(CENT)

    def decrease(self, qty: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Reduce by `qty` at `price`. Returns the released margin and the realized profit before fees."""
        released = self.margin if qty == self.qty else self.margin * qty / self.qty
        realized = (price - self.entry) * qty * (1 if self.side == "LONG" else -1)
        self.margin -= released
        self.qty -= qty
        return released, realized

    def liq_price(self) -> Decimal:
        """Return the price that uses up the isolated margin, to eight decimals, or 0 if there is none."""
        if self.market == "SPOT" or self.qty == 0:
            return ZERO
        if self.side == "LONG":
            price = (self.entry * self.qty - self.margin) / (self.qty * (1 - self.mmr))
        else:
            price = (self.entry * self.qty + self.margin) / (self.qty * (1 + self.mmr))
        return max(ZERO, price).quantize(CENT)

    def liquidated_at(self, mark: Decimal) -> bool:
        """Return whether the exchange liquidates the position at `mark`."""
        if not (price := self.liq_price()):
            return False
        return mark <= price if self.side == "LONG" else mark >= price

    def figures(self) -> Figures | None:
        """Return the figures to report with an ENTRY or ADD fill, or None on SPOT."""
        return None if self.market == "SPOT" else Figures(self.leverage, self.margin, self.liq_price())

    def members(self) -> dict[str, object]:
        """As the ledger and the control API show it."""
        return {
            "position_id": self.position_id,
            "symbol": self.symbol,
            "market": self.market,
            "side": self.side,
            "life": self.life,
            "qty": self.qty,
            "entry": SIGNIFICANT.plus(self.entry),
            "margin": SIGNIFICANT.plus(self.margin),
            "leverage": self.leverage,
            "liq_price": self.liq_price(),
        }
