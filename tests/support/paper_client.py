"""A client of the paper services' control API, for tests and tools."""

from decimal import Decimal

import requests

from s6.model.jsonx import dumps, loads
from s6.model.types import NEIGHBOURS

Item = dict[str, object]
Number = Decimal | int | str


class PaperError(RuntimeError):
    """The paper services refused a request; the text says which and why."""


class PaperClient:
    """Calls `/control` of the paper services. When a call returns, what it sent to a stream is there."""

    def __init__(self, base_url: str, *, timeout_s: float = 10.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def neighbour_urls(self) -> dict[str, str]:
        """Return the environment variables that connect S6 to these services."""
        return {f"S6_{name.upper()}_URL": f"{self.base_url}/{name}" for name in NEIGHBOURS}

    # --- market and entries

    def tick(self, symbol: str, mark: Number, **more: Number) -> Item:
        """Move the market. `bid`, `ask` and `last` default to the mark; `to` limits it to `stream` or `exchange`."""
        return self._call("POST", "ticks", {"symbol": symbol, "mark": str(mark), **_texts(more)})

    def feature(
        self,
        symbol: str,
        *,
        atr: Number | None = None,
        regime: str | None = None,
        signal: str | None = None,
        signal_id: str | None = None,
    ) -> None:
        """Publish features."""
        members = {"atr": None if atr is None else str(atr), "regime": regime, "signal": signal, "signal_id": signal_id}
        self._call("POST", "features", {"symbol": symbol, **{n: v for n, v in members.items() if v is not None}})

    def open_position(
        self,
        position_id: str,
        symbol: str,
        side: str,
        qty: Number,
        leverage: Number = 10,
        market: str = "FUT",
        *,
        force: bool = False,
    ) -> str:
        """Enter at market. Returns the ENTRY's `client_order_id`. Raises `PaperError`."""
        body = {"position_id": position_id, "symbol": symbol, "side": side, "qty": str(qty), "market": market}
        answer = self._call("POST", "entries", {**body, "leverage": str(leverage), "force": force})
        return str(answer["client_order_id"])

    def manual_close(self, position_id: str, qty: Number | None = None, *, reason: str = "MANUAL") -> str:
        """Close all or `qty` at the exchange, without S6; `reason` is MANUAL or ADL. Returns the `client_order_id`."""
        more = {"reason": reason} if qty is None else {"reason": reason, "qty": str(qty)}
        return str(self._call("POST", "closes", {"position_id": position_id, **more})["client_order_id"])

    def raw(self, stream: str, **fields: object) -> None:
        """Put any entry on any stream."""
        self._call("POST", "raw", {"stream": stream, "fields": {n: str(v) for n, v in fields.items()}})

    def note(self, text: str, *, lasts_ms: int = 0) -> None:
        """Note a disturbance (a killed process, say) in the ledger, for which the judge allows."""
        self._call("POST", "notes", {"text": text, "lasts_ms": lasts_ms})

    # --- what the services recorded

    def orders(self, position_id: str | None = None, *, live: bool | None = None) -> list[Item]:
        """Return orders, oldest first."""
        chosen = {"position_id": position_id, "live": None if live is None else str(int(live))}
        return self._items("orders", **chosen)

    def positions(self, *, open_only: bool = False) -> list[Item]:
        """Return positions."""
        return self._items("positions", open="1" if open_only else None)

    def position(self, position_id: str) -> Item:
        """Return one position. Raises `PaperError` if there is none."""
        for item in self.positions():
            if item["position_id"] == position_id:
                return item
        raise PaperError(f"no position {position_id}")

    def ledger(self, *, since: int = 0, what: str | None = None) -> list[Item]:
        """Return records of the ledger (`s6.paper.ledger`)."""
        return self._items("ledger", since=str(since), what=what)

    def approvals(self) -> list[Item]:
        """Return the requests for approval that S12 received."""
        return self._items("approvals")

    # --- faults, configuration, balances

    def fault(self, **layers: object) -> Item:
        """Merge faults into the plan: `fault(http={"s4": {"latency_ms": 50}}, stream={…}, exchange={…})`."""
        return self._call("POST", "faults", layers)

    def clear_faults(self) -> None:
        """Remove all faults and scripts."""
        self._call("DELETE", "faults", None)

    def script(self, place: str, action: str, **more: object) -> Item:
        """Set what happens to the next `count` (1) things at `place`; see `s6.paper.faults.Faults.script`."""
        return self._call("POST", "script", {"place": place, "action": action, **more})

    def bundle(self) -> Item:
        """Return the published bundle."""
        return self._call("GET", "bundle", None)

    def publish_bundle(self, bundle: Item | str, *, announce: bool = True) -> None:
        """Publish a bundle, given as a mapping or as text, which may be invalid."""
        text = bundle if isinstance(bundle, str) else dumps(bundle)
        self._send("PUT", f"bundle?announce={int(announce)}", text)

    def balances(self, **free: Number) -> Item:
        """Set the given wallets (`SPOT=…`, `FUT=…`), and return all of them."""
        return self._call("PUT", "balances", _texts(free)) if free else self._call("GET", "balances", None)

    def symbol(self, symbol: str, **spec: Number) -> None:
        """Set an instrument's `tick`, `step`, `min_qty`, `min_notional`, `mmr`."""
        self._call("PUT", f"symbols/{symbol}", _texts(spec))

    def health(self, service: str, status: str) -> None:
        """Set `prod:health:SERVICE`; an empty status deletes it."""
        self._call("PUT", f"health/{service}", {"status": status})

    def _items(self, path: str, **query: str | None) -> list[Item]:
        chosen = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        items = self._call("GET", f"{path}?{chosen}", None)["items"]
        assert isinstance(items, list)
        return items

    def _call(self, method: str, path: str, body: object) -> Item:
        return self._send(method, path, None if body is None else dumps(_exact(body)))

    def _send(self, method: str, path: str, text: str | None) -> Item:
        url = f"{self.base_url}/control/{path}"
        answer = self._session.request(method, url, data=text, timeout=self._timeout_s)
        if answer.status_code != 200:
            raise PaperError(f"{method} {path}: {answer.status_code} {answer.text}")
        body = loads(answer.text)
        assert isinstance(body, dict)
        return body


def _texts(numbers: dict[str, Number]) -> dict[str, str]:
    return {name: str(value) for name, value in numbers.items()}


def _exact(value: object) -> object:
    """Return floats (rates and delays) as decimals of their shortest text."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value
