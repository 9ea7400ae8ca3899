"""The settings of the paper neighbours and their command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """How the paper neighbours run.

    `market`: `walk` is a seeded random walk, `candles` plays files, `manual` moves only by requests to `/control`.
    `speed` is market seconds per wall second; `tick_ms` wall time between ticks. `candles` maps symbols to files. The
    `strategy` needs a market that moves by itself.
    """

    redis_url: str = "redis://127.0.0.1:6379/0"
    host: str = "127.0.0.1"
    port: int = 8900
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    market: Literal["walk", "candles", "manual"] = "walk"
    candles: tuple[tuple[str, Path], ...] = ()
    speed: float = 60.0
    tick_ms: int = 200
    seed: int = 7
    strategy: bool = True
    positions: int = 6
    ledger: Path | None = None
    state: Path | None = None
    spot_balance: Decimal = Decimal(20_000)
    fut_balance: Decimal = Decimal(1_500)
    wallet_follows_trades: bool = True
    fee_rate: Decimal = Decimal("0.0004")
    cancel_delay_ms: float = 20.0
    health: bool = True
    s6_url: str | None = None
    approve_token: str | None = None
    auto_approve_s: float | None = None

    def __post_init__(self) -> None:
        """Check the settings. Raises `ValueError` naming the setting."""
        _require(bool(self.symbols), "symbols", self.symbols, "at least one")
        for symbol in self.symbols:
            good = 2 <= len(symbol) <= 24 and symbol.isascii() and symbol.isalnum() and symbol == symbol.upper()
            _require(good, "symbols", symbol, "2 to 24 of A-Z and 0-9")
        _require(0 <= self.port < 65_536, "port", self.port, "0 (any free one) to 65535")
        _require(self.speed > 0, "speed", self.speed, "above 0")
        _require(10 <= self.tick_ms <= 5_000, "tick-ms", self.tick_ms, "10 to 5000")
        _require(self.positions >= 1, "positions", self.positions, "1 or more")
        _require(self.market != "candles" or bool(self.candles), "candles", "none", "a file for market candles")
        for symbol, path in self.candles:
            _require(symbol in self.symbols, "candles", symbol, f"one of {', '.join(self.symbols)}")
            _require(path.is_file(), "candles", path, "an existing file")
        _require(self.fee_rate >= 0, "fee-rate", self.fee_rate, "0 or more")
        auto = (self.s6_url, self.approve_token, self.auto_approve_s)
        together = all(a is not None for a in auto) or self.auto_approve_s is None
        _require(together, "auto-approve-s", self.auto_approve_s, "together with s6-url and approve-token")


def parse(arguments: Sequence[str] | None = None) -> PaperConfig:
    """Read the command line's settings. Ends the process with one clear line if they are invalid."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    try:
        candles = _candles(options.pop("candles"), options["symbols"])
        if candles and options["market"] is None:
            options["market"] = "candles"
            options["symbols"] = tuple(s for s in options["symbols"] or DEFAULT_SYMBOLS if s in dict(candles))
        given = {name: value for name, value in options.items() if value is not None}
        return PaperConfig(candles=candles, **given)
    except ValueError as error:
        parser.error(str(error))


def _candles(options: list[str], symbols: tuple[str, ...] | None) -> tuple[tuple[str, Path], ...]:
    first = (symbols or DEFAULT_SYMBOLS)[0]
    pairs = (option.split("=", 1) if "=" in option else (first, option) for option in options)
    return tuple((symbol, Path(path)) for symbol, path in pairs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="s6 paper", description="S1, S4, S10 and S12 on paper.")
    add = parser.add_argument
    add("--redis-url", help="where the streams are (redis://, rediss://, redis+cluster://, redis+sentinel://)")
    add("--host", help="address to listen on (127.0.0.1; its control has no password)")
    add("--port", type=int, help="HTTP port (8900; 0: a free one)")
    add("--symbols", type=_names, help="comma-separated (BTCUSDT,ETHUSDT,SOLUSDT)")
    add("--market", choices=("walk", "candles", "manual"), help="what moves the prices (walk)")
    add("--candles", action="append", default=[], metavar="[SYMBOL=]FILE", help="candle CSV; only such symbols trade")
    add("--speed", type=float, help="market seconds per wall second (60)")
    add("--tick-ms", type=int, help="wall milliseconds between ticks (200)")
    add("--seed", type=int, help="of all randomness (7)")
    add("--strategy", action=argparse.BooleanOptionalAction, default=None, help="open positions (yes)")
    add("--positions", type=int, help="how many positions the strategy keeps open (6)")
    add("--ledger", type=Path, metavar="FILE", help="also write the ledger there, as JSON lines")
    add("--state", type=Path, metavar="FILE", help="remember orders, positions and wallets there over a restart")
    add("--spot-balance", type=_decimal, help="USDT (20000)")
    add("--fut-balance", type=_decimal, help="USDT (1500)")
    add("--wallet-follows-trades", action=argparse.BooleanOptionalAction, default=None, help="fills move money (yes)")
    add("--fee-rate", type=_decimal, help="of the notional (0.0004)")
    add("--cancel-delay-ms", type=float, help="until a cancel's outcome (20)")
    add("--health", action=argparse.BooleanOptionalAction, default=None, help="publish prod:health:* (yes)")
    add("--s6-url", help="where S6's API is, for automatic approval")
    add("--approve-token", help="S6's token with the scope treasury")
    add("--auto-approve-s", type=float, help="approve transfers by itself after so many seconds")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _require(good: bool, name: str, value: object, allowed: str) -> None:
    if not good:
        raise ValueError(f"{name}: {value} is not allowed: {allowed}")
