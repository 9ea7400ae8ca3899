"""One position's history: its newest snapshots, and the chart of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from s6.model.commit import Doc
from web.services import Services

SHOWN = 200
_WIDTH, _HEIGHT, _EDGE = 720.0, 180.0, 8.0


@dataclass(frozen=True)
class Chart:
    """Mark, entry and stop over time, as SVG points in a box of ``width`` × ``height``."""

    mark: str
    stops: tuple[str, ...]
    entry: str
    low: Decimal
    high: Decimal
    first_ts: int
    last_ts: int
    width: int = int(_WIDTH)
    height: int = int(_HEIGHT)


def newest(services: Services, position_id: str) -> list[Doc]:
    """Return the newest snapshots, latest first, including those that wait for the store."""
    waiting = services.state.outbox_peek(position_id, SHOWN * 10)
    stored = services.store.snapshots(position_id=position_id, limit=SHOWN, newest_first=True).items
    by_seq = {_integer(doc, "seq"): doc for doc in [*stored, *waiting]}
    return [by_seq[seq] for seq in sorted(by_seq, reverse=True)][:SHOWN]


def chart(snapshots: Sequence[Doc]) -> Chart | None:
    """Return the chart of the newest life in ``snapshots`` (latest first), or None if there are too few."""
    life = snapshots[0].get("life") if snapshots else None
    docs = [doc for doc in reversed(snapshots) if doc.get("life") == life and _decimal(doc, "mark")]
    if len(docs) < 2 or _integer(docs[0], "ts") == _integer(docs[-1], "ts"):
        return None
    prices = [p for doc in docs for name in ("mark", "entry_price_avg", "sl_price") if (p := _decimal(doc, name))]
    low, high = min(prices), max(prices)
    first, last = _integer(docs[0], "ts"), _integer(docs[-1], "ts")

    def x(doc: Doc) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (_integer(doc, "ts") - first) / (last - first)

    def y(price: Decimal) -> float:
        share = float((price - low) / (high - low)) if high > low else 0.5
        return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * share

    def line(name: str) -> str:
        return " ".join(f"{x(doc):.1f},{y(p):.1f}" for doc in docs if (p := _decimal(doc, name)))

    return Chart(line("mark"), tuple(_stairs(docs, x, y)), line("entry_price_avg"), low, high, first, last)


def _stairs(docs: Sequence[Doc], x: Callable[[Doc], float], y: Callable[[Decimal], float]) -> Iterator[str]:
    """Yield a staircase for each period with a stop: the stop holds until it moves."""
    flight: list[str] = []
    for doc, following in pairwise(docs):
        price = _decimal(doc, "sl_price")
        if price:
            flight += [f"{x(doc):.1f},{y(price):.1f}", f"{x(following):.1f},{y(price):.1f}"]
        elif flight:
            yield " ".join(flight)
            flight = []
    if flight:
        yield " ".join(flight)


def _decimal(doc: Doc, name: str) -> Decimal | None:
    value = doc.get(name)
    return Decimal(value) if isinstance(value, int | Decimal | str) and value != "" else None


def _integer(doc: Doc, name: str) -> int:
    value = doc.get(name)
    return int(value) if isinstance(value, int | str | Decimal) and value != "" else 0
