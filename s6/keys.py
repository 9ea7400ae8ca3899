"""Every key, stream and channel in Redis, spelt in one place. Braces are cluster hash tags."""

from __future__ import annotations

from typing import Final, NamedTuple

# --- what others write and S6 reads -----------------------------------------------------------------------------

TICKS: Final = "mkt:"  # the symbol follows, as in the next two
FEATURES: Final = "feat:events:"
RESULTS: Final = "ord:result:"
BUNDLE_EVENTS: Final = "cfg:events"


def service_health(service: str) -> str:
    """What S11 reports of a service."""
    return f"prod:health:{service}"


# --- what is there once -----------------------------------------------------------------------------------------

POSITIONS: Final = "s6:positions"
SYMBOLS: Final = "s6:symbols"
CLOSED: Final = "s6:closed"
GONE: Final = "s6:gone"
OPS: Final = "s6:ops"
LOOKS: Final = "s6:looks"
LOOKS_LATER: Final = "s6:looks:later"
OUTBOX: Final = "s6:outbox"
SWEEP_LAST: Final = "s6:sweep:last"
SWEEP_TURN: Final = "s6:sweep:turn"
PARKED: Final = "s6:parked"
ADDS_AT_WORK: Final = "s6:adds"
REBUILT: Final = "s6:rebuilt"
RECONCILED: Final = "s6:reconciled"
RECONCILING: Final = "s6:reconciling"
SERVERS: Final = "s6:reconciled:servers"
CHANGED: Final = "s6:changed"
BUNDLE: Final = "s6:bundle"
BUNDLES_KEPT: Final = "{s6:bundle}:kept"
METRICS: Final = "s6:metrics:values"
PROCESSES: Final = "s6:alive"


def process(member: str) -> str:
    """The heartbeat of one process."""
    return f"{PROCESSES}:{member}"


def neighbour(name: str) -> str:
    """The circuit breaker of one neighbour."""
    return f"s6:neighbour:{name}"


# --- alerts and dead letters, each in the slot of its stream ----------------------------------------------------

ALERTS: Final = "s6:alerts"
ALERT_DOC: Final = "{s6:alerts}:doc:"  # the alert's id follows
ALERT_COUNTED: Final = "{s6:alerts}:counted:"
ALERT_QUIET: Final = "{s6:alerts}:quiet:"  # the topic follows
ALERT_NOTIFIED: Final = "{s6:alerts}:told:"
ALERTS_FATAL: Final = "{s6:alerts}:fatal"
ALERTS_OUT: Final = "{s6:alerts}:out"
ALERTS_TO_NOTIFY: Final = "{s6:alerts}:people"


def notified(service: str) -> str:
    """What a service of notifications has taken of ``ALERTS_TO_NOTIFY``."""
    return f"{ALERTS_TO_NOTIFY}:{service}"


def notify_turn(service: str) -> str:
    """Whose turn it is to send to that service; while it exists, nobody else sends."""
    return f"{ALERTS_TO_NOTIFY}:{service}:turn"


DEAD_LETTERS: Final = "s6:deadletter"
DEAD_LETTER_SEEN: Final = "{s6:deadletter}:seen:"

# --- locks ------------------------------------------------------------------------------------------------------


class Lock(NamedTuple):
    """A lock's key, and after how long (ms) it expires: a holder that is slower has died, or is in trouble."""

    key: str
    ttl_ms: int


class SoftLock(NamedTuple):
    """The lock of work that takes as long as it takes, and does no harm when it is done twice at once: after how long
    (ms) another process may begin it, whether its holder has died or not."""

    key: str
    ttl_ms: int


# Every lock there is, in the order in which one process may take several; two of one kind are never held together.

#: Prolonged as long as its holder gets on: a listener that dies over it holds up the next one no longer than this.
RECONCILE_LOCK: Final = SoftLock("lock:reconcile", 3_000)
SWEEP_LOCK: Final = SoftLock("lock:sweep", 15_000)
RELAY_LOCK: Final = SoftLock("lock:relay", 10_000)


def treasury_lock(src: str, dst: str) -> Lock:
    """One step of a transfer between two wallets at a time. Longer than any single call made under it."""
    return Lock(f"lock:treasury:{src}:{dst}", 6_000)


def position_lock(position_id: str) -> Lock:
    """One evaluation or one step at a time. Longer than any bounded HTTP call (3 s)."""
    return Lock(f"lock:pos:{{{position_id}}}", 4_000)


def relay_claim(position_id: str) -> SoftLock:
    """One relay of a position's events at a time."""
    return SoftLock(f"pos:outbox:{{{position_id}}}:claim", 5_000)


# --- a position's, all of one slot ------------------------------------------------------------------------------


def state(position_id: str) -> str:
    return f"pos:state:{{{position_id}}}"


def stop(position_id: str) -> str:
    return f"pos:sl:level:{{{position_id}}}"


def ladder(position_id: str) -> str:
    return f"pos:tp:ladder:{{{position_id}}}"


def adds(position_id: str) -> str:
    return f"pos:adds:{{{position_id}}}"


def operation(position_id: str) -> str:
    return f"pos:op:{{{position_id}}}"


def orders(position_id: str) -> str:
    return f"pos:orders:{{{position_id}}}"


def events_outbox(position_id: str) -> str:
    return f"pos:outbox:{{{position_id}}}:events"


def snaps_outbox(position_id: str) -> str:
    return f"pos:outbox:{{{position_id}}}:snaps"


def crossing(position_id: str) -> str:
    return f"pos:cross:{{{position_id}}}"


# --- a symbol's, and the quotas ---------------------------------------------------------------------------------


def open_positions(symbol: str) -> str:
    return f"s6:open:{symbol}"


def market(symbol: str) -> str:
    return f"s6:market:{symbol}"


def asked(symbol: str) -> str:
    """While it exists, S1 is not asked for a tick of this symbol."""
    return f"s6:asked:{symbol}"


def rest(name: str, path: str) -> str:
    """While it exists, the neighbour wants rest from this question, a GET of ``path``."""
    return f"s6:rest:{name}:{path}"


def features(symbol: str) -> str:
    return f"s6:features:{symbol}"


def events(symbol: str) -> str:
    return f"pos:events:{symbol}"


def concurrency(market_: str) -> str:
    return f"risk:concurrency:{market_}"


def budget(market_: str) -> str:
    return f"risk:budget:{market_}"


def quota_applied(counter: str) -> str:
    """Which moves a counter has had; the tag puts it in the counter's own slot."""
    return f"s6:quota:{{{counter}}}"


def gone(position_id: str) -> str:
    """What a position that has left Redis leaves behind, for its next life to go on from."""
    return f"pos:gone:{{{position_id}}}"


def kept_keys(position_id: str) -> list[str]:
    """Everything that is kept of a position but for its locks; the state and both outboxes first."""
    names = (state, events_outbox, snaps_outbox, stop, ladder, adds, operation, orders, crossing)
    return [name(position_id) for name in names]


def commit_keys(position_id: str) -> list[str]:
    """What one commit may write, in the commit script's order; all of one slot."""
    names = (state, stop, ladder, adds, operation, orders, events_outbox, snaps_outbox)
    return [position_lock(position_id).key, *(name(position_id) for name in names)]
