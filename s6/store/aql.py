"""The AQL texts that the ArangoDB store sends. All values are bind variables.

Two properties of the optimizer shape them. It serves an OR over index attributes by several ranges, which loses the
index's order, but it evaluates a ternary per document; so the texts use ternaries. An index on a time gives no order
among equal times; so a page first finds the time at which it ends, and then sorts that small range by time and key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product

from s6.store.port import ALERTS, SNAPSHOTS, TRANSFERS

FILTERS = {
    "position_id": "{d}.position_id == @position_id",
    "symbol": "{d}.symbol == @symbol",
    "severity": "{d}.severity == @severity",
    "status": "{d}.status IN @status",
    "closed": (
        "{d}.status == 'CLOSED' FILTER LENGTH(FOR later IN positions_snapshots"
        " FILTER later.position_id == {d}.position_id FILTER later.seq > {d}.seq LIMIT 1 RETURN true) == 0"
    ),
    "standing": "{d}.severity == 'FATAL' FILTER {d}.ack == null",
    "not_standing": "({d}.severity == 'FATAL' ? {d}.ack != null : true)",
}
"""The filters of a list of documents {d}. A filter's bind variable, if it has one, has the filter's name."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that the store reads page by page: a collection, filtered by FILTERS, in one order."""

    collection: str
    filters: tuple[str, ...]
    newest_first: bool

    @property
    def by_seq(self) -> bool:
        """Whether the list is one position's in order of ``seq``; other lists are in order of ``ts`` and ``_key``."""
        return "position_id" in self.filters

    def text(self) -> str:
        """Return the query. Its bind variables are @limit and the position to start after: @seq, or @ts and @key."""
        sign, order = ("<", "DESC") if self.newest_first else (">", "ASC")
        if self.by_seq:
            return f"{self._source('d')} FILTER d.seq {sign} @seq SORT d.seq {order} LIMIT @limit RETURN d"
        back = ">=" if self.newest_first else "<="
        return (
            f"LET edge = LAST({self._source('e')} {self._beyond('e')} SORT e.ts {order} LIMIT @limit RETURN e.ts)"
            f" {self._source('d')} {self._beyond('d')} FILTER d.ts {back} edge"
            f" SORT d.ts {order}, d._key {order} LIMIT @limit RETURN d"
        )

    def _source(self, variable: str) -> str:
        filters = [f"FILTER {FILTERS[name].format(d=variable)}" for name in self.filters]
        return " ".join([f"FOR {variable} IN {self.collection}", *filters])

    def _beyond(self, variable: str) -> str:
        sign = "<" if self.newest_first else ">"
        return f"FILTER {variable}.ts {sign}= @ts FILTER ({variable}.ts == @ts ? {variable}._key {sign} @key : true)"


def listings() -> Iterator[Listing]:
    """Yield every list that the store reads."""
    narrowed = {
        SNAPSHOTS: [*_some_of("position_id", "symbol"), ("closed",), ("symbol", "closed")],
        ALERTS: [*_some_of("severity", "standing"), *_some_of("severity", "not_standing")],
        TRANSFERS: _some_of("status"),
    }
    for collection, choices in narrowed.items():
        for filters, newest_first in product(dict.fromkeys(choices), (True, False)):
            yield Listing(collection, filters, newest_first)


def _some_of(*names: str) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


BY_KEYS = f"FOR d IN {SNAPSHOTS} FILTER d._key IN @keys RETURN d"

LATEST = (
    f"FOR d IN {SNAPSHOTS} FILTER d.position_id > @after"
    " COLLECT position_id = d.position_id AGGREGATE seq = MAX(d.seq) SORT position_id LIMIT @limit"
    f" FOR s IN {SNAPSHOTS} FILTER s.position_id == position_id FILTER s.seq == seq RETURN s"
)

EXPIRE_PREDECESSORS = (
    "FOR mark IN @marks"
    f" FOR d IN {SNAPSHOTS} FILTER d.position_id == mark.position_id FILTER d.seq == mark.seq - 1"
    f" UPDATE d WITH {{ expires_at: FLOOR(d.ts / 1000) + @retention_s }} IN {SNAPSHOTS}"
)

UPSERT_ALERTS = (
    "FOR doc IN @docs UPSERT { _key: doc._key } INSERT doc"
    f" REPLACE (OLD.ack == null || doc.ack != null ? doc : OLD) IN {ALERTS} OPTIONS {{ waitForSync: true }}"
)

PRUNE_SNAPSHOTS = (
    f"FOR d IN {SNAPSHOTS} FILTER d.ts >= @reached FILTER d.ts < @before"
    f" LET later = FIRST(FOR l IN {SNAPSHOTS} FILTER l.position_id == d.position_id FILTER l.seq > d.seq"
    " LIMIT 1 RETURN true)"
    " FILTER (d.status == 'OPEN' ? later : true) SORT d.ts LIMIT @limit"
    f" REMOVE d IN {SNAPSHOTS} RETURN OLD.ts"
)

PRUNE_TRANSFERS = (
    f"FOR d IN {TRANSFERS} FILTER d.ts < @before FILTER d.status IN @final"
    f" LIMIT @limit REMOVE d IN {TRANSFERS} RETURN OLD.ts"
)

PRUNE_ALERTS = (
    f"FOR d IN {ALERTS} FILTER d.ts < @before FILTER {FILTERS['not_standing'].format(d='d')}"
    f" LIMIT @limit REMOVE d IN {ALERTS} RETURN OLD.ts"
)
