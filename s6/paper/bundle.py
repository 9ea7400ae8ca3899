"""S10 on paper: the Active Bundle as text with an ETag, and the default paper bundle."""

import hashlib
import threading
import time
from collections.abc import Mapping
from decimal import Decimal

from s6.model.jsonx import dumps, loads
from s6.paper.domain import SymbolSpec
from s6.paper.requests import Answer

SPECS: dict[str, SymbolSpec] = {
    "BTCUSDT": SymbolSpec(Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(5), Decimal("0.004")),
    "ETHUSDT": SymbolSpec(Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5), Decimal("0.004")),
    "SOLUSDT": SymbolSpec(Decimal("0.001"), Decimal("0.1"), Decimal("0.1"), Decimal(5), Decimal("0.004")),
}


def paper_bundle(specs: Mapping[str, SymbolSpec], *, version: str = "paper-1") -> str:
    """Return a bundle for high leverage and a fast market, under which every kind of event occurs soon."""
    return dumps(
        {
            "version": version,
            "fut": {
                "stop": {
                    "k_by_regime": {"LOW": Decimal("2.5"), "NORMAL": Decimal("2.5"), "HIGH": Decimal("3")},
                    "default_regime": "NORMAL",
                    "fallback_pct": Decimal("0.004"),
                    "anchor": "BEST",
                    "lock_steps": [
                        {"roe": Decimal("0.06"), "lock_roe": Decimal("0.01")},
                        {"roe": Decimal("0.12"), "lock_roe": Decimal("0.05")},
                        {"roe": Decimal("0.25"), "lock_roe": Decimal("0.15")},
                    ],
                    "liq_clearance": Decimal("0.001"),
                    "min_move_bps": 2,
                    "min_interval_s": 1,
                },
                "tp_ladder": [
                    {"roe": Decimal("0.08"), "fraction": Decimal("0.33")},
                    {"roe": Decimal("0.2"), "fraction": Decimal("0.5")},
                ],
                "add_on": {
                    "roe_gate": Decimal("0.025"),
                    "cap": 2,
                    "gamma": Decimal("0.5"),
                    "eta": Decimal("0.8"),
                    "signal_ttl_s": 15,
                },
                "risk": {
                    "lb_min": Decimal("0.005"),
                    "reduce_fraction": Decimal("0.5"),
                    "lb_exit": Decimal("0.002"),
                    "cooldown_s": 10,
                    "max_reduces": 2,
                },
                "stagnation": {"after_s": 12, "abs_roe_below": Decimal("0.06")},
            },
            "spot": {
                "guard": {
                    "k_atr": Decimal("2.5"),
                    "fallback_pct": Decimal("0.004"),
                    "lock_steps": [{"roe": Decimal("0.002"), "lock_roe": Decimal("0.0005")}],
                },
                "tp_ladder": [{"roe": Decimal("0.003"), "fraction": Decimal("0.5")}],
                "stagnation": {"after_s": 20, "abs_roe_below": Decimal("0.0015")},
            },
            "symbols": {
                symbol: {name: str(getattr(spec, name)) for name in SymbolSpec.__slots__} | {"fut": {}, "spot": {}}
                for symbol, spec in specs.items()
            },
            "limits": {"fut_budget": None, "spot_budget": None, "adds_in_flight": 10},
            "treasury": {
                "mode": "SEMI",
                "asset": "USDT",
                "min_free_fut": 500,
                "spot_buffer": 200,
                "max_transfer": 10000,
                "cooldown_s": 60,
            },
            "execution": {
                "cancel_wait_ms": 2000,
                "breach_grace_ms": 2000,
                "retry": {"base_ms": 100, "cap_ms": 5000, "attempts": 6},
            },
            "health": {"market_stale_ms": 5000, "poll_interval_s": 2},
        }
    )


class BundleShelf:
    """The published bundle. It keeps and serves the given text unchanged, valid or not."""

    def __init__(self, text: str) -> None:
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self.put(text)

    def put(self, text: str) -> None:
        """Publish `text` in place of the old one."""
        etag = '"' + hashlib.sha256(text.encode()).hexdigest()[:16] + '"'
        with self._lock:
            self._text, self._etag = text, etag

    @property
    def text(self) -> str:
        """The published text."""
        with self._lock:
            return self._text

    @property
    def version(self) -> str:
        """The bundle's `version`, or `?` if it has none."""
        try:
            body = loads(self.text)
        except ValueError:
            return "?"
        return str(body.get("version", "?")) if isinstance(body, dict) else "?"

    def idle_s(self) -> float:
        """Return the seconds since the last request for the bundle, or infinity before the first."""
        with self._lock:
            return float("inf") if self._asked_at is None else time.monotonic() - self._asked_at

    def answer(self, if_none_match: str | None) -> Answer:
        """Answer `GET /active`: 200 with the bundle and its ETag, or 304 without a body."""
        with self._lock:
            self._asked_at = time.monotonic()
            headers = (("ETag", self._etag),)
            known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
            if self._etag in known:
                return Answer(304, headers=headers)
            return Answer(200, raw=self._text, headers=headers)
