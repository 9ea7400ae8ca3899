"""`/control/*`: the requests by which tests and operators steer and read the paper services.

| request | does |
|---|---|
| `POST /control/ticks` `{symbol, mark, bid?, ask?, last?, ts?}` | moves the market; `to`: `exchange` or `stream` only |
| `POST /control/features` `{symbol, atr?, regime?, signal?, signal_id?}` | one entry of `feat:events:*` |
| `POST /control/entries` `{position_id, symbol, side, qty, leverage?, market?, force?}` | opens or adds to a position |
| `POST /control/closes` `{position_id, qty?, reason?}` | closes at the exchange, by hand or by itself (`ADL`) |
| `POST /control/raw` `{stream, fields}` | any entry on any stream |
| `POST /control/notes` `{text, lasts_ms?}` | a note in the ledger: the judge takes it for a disturbance |
| `GET /control/orders` `?position_id=&live=` · `/positions` `?open=` · `/ledger` `?since=&what=` · `/approvals` | |
| `GET` `POST` (merge) `DELETE /control/faults`, `POST /control/script` `{place, action, …}` | see `s6.paper.faults` |
| `GET` `PUT /control/bundle` `?announce=0` | the bundle as any text; announced on `cfg:events` |
| `GET` `PUT /control/balances` `{SPOT?, FUT?}` · `PUT /control/symbols/{symbol}` · `PUT /control/health/{service}` | |

A request that puts something on a stream is answered once Redis has it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s6.model.jsonx import loads
from s6.paper.approvals import Approvals
from s6.paper.bundle import BundleShelf
from s6.paper.bus import Bus
from s6.paper.domain import Market, Quote, Side, SymbolSpec
from s6.paper.entries import Entries, EntryOrder
from s6.paper.exchange import Exchange
from s6.paper.faults import Faults, Step
from s6.paper.http import Request, Router
from s6.paper.ledger import Ledger, now_ms
from s6.paper.requests import Amount, Answer, PositionId, Symbol
from s6.paper.wallet import Wallet


class _ControlBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TickOrder(_ControlBody):
    """A quote. `bid`, `ask` and `last` default to the mark."""

    symbol: Symbol
    mark: Amount
    bid: Amount | None = None
    ask: Amount | None = None
    last: Amount | None = None
    ts: int | None = None
    to: Literal["both", "exchange", "stream"] = "both"

    def quote(self) -> Quote:
        """Return the quote with the defaults filled in."""
        mark = self.mark
        return Quote(mark, self.bid or mark, self.ask or mark, self.last or mark, self.ts or now_ms())


class FeatureOrder(_ControlBody):
    """One message of S2."""

    symbol: Symbol
    atr: Annotated[Decimal | None, Field(ge=0)] = None
    regime: str | None = None
    signal: Literal["LONG", "SHORT", "NONE"] | None = None
    signal_id: str | None = None


class _Entry(_ControlBody):
    position_id: PositionId
    symbol: Symbol
    side: Side
    qty: Amount
    leverage: Amount = Decimal(1)
    market: Market = "FUT"
    force: bool = False


class _Close(_ControlBody):
    position_id: PositionId
    qty: Amount | None = None
    reason: Literal["MANUAL", "ADL"] = "MANUAL"


class _Raw(_ControlBody):
    stream: str
    fields: dict[str, str]


class _Note(_ControlBody):
    text: str
    lasts_ms: Annotated[int, Field(ge=0)] = 0


class _Script(Step):
    place: str


class _Spec(_ControlBody):
    tick: Amount
    step: Amount
    min_qty: Amount
    min_notional: Amount
    mmr: Annotated[Decimal, Field(ge=0, lt=1)]


class Control:
    """Adds the control routes to a router."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        entries: Entries,
        bus: Bus,
        wallet: Wallet,
        shelf: BundleShelf,
        approvals: Approvals,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self._exchange, self._entries, self._bus, self._wallet = exchange, entries, bus, wallet
        self._shelf, self._approvals, self._faults, self._ledger = shelf, approvals, faults, ledger

    def mount(self, router: Router) -> None:
        """Serve `/control/*`."""
        routes: tuple[tuple[str, str, Callable[[Request], Answer]], ...] = (
            ("GET", "/control/health", lambda request: Answer(200, {"status": "OK"})),
            ("POST", "/control/ticks", self._tick),
            ("POST", "/control/features", self._feature),
            ("POST", "/control/entries", self._enter),
            ("POST", "/control/closes", self._close),
            ("POST", "/control/raw", self._raw),
            ("POST", "/control/notes", self._note),
            ("GET", "/control/orders", self._orders),
            ("GET", "/control/positions", self._positions),
            ("GET", "/control/ledger", self._records),
            ("GET", "/control/approvals", lambda request: _items(self._approvals.asked())),
            ("GET", "/control/faults", lambda request: self._faults_now()),
            ("POST", "/control/faults", self._merge_faults),
            ("DELETE", "/control/faults", self._clear_faults),
            ("POST", "/control/script", self._script),
            ("GET", "/control/bundle", lambda request: Answer(200, raw=self._shelf.text)),
            ("PUT", "/control/bundle", self._bundle),
            ("GET", "/control/balances", lambda request: self._wallet.balances()),
            ("PUT", "/control/balances", self._balances),
            ("PUT", "/control/symbols/{symbol}", self._spec),
            ("PUT", "/control/health/{service}", self._health),
        )
        for method, path, handler in routes:
            router.add(method, path, _checked(handler))

    def _tick(self, request: Request) -> Answer:
        body = TickOrder.model_validate(loads(request.body))
        quote = body.quote()
        if body.to != "stream":
            self._exchange.tick(body.symbol, quote)
        if body.to != "exchange":
            self._bus.tick(body.symbol, quote, lasting=True)
        return self._flushed({"ts": quote.ts})

    def _feature(self, request: Request) -> Answer:
        body = FeatureOrder.model_validate(loads(request.body))
        members = body.model_dump()
        self._bus.feature(str(members.pop("symbol")), members)
        return self._flushed({})

    def _enter(self, request: Request) -> Answer:
        body = _Entry.model_validate(loads(request.body))
        answer = self._entries.enter(EntryOrder(**body.model_dump()))
        return self._flushed(answer.body) if answer.status == 200 else answer

    def _close(self, request: Request) -> Answer:
        body = _Close.model_validate(loads(request.body))
        answer = self._exchange.close(body.position_id, body.qty, reason=body.reason)
        return self._flushed(answer.body) if answer.status == 200 else answer

    def _raw(self, request: Request) -> Answer:
        body = _Raw.model_validate(loads(request.body))
        self._bus.raw(body.stream, body.fields)
        return self._flushed({})

    def _note(self, request: Request) -> Answer:
        body = _Note.model_validate(loads(request.body))
        return Answer(200, {"n": self._ledger.add("note", body.model_dump())})

    def _orders(self, request: Request) -> Answer:
        live = request.query.get("live")
        chosen = None if live is None else live in {"1", "true"}
        return _items(self._exchange.orders(position_id=request.query.get("position_id"), live=chosen))

    def _positions(self, request: Request) -> Answer:
        return _items(self._exchange.positions(open_only=request.query.get("open") in {"1", "true"}))

    def _records(self, request: Request) -> Answer:
        return _items(self._ledger.records(since=int(request.query.get("since", "0")), what=request.query.get("what")))

    def _faults_now(self) -> Answer:
        plan = self._faults.plan.model_dump_json(exclude_unset=True)
        return Answer(200, raw=f'{{"plan": {plan}, "scripts": {_json(self._faults.pending())}}}')

    def _merge_faults(self, request: Request) -> Answer:
        change = loads(request.body)
        if not isinstance(change, dict):
            raise ValueError("an object is wanted")
        self._faults.merge(change)
        self._ledger.add("faults", {"change": change})
        return self._faults_now()

    def _clear_faults(self, request: Request) -> Answer:
        self._faults.clear()
        self._ledger.add("faults", {"change": None})
        return self._faults_now()

    def _script(self, request: Request) -> Answer:
        body = _Script.model_validate(loads(request.body))
        self._faults.script(body.place, body)
        self._ledger.add("script", {"place": body.place, "action": body.action, "count": body.count})
        return Answer(200, self._faults.pending())

    def _bundle(self, request: Request) -> Answer:
        self._shelf.put(request.body.decode())
        self._ledger.add("bundle", {"version": self._shelf.version, "text": self._shelf.text})
        if request.query.get("announce", "1") == "1":
            self._bus.news("cfg:events", {"version": self._shelf.version, "ts": now_ms()})
        return self._flushed({"version": self._shelf.version})

    def _balances(self, request: Request) -> Answer:
        body = loads(request.body)
        if not isinstance(body, dict) or not set(body) <= {"SPOT", "FUT"}:
            raise ValueError("an object with SPOT, FUT is wanted")
        self._wallet.set(**{name: Decimal(str(value)) for name, value in body.items()})
        return self._wallet.balances()

    def _spec(self, request: Request) -> Answer:
        body = _Spec.model_validate(loads(request.body))
        self._exchange.set_spec(request.params["symbol"], SymbolSpec(**body.model_dump()))
        return Answer(200, {})

    def _health(self, request: Request) -> Answer:
        body = loads(request.body)
        status = str(body.get("status")) if isinstance(body, dict) else ""
        self._bus.set_health(request.params["service"], status or None)
        return self._flushed({})

    def _flushed(self, body: object) -> Answer:
        return Answer(200, body) if self._bus.flush() else Answer(503, {"reason": "REDIS_DOWN"})


def _checked(handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    def checked(request: Request) -> Answer:
        try:
            return handler(request)
        except ValidationError as error:
            detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return Answer(422, {"reason": "MALFORMED", "detail": detail})
        except (ValueError, ArithmeticError) as error:
            return Answer(422, {"reason": "MALFORMED", "detail": str(error)})

    return checked


def _items(items: object) -> Answer:
    return Answer(200, {"items": items})


def _json(counts: dict[str, int]) -> str:
    return "{" + ", ".join(f'"{place}": {count}' for place, count in counts.items()) + "}"
