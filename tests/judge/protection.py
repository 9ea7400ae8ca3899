"""When an open futures position stood without a stop for its whole quantity, and why."""

from dataclasses import dataclass
from decimal import Decimal

from s6.paper.domain import ZERO, SymbolSpec
from tests.judge.history import Disturbance, Held, History, OrderTrace, PositionTrace, refusals

_TOO_SMALL_MARGIN = Decimal("1.1")  # a stop lies below a LONG's entry: its notional may miss the minimum there


@dataclass(frozen=True, slots=True)
class Gap:
    """`qty` of a position without cover from `start` to `end` (ms); `cause` began it, `notes` happened in it.

    `disturbed_until`: when the last of what went wrong without S6's doing was over, or None.
    """

    position_id: str
    life: int
    start: int
    end: int
    qty: Decimal
    cause: str
    notes: tuple[str, ...]
    disturbed_until: int | None

    @property
    def length_ms(self) -> int:
        """How long it lasted."""
        return self.end - self.start


def protection_gaps(history: History) -> list[Gap]:
    """Every gap of every futures position that is large enough for a stop, one still open at the end included."""
    refused = refusals(history)
    gaps: list[Gap] = []
    for position in history.positions.values():
        if position.market == "FUT":
            broken = [d for d in history.disturbances if d.position_id in (None, position.position_id)]
            spec, words = history.specs.get(position.symbol), refused.get(position.position_id, [])
            for start, end, held, cause in _spans(position, spec, history.ends):
                gaps.append(_gap(position, start, end, held, cause, broken, words))
    return sorted(gaps, key=lambda gap: gap.start)


def _spans(position: PositionTrace, spec: SymbolSpec | None, ends: int) -> list[tuple[int, int, Held, str]]:
    stops = [order for order in position.orders if order.kind == "SL" and order.status != "REJECTED"]
    spans: list[tuple[int, int, Held, str]] = []
    opened: tuple[int, Held, str] | None = None
    for n, ts, cause in _moments(position, stops):
        held = position.at(n)
        bare = held is not None and _bare(held, stops, n, spec)
        if bare and held is not None and opened is None:
            opened = (ts, held, cause)
        elif not bare and opened is not None:
            spans.append((opened[0], ts, *opened[1:]))
            opened = None
    return [*spans, (opened[0], ends, *opened[1:])] if opened else spans


def _moments(position: PositionTrace, stops: list[OrderTrace]) -> list[tuple[int, int, str]]:
    """Every record after which the cover may be another: number, time, and what happened."""
    moments = []
    for index, held in enumerate(position.held):
        before = position.held[index - 1].qty if index else ZERO
        moments.append((held.n, held.ts, f"quantity {before} → {held.qty}"))
    for stop in stops:
        moments.append((stop.born, stop.born_ts, f"{stop.client_order_id} placed"))
        if stop.gone is not None and stop.gone_ts is not None:
            moments.append((stop.gone, stop.gone_ts, f"{stop.client_order_id} {stop.status}"))
    return sorted(moments)


def _bare(held: Held, stops: list[OrderTrace], n: int, spec: SymbolSpec | None) -> bool:
    if not held.qty or _unguardable(held, spec):
        return False
    return sum((stop.remaining_at(n) for stop in stops), ZERO) < held.qty


def _unguardable(held: Held, spec: SymbolSpec | None) -> bool:
    if spec is None:
        return False
    qty = spec.floor(held.qty)
    return qty < spec.min_qty or qty * held.entry < spec.min_notional * _TOO_SMALL_MARGIN


def _gap(
    position: PositionTrace,
    start: int,
    end: int,
    held: Held,
    cause: str,
    broken: list[Disturbance],
    refused: list[tuple[int, str]],
) -> Gap:
    within = [d for d in broken if d.ts <= end and d.until >= start]
    notes = [d.text for d in within] + [words for ts, words in refused if start <= ts <= end]
    until = max((d.until for d in within), default=None)
    return Gap(position.position_id, held.life, start, end, held.qty, cause, tuple(notes), until)
