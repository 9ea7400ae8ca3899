"""Builds the paper services from their parts."""

import secrets
import time
from collections.abc import Mapping

import redis

from s6.adapters.redis_client import RedisClient, connect
from s6.model.types import SERVICES
from s6.paper.approvals import Approvals, AutoApproval
from s6.paper.bundle import SPECS, BundleShelf, paper_bundle
from s6.paper.bus import Bus
from s6.paper.config import PaperConfig
from s6.paper.control import Control
from s6.paper.domain import SymbolSpec
from s6.paper.entries import Entries
from s6.paper.exchange import Exchange
from s6.paper.faults import ExchangeFaults, FaultPlan, Faults
from s6.paper.http import HttpServer, Router
from s6.paper.ledger import Ledger
from s6.paper.market import MarketRun
from s6.paper.neighbours import Neighbours
from s6.paper.strategy import Strategy
from s6.paper.timer import Timer
from s6.paper.vault import Vault
from s6.paper.wallet import Wallet

_REDIS_WAIT_S = 30.0


class PaperServices:
    """The neighbours, the exchange behind them and its market. Call `start`, then `stop`."""

    def __init__(self, config: PaperConfig, client: RedisClient | None = None) -> None:
        self.config = config
        specs = {symbol: SPECS.get(symbol, SPECS["BTCUSDT"]) for symbol in config.symbols}
        plan = FaultPlan(exchange=ExchangeFaults(cancel_delay_ms=config.cancel_delay_ms))
        self.ledger = Ledger(config.ledger)
        self.vault = Vault(config.state)
        self.faults = Faults(plan, seed=config.seed)
        self.timer = Timer()
        client = client if client is not None else _connected(config.redis_url)
        self.bus = Bus(client, ledger=self.ledger, faults=self.faults, timer=self.timer)
        self.wallet = Wallet(
            config.spot_balance,
            config.fut_balance,
            ledger=self.ledger,
            faults=self.faults,
            follows_trades=config.wallet_follows_trades,
            vault=self.vault,
        )
        self.exchange = Exchange(
            specs,
            ledger=self.ledger,
            faults=self.faults,
            timer=self.timer,
            wallet=self.wallet,
            publish=self.bus.result,
            quota=self.bus.quota,
            fee_rate=config.fee_rate,
            vault=self.vault,
        )
        run = secrets.token_hex(4)
        self.entries = Entries(self.exchange, run)
        self.shelf = BundleShelf(paper_bundle(specs))
        self.ledger.add("bundle", {"version": self.shelf.version, "text": self.shelf.text})
        self.approvals = Approvals(ledger=self.ledger, timer=self.timer, auto=_auto(config))
        self.market = None if config.market == "manual" else self._market(specs)
        self.strategy = self._strategy(specs, run) if config.strategy and self.market else None
        self._server = _listening(self._router(), config)

    @property
    def url(self) -> str:
        """The base URL of the neighbours: S4 is at `{url}/s4`, and so on."""
        return f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        """Start to answer requests, and run the market unless it is manual."""
        self._server.start()
        if self.config.health:
            for service in SERVICES:
                self.bus.set_health(service, "OK")
        if self.market:
            self.market.start()
        if self.strategy:
            self.strategy.start()

    def stop(self) -> None:
        """Stop everything, the market first."""
        for part in (self.strategy, self.market, self._server):
            if part is not None:
                part.stop()
        self.timer.stop()
        self.bus.stop()
        self.vault.close()
        self.ledger.close()

    def _market(self, specs: Mapping[str, SymbolSpec]) -> MarketRun:
        return MarketRun(self.config, specs, self.exchange, self.bus, self.vault)

    def _strategy(self, specs: Mapping[str, SymbolSpec], run: str) -> Strategy:
        return Strategy(
            count=self.config.positions,
            seed=self.config.seed,
            run=run,
            specs=specs,
            exchange=self.exchange,
            entries=self.entries,
            wallet=self.wallet,
            shelf=self.shelf,
        )

    def _router(self) -> Router:
        router = Router()
        neighbours = Neighbours(
            exchange=self.exchange,
            wallet=self.wallet,
            shelf=self.shelf,
            approvals=self.approvals,
            faults=self.faults,
            ledger=self.ledger,
        )
        control = Control(
            exchange=self.exchange,
            entries=self.entries,
            bus=self.bus,
            wallet=self.wallet,
            shelf=self.shelf,
            approvals=self.approvals,
            faults=self.faults,
            ledger=self.ledger,
        )
        neighbours.mount(router)
        control.mount(router)
        return router


def _auto(config: PaperConfig) -> AutoApproval | None:
    if config.auto_approve_s is None or config.s6_url is None or config.approve_token is None:
        return None
    return AutoApproval(config.s6_url, config.approve_token, config.auto_approve_s)


def _listening(router: Router, config: PaperConfig) -> HttpServer:
    try:
        return HttpServer(router, config.port, config.host)
    except OSError as error:
        raise OSError(f"port {config.port} can't be listened to: {error.strerror}") from error


def _connected(url: str) -> RedisClient:
    """Return a client once Redis answers: a cluster's client cannot be created before."""
    deadline = time.monotonic() + _REDIS_WAIT_S
    while True:
        try:
            client = connect(url)
            client.ping()
            return client
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
