"""Folds a position's snapshots: computes each step's books from the step before and compares them with the snapshot.

ArangoDB keeps numbers as binary doubles. So the exact decimals are those of ``state``, ``op`` and ``order``, and the
named members need only be the same double.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, cast

from s6.booking import Booking, SymbolTerms, book, revalue
from s6.model.codec import from_fields
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, ZERO, OrderKind, OrderSide
from s6.model.wire import MalformedMessage, OrderResult
from s6.rules.exact import exactly

Doc = Mapping[str, Any]

BOOKED: Final = (
    "symbol",
    "market",
    "side",
    "life",
    "status",
    "qty",
    "dust",
    "entry_price_avg",
    "isolated_margin_usdt",
    "leverage",
    "liq_price",
    "q0",
    "reserved_margin",
    "realized_pnl_usdt",
    "tp_done",
    "add_on_count",
    "added_qty",
    "reduces",
)
"""The fields that only an order's result changes."""

VALUED: Final = ("unrealized_pnl_usdt", "roe")
NAMED: Final = (
    "position_id",
    "seq",
    "life",
    "symbol",
    "market",
    "side",
    "qty",
    "entry_price_avg",
    "isolated_margin_usdt",
    "unrealized_pnl_usdt",
    "realized_pnl_usdt",
    "roe",
    "mark",
    "add_on_count",
    "sl_price",
    "sl_level",
    "status",
    "paused",
    "bundle_version",
    "ts",
)
"""The members that a snapshot holds both by name and in its ``state``; the two must agree."""

PHASES: Final = ("BEFORE", "AFTER", "RESULT")


@dataclass(frozen=True, slots=True)
class Fill:
    """A newly filled quantity as booked. ``realized`` is before fees; ``ours`` is True if S6 sent the order."""

    kind: OrderKind
    side: OrderSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    realized: Decimal
    client_order_id: str
    rungs: tuple[int, ...]
    ours: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One snapshot. ``faults`` says where it contradicts itself or the steps before it."""

    seq: int
    ts: int
    phase: str
    cause: str
    position: Position
    op: Operation | None = None
    order: Order | None = None
    fill: Fill | None = None
    faults: tuple[str, ...] = ()


class UnreadableSnapshot(ValueError):
    """The document is no snapshot of S6's; the text says which and why."""


def fold(docs: Iterable[Doc]) -> Iterator[Step]:
    """Yield the steps of a position's lives in order. Raises ``UnreadableSnapshot``."""
    before: Position | None = None
    books: dict[str, Order] = {}
    expected = 1
    for doc in docs:
        step = _read(doc)
        faults = [*_sequence(step, expected), *_agreement(doc, step.position)]
        fill = None
        if step.phase == "RESULT" and step.order is not None:
            fill, found = _result(before, books.get(step.order.client_order_id), step)
            faults += found
        elif before is not None:
            faults += differences(before, step.position, BOOKED, "although no result came")
        for order in (*step.position.orders, *((step.order,) if step.order else ())):
            books[order.client_order_id] = order
        before, expected = step.position, step.seq + 1
        yield replace(step, fill=fill, faults=tuple(f"seq {step.seq}: {fault}" for fault in faults))


def _read(doc: Doc) -> Step:
    try:
        op, order = doc.get("op"), doc.get("order")
        return Step(
            seq=int(doc["seq"]),
            ts=int(doc["ts"]),
            phase=str(doc["phase"]),
            cause=str(doc["cause"]),
            position=from_fields(Position, doc["state"]),
            op=from_fields(Operation, op) if op else None,
            order=from_fields(Order, order) if order else None,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        name = doc.get("_key") or doc.get("seq")
        raise UnreadableSnapshot(f"snapshot {name}: {type(error).__name__}: {error}") from error


def _sequence(step: Step, expected: int) -> list[str]:
    faults = []
    if step.seq > expected:
        missing = str(expected) if step.seq == expected + 1 else f"{expected} to {step.seq - 1}"
        faults.append(f"seq {missing} missing before it")
    elif step.seq < expected:
        faults.append(f"comes twice, or after seq {expected - 1}")
    if step.phase not in PHASES:
        faults.append(f"phase is {step.phase!r}")
    return faults


def _agreement(doc: Doc, p: Position) -> list[str]:
    """Compare the named members, the key and the figures at the mark with ``state``. Returns the faults."""
    faults = [
        f"{name} is {_shown(doc.get(name))}, but {_shown(getattr(p, name))} in its state"
        for name in NAMED
        if not _same(doc.get(name), getattr(p, name))
    ]
    key = f"{p.position_id}:{p.seq:08d}"
    if doc.get("_key", key) != key:
        faults.append(f"_key is {doc['_key']!r}, not {key!r}")
    return faults + differences(revalue(p, p.mark), p, VALUED, f"at the mark {_shown(p.mark)}")


def _result(before: Position | None, known: Order | None, step: Step) -> tuple[Fill | None, list[str]]:
    """Book the step's order again on the position before it. Returns the fill, and where the books differ."""
    order, after = cast(Order, step.order), step.position
    blank = replace(order, status="PENDING", filled=ZERO, avg_price=ZERO, fee=ZERO)
    known = known or blank
    # Any step size above the dust gives the same books.
    step_size = after.dust * 2 if after.dust else None
    try:
        booking = book(before, known, _heard(order, after), mark=after.mark, terms=SymbolTerms(step_size), now=step.ts)
    except (MalformedMessage, LookupError, ValueError) as error:
        return None, [f"the result of {order.client_order_id} cannot follow: {error}"]
    if booking is None:
        unchanged = cast(Position, before)
        return None, differences(unchanged, after, BOOKED, f"though {order.client_order_id} had nothing new")
    faults = differences(booking.position, after, (*BOOKED, *VALUED), f"by the books after {order.client_order_id}")
    return _fill(before, known, booking), faults


def _heard(order: Order, after: Position) -> OrderResult:
    """Reconstruct the result that S4 sent. S4's figures of margin, leverage and liquidation come from the outcome."""
    opens = order.kind in OPENING_KINDS and after.market == "FUT"
    return OrderResult(
        ts=max(after.ts, after.margin_ts, after.leverage_ts, after.liq_ts, after.filled_ts),  # they are the newest
        symbol=after.symbol,
        market=after.market,
        position_id=after.position_id,
        client_order_id=order.client_order_id,
        intent_id=order.intent_id,
        kind=order.kind,
        side=order.side,
        type=order.type,
        status="CANCEL_REJECTED" if order.status == "PENDING" or order.status == "ABANDONED" else order.status,
        qty=order.qty,
        filled_qty=order.filled,
        avg_price=order.avg_price or None,
        fee=order.fee,
        leverage=after.leverage if opens else None,
        isolated_margin_usdt=after.isolated_margin_usdt if opens else None,
        liq_price=after.liq_price if opens else None,
    )


def _fill(before: Position | None, known: Order, booking: Booking) -> Fill | None:
    if not booking.increment:
        return None
    p, order = booking.position, booking.order
    with exactly():
        fee = order.fee - known.fee
        past = before.realized_pnl_usdt if before is not None and before.life == p.life else ZERO
        realized = p.realized_pnl_usdt - past + fee
    return Fill(
        kind=order.kind,
        side=order.side,
        qty=booking.increment,
        price=booking.price,
        fee=fee,
        realized=realized,
        client_order_id=order.client_order_id,
        rungs=order.rungs,
        ours=order.ours,
        closed=booking.closed,
    )


def differences(expected: object, found: object, names: Iterable[str], why: str) -> list[str]:
    """Return one text for each of the fields ``names`` in which two records differ."""
    return [
        f"{name} is {_shown(getattr(found, name))}, not {_shown(getattr(expected, name))} {why}"
        for name in names
        if getattr(expected, name) != getattr(found, name)
    ]


def _same(named: object, exact: object) -> bool:
    """Return whether a named member equals the state's; numbers need only be the same double."""
    if isinstance(exact, Decimal) or (isinstance(exact, int) and not isinstance(exact, bool)):
        if isinstance(named, bool) or not isinstance(named, int | Decimal | float):
            return False
        return named == exact or float(named) == float(exact)
    return type(named) is type(exact) and named == exact


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, str) else str(value)
