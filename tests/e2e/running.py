"""A running S6 between paper neighbours, and what the wire shows of it: for tests that judge by nothing else."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from requests import Response, Session

from s6.adapters.redis_client import connect
from s6.keys import ALERTS_FATAL
from s6.model import jsonx
from s6.model.jsonx import dumps
from s6.standalone.redis_single import EmbeddedRedis
from tests.judge.judge import Bounds, Violation, exposure, judge
from tests.support.paper_client import Item, Number, PaperClient
from tests.support.procs import CORE, S6Processes
from tests.support.waiting import wait_for

D: Final = Decimal
Rules = Mapping[str, object]
TOKENS: Final = "reader:read:read-token,operator:ops:ops-token,treasurer:treasury:treasury-token"
#: What is cut where there is no sweep: it would do a second later what is to be done at once.
UNSWEPT: Final = {"listener": "rest"}
SPEC: Final = {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}
#: A loaded machine may be slow to schedule five processes; the second that the contract gives is tested by itself.
PATIENT: Final = Bounds(gap=4_000, resize=6_000)
BUNDLE: Final[dict[str, Any]] = {
    "fut": {
        "stop": {
            "k_by_regime": {"LOW": D("1.5"), "NORMAL": 2, "HIGH": 3},
            "default_regime": "NORMAL",
            "fallback_pct": D("0.02"),
            "lock_steps": [{"roe": D("0.5"), "lock_roe": D("0.2")}, {"roe": 1, "lock_roe": D("0.6")}],
        }
    },
    "spot": {
        "guard": {"k_atr": 2, "fallback_pct": D("0.05"), "lock_steps": [{"roe": D("0.1"), "lock_roe": D("0.03")}]}
    },
    "limits": {"fut_budget": None, "spot_budget": None, "adds_in_flight": 10},
    "execution": {
        "cancel_wait_ms": 1000,
        "breach_grace_ms": 1500,
        "retry": {"base_ms": 50, "cap_ms": 1000, "attempts": 6},
    },
    "health": {"market_stale_ms": 600_000, "poll_interval_s": 1},
}


class Running:
    """One S6 for many tests, each with symbols of its own."""

    def __init__(self, s6: S6Processes, paper: PaperClient) -> None:
        self.s6, self.paper = s6, paper
        self.redis: Any = connect(s6.env["S6_REDIS_URL"])
        self.broker: Any = connect(s6.env["S6_BROKER_URL"])
        self.http = Session()
        self._numbers = itertools.count(1)
        self._symbols: dict[str, dict[str, object]] = {}
        self._sections: dict[str, Any] = dict(BUNDLE)

    # --- the bundle

    def symbol(
        self, *, fut: Rules | None = None, spot: Rules | None = None, mark: Number | None = 40_000, **spec: str
    ) -> str:
        """A new symbol with rules of its own, in force everywhere, its market at ``mark``."""
        name = f"E{next(self._numbers):03d}USDT"
        grid = SPEC | spec
        self.paper.symbol(name, **grid)
        self._symbols[name] = {**grid, "fut": fut or {}, "spot": spot or {}}
        self.publish()
        if mark is not None:
            self.paper.tick(name, mark)
        return name

    def publish(self, **sections: object) -> str:
        """Publish the bundle with some of its sections changed (None: as at first), and wait until it is in force."""
        for name, section in sections.items():
            self._sections[name] = BUNDLE[name] if section is None else section
        bundle = self.bundle()
        self.paper.publish_bundle(bundle)
        version = str(bundle["version"])
        wait_for(lambda: self.health()["bundle_version"] == version, 15, f"bundle {version} in force")
        return version

    def bundle(self) -> dict[str, object]:
        """The bundle to publish next, under a new version."""
        return {"version": f"e2e-{next(self._numbers)}", **self._sections, "symbols": dict(self._symbols)}

    def respecify(self, symbol: str, **changed: str) -> None:
        """Change a symbol's grid, at the exchange and in the bundle."""
        entry = self._symbols[symbol]
        entry.update(changed)
        self.paper.symbol(symbol, **{name: str(entry[name]) for name in SPEC})
        self.publish()

    def rule(self, symbol: str, **rules: Rules) -> str:
        """Give a symbol other ``fut`` or ``spot`` rules; the bundle's version."""
        self._symbols[symbol].update(rules)
        return self.publish()

    def forget(self, symbol: str) -> dict[str, object]:
        """Take a symbol out of the bundles to come; its entry, for ``remember``."""
        return self._symbols.pop(symbol)

    def remember(self, symbol: str, entry: dict[str, object]) -> None:
        self._symbols[symbol] = entry

    def ticked(self, symbol: str, mark: Number) -> None:
        """Move the market, and wait until S6 has read it."""
        self.paper.tick(symbol, mark)
        wait_for(lambda: self.redis.hget(f"s6:market:{symbol}", "mark") == str(mark), 5, f"{symbol} at {mark} read")

    # --- positions

    def enter(
        self,
        symbol: str,
        side: str = "LONG",
        qty: Number = "0.1",
        leverage: Number = 10,
        market: str = "FUT",
        **more: Any,
    ) -> str:
        """A new position; its id."""
        position_id = f"p-{uuid.uuid4().hex[:12]}"
        self.paper.open_position(position_id, symbol, side, qty, leverage, market, **more)
        return position_id

    def protected(self, position_id: str, *, price: Number | None = None, qty: Number | None = None) -> dict[str, str]:
        """Wait for a live stop (at that price, for that quantity) which S4 holds too; ``pos:sl:level``."""

        def look() -> dict[str, str] | None:
            stop = self.stop(position_id)
            if not stop or (price is not None and D(stop["price"]) != D(price)) or self.operation(position_id):
                return None
            if qty is not None and D(stop["qty"]) != D(qty):
                return None
            live = {str(o["client_order_id"]) for o in self.orders(position_id, kind="SL", live=True)}
            return stop if {stop["client_order_id"]} == live else None

        return wait_for(look, 15, f"{position_id} protected at {price} for {qty}") or {}

    def guarded(self, position_id: str, *, price: Number, qty: Number | None = None) -> dict[str, str]:
        """Wait for S6's own guard at that price."""

        def look() -> dict[str, str] | None:
            stop = self.stop(position_id)
            good = stop and D(stop["price"]) == D(price) and (qty is None or D(stop["qty"]) == D(qty))
            return stop if good else None

        return wait_for(look, 15, f"{position_id} guarded at {price}") or {}

    def holds(self, position_id: str, qty: Number) -> dict[str, str]:
        """Wait until S6 says that this quantity is held and nothing is in flight; ``pos:state``."""

        def look() -> dict[str, str] | None:
            state = self.state(position_id)
            return state if state and D(state["qty"]) == D(qty) and not self.operation(position_id) else None

        return wait_for(look, 20, f"{position_id} holds {qty}") or {}

    def closed(self, position_id: str) -> dict[str, str]:
        state = self.holds(position_id, 0)
        assert state["status"] == "CLOSED"
        wait_for(lambda: not self.orders(position_id, live=True), 5, f"no live order of {position_id}")
        return state

    def state(self, position_id: str) -> dict[str, str]:
        return dict(self.redis.hgetall(f"pos:state:{{{position_id}}}"))

    def stop(self, position_id: str) -> dict[str, str]:
        return dict(self.redis.hgetall(f"pos:sl:level:{{{position_id}}}"))

    def operation(self, position_id: str) -> dict[str, str]:
        return dict(self.redis.hgetall(f"pos:op:{{{position_id}}}"))

    def events(self, symbol: str, *types: str, position_id: str | None = None) -> list[dict[str, Any]]:
        """Entries of ``pos:events:SYMBOL``, ``data`` read."""
        entries = (fields for _, fields in self.redis.xrange(f"pos:events:{symbol}"))
        return [
            {**fields, "data": jsonx.loads(fields["data"])}
            for fields in entries
            if (not types or fields["type"] in types) and position_id in (None, fields["position_id"])
        ]

    def event(self, symbol: str, type_: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many events of a type."""
        wait_for(lambda: len(self.events(symbol, type_)) >= count, 15, f"{count} {type_} of {symbol}")
        return self.events(symbol, type_)

    # --- what the neighbours saw

    def orders(self, position_id: str, *, kind: str | None = None, live: bool | None = None) -> list[Item]:
        return [o for o in self.paper.orders(position_id, live=live) if kind in (None, o["kind"])]

    def ledger(self, position_id: str, *what: str) -> list[Item]:
        """Records about one position, oldest first."""
        return [r for r in self.paper.ledger() if (not what or r["what"] in what) and _about(r) == position_id]

    def requests(self, position_id: str, route: str) -> list[dict[str, Any]]:
        """Bodies of the requests S4 got, repeats included."""
        return [r["body"] for r in self.ledger(position_id, "request") if r["route"] == route]  # type: ignore[misc]

    def violations(self, position_id: str, bounds: Bounds = PATIENT) -> list[Violation]:
        return [v for v in judge(self.paper.ledger(), bounds) if v.position_id in ("", position_id)]

    def quotas_agree(self) -> None:
        """Wait until ``risk:*`` says what the exchange's open positions took."""

        def look() -> bool:
            due = exposure(self.paper.ledger())
            return all(self._quota(market) == due[market] for market in due)

        wait_for(
            look, 10, f"quotas as {exposure(self.paper.ledger())}, not {[self._quota(m) for m in ('FUT', 'SPOT')]}"
        )

    def _quota(self, market: str) -> tuple[int, Decimal]:
        count, margin = (self.redis.get(f"risk:{name}:{market}") or "0" for name in ("concurrency", "budget"))
        return int(D(count)), D(margin)

    # --- HTTP

    def health(self) -> dict[str, Any]:
        return dict(jsonx.loads(self.http.get(f"{self.s6.url}/health", timeout=10).text))

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = "ops-token", **more: Any
    ) -> Response:
        """A request to S6; a body is sent as JSON."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            more["data"] = body if isinstance(body, str | bytes) else dumps(body)
            headers["Content-Type"] = "application/json"
        return self.http.request(
            method, f"{self.s6.url}{path}", headers=headers | more.pop("headers", {}), timeout=10, **more
        )

    def manage(self, position_id: str, action: str, *, token: str | None = "ops-token", **other: object) -> Response:
        state = self.state(position_id)
        body = {"symbol": state.get("symbol", "BTCUSDT"), "market": state.get("market", "FUT"), "reason": "a test"}
        return self.call(
            "POST", "/positions/manage", {**body, "position_id": position_id, "actions": [action], **other}, token=token
        )

    def managed(self, position_id: str, action: str) -> dict[str, Any]:
        """The answer to an action that must succeed; tried again while the position is being governed."""

        def ask() -> dict[str, Any] | None:
            answer = self.manage(position_id, action)
            if answer.status_code == 409:
                return None
            assert answer.status_code == 200, answer.text
            return dict(jsonx.loads(answer.text))

        return wait_for(ask, 10, f"{action} of {position_id}", every=0.1) or {}

    def timeline(self, position_id: str) -> list[dict[str, Any]]:
        """All snapshots."""
        answer = self.call("GET", f"/positions/{position_id}/timeline?limit=500", token="read-token")
        assert answer.status_code == 200, answer.text
        return list(jsonx.loads(answer.text)["items"])

    def alerts(self, code: str, position_id: str | None = None) -> list[dict[str, str]]:
        found = (fields for _, fields in self.redis.xrange("s6:alerts"))
        return [a for a in found if a["code"] == code and position_id in (None, a.get("position_id"))]

    def alert(
        self, code: str, position_id: str | None = None, *, matching: Callable[[dict[str, str]], bool] | None = None
    ) -> dict[str, str]:
        """Wait for an alert."""

        def look() -> dict[str, str] | None:
            return next((a for a in self.alerts(code, position_id) if matching is None or matching(a)), None)

        return wait_for(look, 15, f"alert {code}") or {}

    def acknowledge_all(self) -> None:
        """Let no FATAL stand."""

        def none_stands() -> bool:
            answer = self.call("GET", "/alerts?severity=FATAL&standing=true&limit=500", token="read-token")
            assert answer.status_code == 200, answer.text
            for alert in jsonx.loads(answer.text)["items"]:
                acked = self.call("POST", f"/alerts/{alert['alert_id']}/ack", {"by": "test"})
                assert acked.status_code == 200, acked.text
            return not self.redis.exists(ALERTS_FATAL)

        wait_for(none_stands, 10, "no FATAL stands", every=0.2)


@contextmanager
def started(folder: Path, *, sweep_s: str, cuts: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Web, worker, beat and listener, healthy, between paper neighbours whose market is moved by hand.

    ``sweep_s`` is the sweep's period; ``cuts`` names for ``worker`` and ``listener`` the lines of promptness that are
    cut there (see ``tests.support.cut``).
    """
    with EmbeddedRedis(folder / "redis") as redis:
        env = {
            "S6_REDIS_URL": redis.url(0),
            "S6_BROKER_URL": redis.url(1),
            "S6_API_TOKENS": TOKENS,
            "S6_MANAGE_TICK_S": sweep_s,
            "S6_TREASURY_TICK_S": "86400",
        }
        with S6Processes(folder / "s6", env) as processes:
            paper = processes.start_paper("--no-wallet-follows-trades")
            for name in CORE:
                processes.start(name, cut=(cuts or {}).get(name, ""))
            processes.healthy(90)
            yield Running(processes, paper)


def _about(record: Item) -> str | None:
    for part in (record, record.get("body"), record.get("fields")):
        if isinstance(part, Mapping) and "position_id" in part:
            return str(part["position_id"])
    return None


def near(mine: object, theirs: object) -> bool:
    """Equal to 26 significant digits."""
    a, b = D(str(mine)), D(str(theirs))
    return abs(a - b) <= abs(b) * D("1e-25")


def total(items: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((D(str(item[name])) for item in items), D(0))
