"""Histories for tests, written as S6 writes them: results booked, decisions noted, each with its snapshot."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from s6.booking import SymbolTerms, book
from s6.model import jsonx
from s6.model.documents import snapshot
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase
from s6.model.wire import OrderResult

D = Decimal
T0 = 1_700_000_000_000
TERMS = SymbolTerms(step=D("0.001"), mmr=D("0.004"))


class Story:
    """One position's life as it goes on; ``docs`` are its snapshots as a store gives them back."""

    def __init__(self, position_id: str = "p1", side: str = "LONG", market: str = "FUT") -> None:
        self.position_id, self.market = position_id, market
        self.opening, self.closing = ("BUY", "SELL") if side == "LONG" else ("SELL", "BUY")
        self.position: Position | None = None
        self.books: dict[str, Order] = {}
        self.docs: list[dict[str, Any]] = []
        self.now = T0

    def heard(
        self, kind: str, order_id: str, qty: str, filled: str, price: str = "40000", status: str = "", **more: object
    ) -> None:
        """A result from S4; ``price`` is the average of what is filled. The market stands at that price."""
        opens = kind in ("ENTRY", "ADD")
        fields: dict[str, object] = {
            "ts": self.now,
            "symbol": "BTCUSDT",
            "market": self.market,
            "position_id": self.position_id,
            "client_order_id": order_id,
            "kind": kind,
            "side": self.opening if opens else self.closing,
            "type": "MARKET",
            "status": status or ("FILLED" if D(qty) == D(filled) else "PARTIALLY_FILLED"),
            "qty": qty,
            "filled_qty": filled,
            "avg_price": price if D(filled) else None,
            **({"leverage": "10"} if opens and self.market == "FUT" else {}),
            **more,
        }
        result = OrderResult.model_validate(fields)
        known = self.books.get(order_id)
        booking = book(self.position, known, result, mark=D(price), terms=TERMS, now=self.now)
        assert booking is not None
        self.books[order_id] = booking.order
        self._write(booking.position, "RESULT", f"{kind} {result.status}", booking.order)

    def governed(self, cause: str, phase: Phase = "AFTER", op: Operation | None = None, **changes: Any) -> None:
        """A snapshot of a decision, or of what came of it."""
        assert self.position is not None
        self._write(replace(self.position, **changes), phase, cause, None, op)

    def silent(self, **changes: Any) -> None:
        """A commit without a snapshot."""
        assert self.position is not None
        self.position = replace(self.position, rev=self.position.rev + 1, **changes)

    def passed(self, ms: int) -> None:
        self.now += ms

    def _write(
        self, position: Position, phase: Phase, cause: str, order: Order | None, op: Operation | None = None
    ) -> None:
        position = replace(position, seq=position.seq + 1, rev=position.rev + 1, ts=self.now, cause=cause)
        doc = snapshot(position, phase, cause, self.now, op=op, order=order)
        self.docs.append(jsonx.loads(jsonx.dumps(doc)))
        self.position = position
        self.passed(250)


def whole_life(position_id: str = "p1") -> Story:
    """Entered in two parts, protected, a take-profit, an add, stopped out; then entered anew and closed by hand."""
    story = Story(position_id)
    story.heard("ENTRY", "e1", "0.100", "0.040", fee="0.64")
    story.heard("ENTRY", "e1", "0.100", "0.100", "40010", fee="1.60")
    story.governed("hint: STOP_MOVE FIRST", "BEFORE")
    story.governed("STOP_MOVE success", sl_price=D("39250"), sl_order="SL-1", sl_qty=D("0.1"), sl_ts=story.now)
    story.passed(60_000)
    story.governed("hint: TP_PARTIAL RUNG", "BEFORE")
    story.heard("TP", "t1", "0.033", "0.033", "41000.5", fee="0.54")
    story.heard("SL", "SL-1", "0.1", "0", "41000", status="CANCELED", type="STOP_MARKET")
    story.governed("STOP_MOVE success", sl_price=D("40200"), sl_level=1, sl_order="SL-2", sl_qty=D("0.067"))
    story.passed(3_600_000)
    story.heard("ADD", "a1", "0.05", "0.02", "41333.3")
    story.heard("ADD", "a1", "0.05", "0.05", "41333.7")
    story.heard("SL", "SL-2", "0.117", "0.117", "40198.7", type="STOP_MARKET", fee="2.4")
    story.passed(86_400_000)
    story.heard("ENTRY", "e2", "0.02", "0.02", "39500", leverage="20", fee="0.4")
    story.governed("STOP_MOVE success", sl_price=D("38750"), sl_order="SL-3", sl_qty=D("0.02"))
    story.heard("EXIT", "manual", "0.02", "0.02", "39600")
    return story
