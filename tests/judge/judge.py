"""What must always hold, checked on a ledger: pure functions from records to violations.

`judge` runs them all. What only S6 itself can know (why it decided) is left to its own tests; what is checked here is
what an exchange and a treasury see: protection, stops, ids, quantities, adds, transfers, leftovers.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from s6.paper.domain import ZERO
from tests.judge.history import History, OrderTrace, PositionTrace, Record, integer, number, rebuild
from tests.judge.limits import Limits, limits_at
from tests.judge.protection import Gap, protection_gaps


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be; `ts` in ms, `position_id` empty where no position is concerned."""

    kind: str
    position_id: str
    detail: str
    ts: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long what must be mended may last, in ms.

    `gap`: unprotected; `disturbed`: the same, from when the last thing that went wrong without S6's doing was over.
    `resize`: a stop larger than the position. `stops`: two stops at once. `race`: how old S6's idea of a quantity may
    be. `leftover`: a live order after the close.
    """

    gap: int = 1_000
    disturbed: int = 10_000
    resize: int = 3_000
    stops: int = 0
    race: int = 1_000
    leftover: int = 5_000


def judge(records: Iterable[Record], bounds: Bounds | None = None) -> list[Violation]:
    """Every violation that the ledger shows, oldest first.

    The ledger must be whole, from the start of the process: for long runs the file, not the newest records in memory.
    """
    history, bounds = rebuild(records), bounds or Bounds()
    found: list[Violation] = [*check_ids(history), *check_transfers(history)]
    found += [_gap_violation(gap) for gap in protection_gaps(history) if _counts(gap, bounds)]
    for position in history.positions.values():
        found += check_stops(position, history.ends, bounds)
        found += check_closes(position, bounds)
        found += check_leftovers(position, history.ends, bounds)
        found += check_limits(position, history)
    return sorted(found, key=lambda violation: violation.ts)


def longest_gap(records: Iterable[Record]) -> Gap | None:
    """The longest time that a position stood without a stop, whatever the reason."""
    return max(protection_gaps(rebuild(records)), key=lambda gap: gap.length_ms, default=None)


def exposure(records: Iterable[Record]) -> dict[str, tuple[int, Decimal]]:
    """Per market what `risk:concurrency:*` and `risk:budget:*` should say: open positions, margin that they took."""
    totals: dict[str, tuple[int, Decimal]] = {"FUT": (0, ZERO), "SPOT": (0, ZERO)}
    for position in rebuild(records).positions.values():
        if position.held and position.held[-1].qty:
            life = position.held[-1].life
            taken = sum((number(fill["margin"]) for fill in position.fills if fill["life"] == life), ZERO)
            count, margin = totals[position.market]
            totals[position.market] = (count + 1, margin + taken)
    return totals


def check_ids(history: History) -> list[Violation]:
    """One order an intent, one body a `client_order_id`."""
    bodies: dict[str, object] = {}
    orders: dict[str, set[str]] = defaultdict(set)
    found = []
    for request in history.requests:
        body = request.get("body")
        if request["route"] != "s4.orders" or not isinstance(body, dict):
            continue
        client_order_id, intent_id = str(body.get("client_order_id")), str(body.get("intent_id"))
        position_id, ts = str(body.get("position_id")), integer(request["ts"])
        if bodies.setdefault(client_order_id, body) != body:
            found.append(Violation("BODY_CHANGED", position_id, client_order_id, ts))
        if client_order_id not in orders[intent_id] and orders[intent_id]:
            detail = f"{intent_id}: {client_order_id} after {', '.join(sorted(orders[intent_id]))}"
            found.append(Violation("INTENT_REUSED", position_id, detail, ts))
        orders[intent_id].add(client_order_id)
    return found


def check_transfers(history: History) -> list[Violation]:
    """One body a `transfer_id`, and no transfer begun before the one before it was seen to end."""
    bodies: dict[str, object] = {}
    unsettled: set[str] = set()
    found = []
    events: list[tuple[int, Record]] = [(integer(r["n"]), r) for r in history.requests if r["route"] == "s1.transfer"]
    events += [(integer(a["n"]), a) for a in history.answers.values() if a["route"] == "s1.transfer"]
    for _, record in sorted(events, key=lambda event: event[0]):
        body = record.get("body")
        if not isinstance(body, dict) or "transfer_id" not in body:
            continue
        transfer_id, ts = str(body["transfer_id"]), integer(record["ts"])
        if record["what"] == "answer":
            if record["delivered"]:
                unsettled.discard(transfer_id)
            continue
        if bodies.setdefault(transfer_id, body) != body:
            found.append(Violation("BODY_CHANGED", "", transfer_id, ts))
        if others := unsettled - {transfer_id}:
            found.append(Violation("TRANSFERS_OVERLAP", "", f"{transfer_id} during {', '.join(sorted(others))}", ts))
        unsettled.add(transfer_id)
    return found


def check_stops(position: PositionTrace, ends: int, bounds: Bounds) -> list[Violation]:
    """Never two stops at once; none looser than one before it in the same life; none larger than the position."""
    stops = [order for order in position.orders if order.kind == "SL" and order.status != "REJECTED"]
    found = []
    best: dict[int, OrderTrace] = {}
    for index, stop in enumerate(stops):
        for other in stops[:index]:
            if other.live_at(stop.born):
                length = min(other.gone_ts or ends, stop.gone_ts or ends) - stop.born_ts
                if length >= bounds.stops:
                    detail = f"{other.client_order_id} and {stop.client_order_id} for {length} ms"
                    found.append(Violation("TWO_STOPS", position.position_id, detail, stop.born_ts))
        held = position.at(stop.born)
        if held is None or not held.qty or stop.stop_px is None:
            continue
        before = best.get(held.life)
        if before is not None and before.stop_px is not None and _looser(stop.stop_px, before.stop_px, stop.side):
            detail = f"{stop.client_order_id} at {stop.stop_px} after {before.client_order_id} at {before.stop_px}"
            found.append(Violation("STOP_LOOSENED", position.position_id, detail, stop.born_ts))
        else:
            best[held.life] = stop
    return found + _oversized(position, stops, ends, bounds)


def check_closes(position: PositionTrace, bounds: Bounds) -> list[Violation]:
    """No closing order for more than is held, nor several market orders that are together."""
    found = []
    closes = [o for o in position.orders if o.kind not in {"ENTRY", "ADD"} and not _manual(o)]
    for order in closes:
        others = [o for o in closes if order.type == o.type == "MARKET" and o.born < order.born]
        at_work = sum((other.remaining_at(order.born) for other in others), ZERO)
        most = position.most_held(order.born, order.born_ts - bounds.race)
        if order.qty + at_work > most:
            detail = f"{order.kind} {order.client_order_id}: {order.qty} with {at_work} at work, of {most}"
            found.append(Violation("OVER_CLOSE", position.position_id, detail, order.born_ts))
    return found


def check_leftovers(position: PositionTrace, ends: int, bounds: Bounds) -> list[Violation]:
    """No live order when a position has been flat for a while."""
    found = []
    for index, held in enumerate(position.held):
        if held.qty:
            continue
        reborn = position.held[index + 1].ts if index + 1 < len(position.held) else ends
        late = held.ts + bounds.leftover
        for order in position.orders:
            if order.kind != "ENTRY" and order.born_ts < reborn and late < min(order.gone_ts or ends, reborn):
                detail = f"{order.client_order_id} still live {bounds.leftover} ms after the close"
                found.append(Violation("LEFTOVER", position.position_id, detail, late))
    return found


def check_limits(position: PositionTrace, history: History) -> list[Violation]:
    """Adds within cap, eta and one a signal; take-profits and reductions within their number a life."""
    found = []
    filled = [order for order in position.orders if order.filled and not _manual(order)]
    for order in filled:
        limits = limits_at(history, position, order.born)
        same = [o for o in filled if o.kind == order.kind and o.life == order.life and o.born <= order.born]
        allowed = {"TP": limits.rungs, "REDUCE": limits.reduces, "ADD": limits.adds}.get(order.kind)
        if allowed is not None and len(same) > allowed:
            detail = f"{order.client_order_id} is {order.kind} number {len(same)} of {allowed}"
            found.append(Violation(f"TOO_MANY_{order.kind}S", position.position_id, detail, order.born_ts))
        if order.kind == "ADD" and position.whole(order.life):
            found += _add_violations(position, history, same, limits)
    return found


def _add_violations(
    position: PositionTrace, history: History, adds: list[OrderTrace], limits: Limits
) -> list[Violation]:
    """Of the last of `adds`, which are those of one life so far."""
    add = adds[-1]
    entered = [fill for fill in position.fills if fill["kind"] == "ENTRY" and fill["life"] == add.life]
    q0 = sum((number(fill["qty"]) for fill in entered if integer(fill["n"]) <= add.born), ZERO)
    added = sum((order.qty for order in adds), ZERO)
    found = []
    if added > limits.eta * q0:
        detail = f"{add.client_order_id} makes {added} of {limits.eta * q0}"
        found.append(Violation("ADDS_TOO_LARGE", position.position_id, detail, add.born_ts))
    since = min(integer(fill["ts"]) for fill in entered) - int(limits.signal_ttl_s * 1000)
    signals = {
        str(feature["signal_id"])
        for feature in history.features
        if (feature["symbol"], feature["signal"]) == (position.symbol, position.sides[add.life])
        and since <= integer(feature["ts"]) <= add.born_ts
    }
    if len(adds) > len(signals):
        detail = f"{add.client_order_id} is add number {len(adds)} on {len(signals)} signals"
        found.append(Violation("SIGNAL_REUSED", position.position_id, detail, add.born_ts))
    return found


def _oversized(position: PositionTrace, stops: list[OrderTrace], ends: int, bounds: Bounds) -> list[Violation]:
    found = []
    for stop in stops:
        gone = stop.gone_ts or ends
        after = [held for held in position.held if held.ts <= gone and (stop.gone is None or held.n < stop.gone)]
        spans = zip(after, [*(held.ts for held in after[1:]), gone], strict=False)  # nothing was ever held: no spans
        for held, until in spans:
            since = max(held.ts, stop.born_ts)
            if held.qty and stop.remaining_at(max(held.n, stop.born)) > held.qty and until - since > bounds.resize:
                detail = f"{stop.client_order_id}: {stop.qty} for {held.qty} held, for {until - since} ms"
                found.append(Violation("STOP_NOT_RESIZED", position.position_id, detail, since))
    return found


def _looser(price: Decimal, before: Decimal, side: str) -> bool:
    return price < before if side == "SELL" else price > before


def _manual(order: OrderTrace) -> bool:
    return order.intent_id.startswith(("manual-", "liquidation-"))


def _counts(gap: Gap, bounds: Bounds) -> bool:
    if gap.disturbed_until is None:
        return gap.length_ms > bounds.gap
    return gap.end - max(gap.start, gap.disturbed_until) > bounds.disturbed


def _gap_violation(gap: Gap) -> Violation:
    notes = "; ".join(gap.notes)
    detail = f"{gap.qty} of life {gap.life} unprotected for {gap.length_ms} ms after {gap.cause}" + (
        notes and f": {notes}"
    )
    return Violation("UNPROTECTED", gap.position_id, detail, gap.start)


__all__ = ["Bounds", "Gap", "Violation", "exposure", "judge", "longest_gap", "protection_gaps"]
