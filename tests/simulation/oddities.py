"""What S4 says and does that nobody expects: figures and words that cannot be, spells in which it takes no orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Final

from tests.simulation.profile import Profile, Spell

if TYPE_CHECKING:
    from tests.simulation.ledger import XOrder

_ODD_STATUS: Final = {
    "EXPIRED": "EXPIRED_IN_MATCH",
    "CANCELED": "CANCELED_BY_SYSTEM",
    "REJECTED": "REJECTED_BY_ENGINE",
    "FILLED": "CLOSED",
    "PARTIALLY_FILLED": "WORKING",
}
_CLOSING: Final = ("EXIT", "GUARD", "TP", "REDUCE")
FOREVER_MS: Final = 60_000


def odd_result(fields: dict[str, str], order: XOrder, rng: Random) -> tuple[dict[str, str], bool]:
    """Return the result with one odd figure; and whether people must hear of it, because it belongs to the result.

    No figure is lost that nobody could compute: what is odd beside leverage is the margin, or the other way around.
    """
    fields = dict(fields)
    if not order.filled:
        fields |= {"avg_price": rng.choice(["0", ""]), "leverage": "0"} if not order.opens else {}
        return fields, False
    kind = rng.choice(["FIGURES", "FIGURES", "ROUNDING", "QTY", "PRICE"])
    if kind == "ROUNDING" and order.filled == order.qty:
        point = "" if "." in fields["filled_qty"] else "."
        return fields | {"filled_qty": f"{fields['filled_qty']}{point}{'0' * 14}4"}, False
    if kind == "QTY" and fields["status"] == "FILLED":
        return fields | {"qty": rng.choice(["0", ""])}, False
    if kind == "PRICE" and order.kind != "ENTRY":
        return fields | {"avg_price": rng.choice(["0", ""])}, False
    if not (order.opens and order.market == "FUT"):
        return fields | {"leverage": "0", "isolated_margin_usdt": "-0.01"}, False
    if "isolated_margin_usdt" in fields:
        return fields | {"leverage": rng.choice(["0", "-5"]), "liq_price": "-12.5"}, True
    return fields | {"isolated_margin_usdt": rng.choice(["0", "-0.01"]), "liq_price": "-12.5"}, True


def odd_answer(fields: Mapping[str, str]) -> dict[str, object]:
    """Return ``GET /orders``'s answer in words of S4's own."""
    answer: dict[str, object] = {"avg_price": None, **fields}
    answer["status"] = _ODD_STATUS.get(fields["status"], fields["status"])
    if fields["type"] == "STOP_MARKET":
        answer["type"] = "STOP"
    changed = any(answer[name] != fields[name] for name in ("status", "type"))
    return answer | ({"unclear": True} if changed else {})


class Spells:
    """What S4 does with orders between ``begin`` and ``end``; ``refused`` counts by position and kind."""

    def __init__(self, profile: Profile) -> None:
        self.kind: Spell | None = profile.spell
        self.begin = self.end = 0
        self.refused: Counter[tuple[str, str]] = Counter()

    def on(self, kind: Spell, now: int) -> bool:
        """Whether this spell is on now."""
        return self.kind == kind and self.begin <= now < self.end

    def refusal(self, body: Mapping[str, object], last_stop: object, now: int) -> str:
        """Return why the order is refused now, or nothing. ``last_stop`` is the price of the life's last stop."""
        kind = str(body["kind"])
        if self.on("EXIT", now) and kind in ("EXIT", "GUARD"):
            return "RISK_LIMIT"
        if self.on("BETTER", now) and kind == "SL" and last_stop is not None and str(body["stopPx"]) != str(last_stop):
            return "PRICE_FILTER"
        if self.on("MISSING", now) and (kind in _CLOSING or kind == "SL"):
            return "NOTHING_LEFT"
        return ""

    def filled(self, position_id: str) -> None:
        """S4 has filled an order after all: S6 counts from the beginning."""
        for name, kind in list(self.refused):
            if name == position_id:
                del self.refused[name, kind]

    def pause_ms(self, position_id: str, kind: str) -> int:
        """For how long at most S6 does nothing about it after one more refusal, which is counted here."""
        self.refused[position_id, kind] += 1
        if self.kind == "MISSING":
            return FOREVER_MS
        return min(FOREVER_MS, 100 << self.refused[position_id, kind])
