"""The stop price: from the volatility distance, the locked returns and the room to the liquidation price."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from s6.rules.checks import (
    count,
    finite,
    is_long,
    non_negative,
    non_negative_or_zero,
    pairs,
    positive,
    positive_or_none,
)
from s6.rules.exact import ONE, ZERO, ceil_div, exactly, floor_div, plain


class LockStep(Protocol):
    """From the return `roe` on, the stop keeps a return of at least `lock_roe` (which may be negative)."""

    @property
    def roe(self) -> Decimal: ...
    @property
    def lock_roe(self) -> Decimal: ...


class StopDecision(NamedTuple):
    """The stop to hold.

    `price` is None when no valid stop exists. `level` is the number of lock steps reached in this life. `passed` means
    that the mark is at or beyond the stop, so a resting order cannot protect any more.
    """

    price: Decimal | None
    level: int
    passed: bool


def next_stop_price(
    side: str,
    entry: Decimal,
    qty: Decimal,
    margin: Decimal,
    mark: Decimal,
    atr: Decimal | None,
    k: Decimal,
    sl_prev: Decimal | None,
    level: int,
    lock_steps: Sequence[LockStep],
    tick: Decimal,
    fallback_pct: Decimal,
    anchor: Decimal | None = None,
    liq_price: Decimal | None = None,
    liq_clearance: Decimal = ZERO,
) -> StopDecision:
    """Decide the stop to hold: the most protective of all candidates and `sl_prev`, so never looser than `sl_prev`.

    The candidates are:

    * the volatility stop, `k * atr` from the anchor, or `fallback_pct` of the anchor without an `atr`; the anchor is
      the entry unless `anchor` is given;
    * the return that each reached lock step locks in; a step is reached at `profit >= roe * margin`;
    * with a liquidation price, the price `liq_clearance` of it away from there.

    The first two are rounded to the tick away from the mark, the last one towards the mark, all to at least one tick.
    A candidate counts only while it is strictly on the protective side of the mark.

    `sl_prev` and `level` are those of this life's last accepted stop. Prices are in quote units, `qty` is in base
    units; for SPOT the margin is the cost. Returns the price (`sl_prev` as given when nothing protects better), the
    level, and whether the mark has passed the stop. Raises `ValueError` naming the argument.
    """
    long = is_long(side)
    entry, qty, margin = positive("entry", entry), positive("qty", qty), positive("margin", margin)
    mark, tick, k = positive("mark", mark), positive("tick", tick), non_negative("k", k)
    atr, fallback_pct = non_negative_or_zero("atr", atr), non_negative("fallback_pct", fallback_pct)
    sl_prev, anchor = positive_or_none("sl_prev", sl_prev), positive_or_none("anchor", anchor)
    liq_price = non_negative_or_zero("liq_price", liq_price)
    liq_clearance = non_negative("liq_clearance", liq_clearance)
    steps = [
        (finite(f"{label}.roe", roe), finite(f"{label}.lock_roe", lock_roe))
        for label, roe, lock_roe in pairs("lock_steps", lock_steps, "roe", "lock_roe")
    ]
    level = count("level", level)

    with exactly():
        direction = ONE if long else -ONE
        outwards, inwards = (floor_div, ceil_div) if long else (ceil_div, floor_div)
        profit = (mark - entry) * qty * direction
        locks = [lock_roe for roe, lock_roe in steps if profit >= roe * margin]

        start = entry if anchor is None else anchor
        distance = k * atr if atr else start * fallback_pct
        ticks = [outwards(start - direction * distance, tick)]
        ticks += [outwards(entry * qty + direction * lock_roe * margin, qty * tick) for lock_roe in locks]
        if liq_price:
            ticks.append(inwards(liq_price * (ONE + direction * liq_clearance), tick))

        prices = [plain(max(n, ONE) * tick) for n in ticks]
        standing = [price for price in prices if (price < mark if long else price > mark)]

    if sl_prev is None:
        passed = not standing
    else:
        passed = sl_prev >= mark if long else sl_prev <= mark
        standing.insert(0, sl_prev)  # ahead of its equals: it is then returned as it was given
    best = max if long else min
    return StopDecision(price=best(standing, default=None), level=max(level, len(locks)), passed=passed)
