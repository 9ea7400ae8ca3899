"""Fills Redis with positions like one that S6 itself has brought to rest, in few trips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Final

from s6.bootstrap import Services, build
from s6.engine.recorder import Change
from s6.model.commit import Loaded
from s6.model.position import Order, Position
from s6.model.types import Phase
from s6.settings import load_settings
from tests.bench.market import BEST, ENTRY, TRAIL, name, stop_name
from tests.bench.world import World
from tests.support.counted import QueuedHints
from tests.support.waiting import wait_for

CHUNK: Final = 500
LONG_AGO_MS: Final = 600_000
"""The age of a position's best mark, after which a new one is no news."""


class Filling:
    """Has one position enter and get its stop, and copies it. ``services`` are this process's, over S6's state."""

    def __init__(self, world: World, symbol: str) -> None:
        self.world = world
        self.services: Services = build(load_settings(world.s6.env), QueuedHints())
        model = name(symbol, "model")
        world.first_stops([model])
        state = self.services.state
        self._model: Position = _found(lambda: _rested(state.load(model)))
        self._orders = tuple(state.own_orders(model))

    def fill(self, names: Iterable[str], *, best: int = BEST, entry: int = ENTRY, phase: Phase | None = None) -> int:
        """Write positions by these names, with this best mark and this average entry.

        Returns how many. ``phase`` is that of their snapshots (none: no snapshots).
        """
        changes = (self._change(each, best, entry, phase) for each in names)
        count = 0
        while chunk := list(islice(changes, CHUNK)):
            written = self.services.state.commit_many([change.drawn().commit for change in chunk])
            assert all(written), "a position of that name is there already"
            count += len(chunk)
        return count

    def look(self) -> float:
        """Look at all positions, as the sweep does. Returns the seconds; AssertionError if one is to be acted on."""
        began = time.monotonic()
        swept = self.services.sweep.run()
        taken = time.monotonic() - began
        assert not swept.hinted, (
            f"{len(swept.hinted)} of {swept.positions} positions are not at rest: {swept.hinted[:3]}"
        )
        return taken

    def _change(self, position_id: str, best: int, entry: int, phase: Phase | None) -> Change:
        now = self.services.clock.now_ms()
        symbol = position_id.partition("-")[0]
        price = (best * (1 - TRAIL)).quantize(Decimal("0.1"))
        orders = tuple(_renamed(order, position_id, price) for order in self._orders)
        position = replace(
            self._model,
            position_id=position_id,
            symbol=symbol,
            rev=0,
            seq=0,
            entry_price_avg=Decimal(entry),
            best_mark=Decimal(best),
            best_roe=Decimal(best - entry) / 4000,
            best_ts=now - LONG_AGO_MS,
            sl_price=price,
            sl_order=stop_name(position_id),
            orders=tuple(order for order in orders if order.live),
        )
        return Change(position, None, now, phase=phase, cause="filled in", orders=orders)


def _found(look: Callable[[], Position | None]) -> Position:
    found = wait_for(look, 30, "the model's stop")
    assert found is not None
    return found


def _rested(loaded: Loaded | None) -> Position | None:
    """Return the position once nothing is in flight and its stop rests at S4."""
    if loaded is None or loaded.op is not None or loaded.position.live_stop is None:
        return None
    return loaded.position if loaded.position.live_stop.status == "NEW" else None


def _renamed(order: Order, position_id: str, price: Decimal) -> Order:
    if order.kind == "SL":
        return replace(order, client_order_id=stop_name(position_id), stop_px=price, order_id=f"x-{position_id}")
    return replace(order, client_order_id=f"entry-{position_id}", order_id=f"e-{position_id}")


def quiet_names(symbols: list[str], each: int, *, first: int = 0) -> Iterator[str]:
    """Yield names of so many positions in each symbol."""
    for symbol in symbols:
        for number in range(first, first + each):
            yield name(symbol, number)


def bytes_used(world: World) -> int:
    """Return the memory that Redis's data takes."""
    world.own_commands += 1
    return int(world.redis.info("memory")["used_memory"])
