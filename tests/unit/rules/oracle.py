"""The rules once more, in rational numbers and straight from their definitions: slow, obvious, and independent."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from fractions import Fraction as F
from math import ceil, floor

LockPairs = Sequence[tuple[Decimal, Decimal]]


def dir_of(side: str) -> int:
    return {"LONG": 1, "SHORT": -1}[side]


def pnl(mark: Decimal, entry: Decimal, qty: Decimal, side: str) -> F:
    return (F(mark) - F(entry)) * F(qty) * dir_of(side)


def liquidation_price(entry: Decimal, qty: Decimal, margin: Decimal, mmr: Decimal, side: str) -> F:
    if side == "LONG":
        return max(F(0), (F(entry) * F(qty) - F(margin)) / (F(qty) * (1 - F(mmr))))
    return (F(entry) * F(qty) + F(margin)) / (F(qty) * (1 + F(mmr)))


def liquidation_buffer(mark: Decimal, liq_price: Decimal, side: str | None) -> F:
    if liq_price == 0:
        return F(1)
    if (side == "LONG" and F(mark) <= F(liq_price)) or (side == "SHORT" and F(mark) >= F(liq_price)):
        return F(0)
    return abs(F(mark) - F(liq_price)) / F(mark)


def next_stop(
    side: str,
    entry: Decimal,
    qty: Decimal,
    margin: Decimal,
    mark: Decimal,
    atr: Decimal | None,
    k: Decimal,
    sl_prev: Decimal | None,
    level: int,
    lock_steps: LockPairs,
    tick: Decimal,
    fallback_pct: Decimal,
    anchor: Decimal | None,
    liq_price: Decimal | None,
    liq_clearance: Decimal,
) -> tuple[F | None, int, bool]:
    d = dir_of(side)
    unit = F(tick)

    def down(x: F) -> F:
        return max(unit, floor(x / unit) * unit)

    def up(x: F) -> F:
        return max(unit, ceil(x / unit) * unit)

    away, towards = (down, up) if d == 1 else (up, down)
    a = F(entry) if anchor is None else F(anchor)
    candidates = [away(a - d * F(k) * F(atr)) if atr else away(a * (1 - d * F(fallback_pct)))]
    reached = [F(lock) for at, lock in lock_steps if pnl(mark, entry, qty, side) / F(margin) >= F(at)]
    candidates += [away(F(entry) + d * lock * F(margin) / F(qty)) for lock in reached]
    if liq_price:
        candidates.append(towards(F(liq_price) * (1 + d * F(liq_clearance))))
    protective = [c for c in candidates if d * (F(mark) - c) > 0]
    if sl_prev is None:
        passed = not protective
    else:
        passed = d * (F(mark) - F(sl_prev)) <= 0
        protective.append(F(sl_prev))
    price = None if not protective else max(protective) if d == 1 else min(protective)
    return price, max(level, len(reached)), passed


def smallest_valid(step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal) -> F:
    need = max(F(min_qty), F(min_notional) / F(mark))
    return max(1, ceil(need / F(step))) * F(step)


def close_part(part: F, qty: Decimal, step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal) -> F:
    everything = floor(F(qty) / F(step)) * F(step)
    least = smallest_valid(step, min_qty, min_notional, mark)
    wanted = floor(F(qty) * part / F(step)) * F(step)
    if wanted < least:
        wanted = least if least <= everything else everything
    return everything if F(qty) - wanted < least else wanted


def tp_ladder(
    roe: Decimal,
    ladder: LockPairs,
    done: Collection[int],
    qty: Decimal,
    step: Decimal,
    min_qty: Decimal,
    min_notional: Decimal,
    mark: Decimal,
) -> tuple[F, tuple[int, ...]]:
    rungs = tuple(i for i, (at, _) in enumerate(ladder) if i not in done and F(roe) >= F(at))
    if not rungs or F(qty) < F(step):
        return F(0), ()
    left = F(qty)
    for i in rungs:
        left -= left * F(ladder[i][1])
    return close_part(1 - left / F(qty), qty, step, min_qty, min_notional, mark), rungs


def add_on(
    roe: Decimal,
    add_on_count: int,
    added_qty: Decimal,
    q0: Decimal,
    signal: str | None,
    side: str,
    gate: Decimal,
    cap: int,
    gamma: Decimal,
    eta: Decimal,
    step: Decimal,
    min_qty: Decimal,
    min_notional: Decimal,
    mark: Decimal,
) -> F:
    if signal != side or F(roe) < F(gate) or add_on_count >= cap:
        return F(0)
    wanted = min(F(q0) * F(gamma) ** (add_on_count + 1), F(eta) * F(q0) - F(added_qty))
    size = floor(wanted / F(step)) * F(step)
    return size if size > 0 and size >= F(min_qty) and size * F(mark) >= F(min_notional) else F(0)
