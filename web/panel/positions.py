"""Open positions as the panel shows them: valued at the newest mark, with their rail and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from s6.model import jsonx
from s6.model.commit import Loaded
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Position
from s6.rules import pnl, roe
from web.services import Services

SHOWN = 100
_LOOKED_AT = 2000
_MOVING_MS = 2000


@dataclass(frozen=True)
class Mark:
    """One price on a rail. ``at`` is from 0 to 100; ``what`` names it for the style and for screen readers."""

    what: str
    at: float
    price: Decimal


@dataclass(frozen=True)
class Row:
    """One position. ``notes`` name what is unusual; ``pips`` are the ladder's rungs. Durations are in ms."""

    position: Position
    operation: Operation | None
    mark: Decimal
    roe: Decimal
    pnl: Decimal
    stop_distance: Decimal | None
    pips: tuple[bool, ...]
    rail: tuple[Mark, ...]
    notes: tuple[str, ...]
    age_ms: int
    operation_ms: int

    @property
    def at(self) -> dict[str, float]:
        """The position of each mark on the rail, by its name."""
        return {mark.what: mark.at for mark in self.rail}

    @property
    def unprotected(self) -> bool:
        return "no stop" in self.notes


@dataclass(frozen=True)
class OpenPositions:
    """The rows shown, by symbol and id, and the number of open positions; ``more`` means that there are even more."""

    rows: tuple[Row, ...]
    total: int
    more: bool = False


def open_positions(services: Services, symbol: str = "") -> OpenPositions:
    """Return the open positions, all or of one symbol. Raises ``StateUnavailable``."""
    source = services.state.ids_of(symbol) if symbol else services.state.open_ids()
    ids = list(islice(source, _LOOKED_AT + 1))
    loaded = [one for one in services.state.load_many(ids[:_LOOKED_AT]) if one is not None and one.position.is_open]
    loaded.sort(key=lambda one: (one.position.symbol, one.position.position_id))
    shown = loaded[:SHOWN]
    return OpenPositions(rows_of(services, shown), len(loaded), len(ids) > _LOOKED_AT)


def rows_of(services: Services, loaded: Sequence[Loaded]) -> tuple[Row, ...]:
    """Return positions as rows, each valued at its symbol's newest mark."""
    markets = services.state.markets({one.position.symbol for one in loaded}) if loaded else {}
    now = services.clock.now_ms()
    return tuple(_row(one, markets.get(one.position.symbol), now) for one in loaded)


def _row(loaded: Loaded, market: MarketView | None, now: int) -> Row:
    position, operation = loaded
    mark, profit, ratio = _valued(position, market)
    stop = position.sl_price
    rungs = jsonx.loads(position.ladder) if position.ladder else []
    distance = abs(mark - stop) / mark if stop is not None and mark else None
    return Row(
        position=position,
        operation=operation,
        mark=mark,
        roe=ratio,
        pnl=profit,
        stop_distance=distance,
        pips=tuple(i in position.tp_done for i in range(len(rungs))),
        rail=_rail(position, mark, rungs),
        notes=tuple(_notes(position, operation, now)),
        age_ms=(now if position.is_open else position.closed_ts) - position.opened_ts,
        operation_ms=now - operation.started_ts if operation else 0,
    )


def _valued(position: Position, market: MarketView | None) -> tuple[Decimal, Decimal, Decimal]:
    """Return mark, unrealized profit and ROE at the newest tick, or as last governed if there is no tick."""
    tick = market.tick if market else None
    margin = position.isolated_margin_usdt
    if not position.is_open or tick is None or position.qty <= 0 or margin <= 0:
        return position.mark, position.unrealized_pnl_usdt, position.roe
    profit = pnl(mark=tick.mark, entry=position.entry_price_avg, qty=position.qty, side=position.side)
    return tick.mark, profit, roe(pnl=profit, margin=margin)


def _notes(position: Position, operation: Operation | None, now: int) -> list[str]:
    notes = []
    guarded = position.sl_order or position.self_guarded or position.market == "SPOT"
    if position.is_open and (position.sl_price is None or not guarded):
        moving = operation is not None and operation.kind == "STOP_MOVE" and now - operation.started_ts < _MOVING_MS
        notes.append("stop on its way" if moving else "no stop")
    if position.exit_reason:
        notes.append("exiting")
    if position.paused:
        notes.append("paused")
    if position.stagnated:
        notes.append("stagnated")
    return notes


def _rail(position: Position, mark: Decimal, rungs: Sequence[dict[str, Decimal]]) -> tuple[Mark, ...]:
    """Return stop, entry, mark and the next rung on one line, with loss to the left and profit to the right."""
    prices = [("entry", position.entry_price_avg), ("mark", mark)]
    if position.sl_price is not None:
        prices.append(("stop", position.sl_price))
    upcoming = next((rung for i, rung in enumerate(rungs) if i not in position.tp_done), None)
    if upcoming is not None and position.qty > 0:
        away = position.dir * Decimal(upcoming["roe"]) * position.isolated_margin_usdt / position.qty
        prices.append(("target", position.entry_price_avg + away))
    low, high = min(price for _, price in prices), max(price for _, price in prices)
    if low == high:
        return ()
    return tuple(Mark(what, _scaled(price, low, high, position.dir), price) for what, price in prices)


def _scaled(price: Decimal, low: Decimal, high: Decimal, direction: int) -> float:
    share = float((price - low) / (high - low))
    return round(4 + 92 * (share if direction > 0 else 1 - share), 2)
