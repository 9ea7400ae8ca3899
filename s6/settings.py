"""Reads the settings from the environment once, checks all of them, and keeps them immutable.

For a bad or missing value, one line names the variable, its value with secrets masked, and what is allowed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeVar, cast

from s6 import urls
from s6.model.types import NEIGHBOURS
from s6.urls import Broker, RedisTarget

__all__ = [
    "NEIGHBOUR_URLS",
    "ApiToken",
    "Broker",
    "RedisTarget",
    "Scope",
    "Settings",
    "SettingsError",
    "load_settings",
    "settings_or_exit",
]

T = TypeVar("T")
Scope = Literal["read", "ops", "treasury"]

#: Every process needs all of them, so that each fails in the same way, at its start and not at first use.
NEIGHBOUR_URLS: Final = {name: f"S6_{name.upper()}_URL" for name in NEIGHBOURS}
DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"
DEFAULT_STORE_URL: Final = "sqlite:///var/s6.db"
BROKER_DB: Final = 1
_LONGEST_PERIOD_S: Final = 31_536_000
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(ValueError):
    """A setting is missing or not allowed; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A caller of the API and one scope. A token with several scopes has several entries."""

    name: str
    scope: Scope
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process. Its `repr` shows no secret. `neighbours`: each one's base URL by its name, empty where
    it is not needed."""

    redis: RedisTarget
    broker: Broker
    store_url: str = field(repr=False)
    neighbours: Mapping[str, str] = field(repr=False)
    api_tokens: tuple[ApiToken, ...]
    manage_tick_s: float
    treasury_tick_s: float
    approval_ttl_s: float
    config_poll_s: float
    closed_keep_s: float
    port: int
    flower_port: int
    worker_threads: int
    notify_urls: tuple[str, ...] = field(repr=False)
    log_level: str
    log_format: Literal["text", "json"]
    secret_key: bytes = field(repr=False)


def load_settings(env: Mapping[str, str], *, need: Iterable[str] = ()) -> Settings:
    """Read and check all settings. `need` names variables that must be set; an empty value counts as not set.

    Raises `SettingsError` at the first fault.
    """
    read = _Reader(env, frozenset(need))
    redis = read("S6_REDIS_URL", urls.parse_redis, urls.REDIS_ALLOWED, DEFAULT_REDIS_URL)
    tokens = read("S6_API_TOKENS", _api_tokens, _TOKENS_ALLOWED, "", mask=_mask_tokens)
    return Settings(
        redis=redis,
        broker=_broker(read, redis),
        store_url=read("S6_STORE_URL", urls.parse_store, urls.STORE_ALLOWED, DEFAULT_STORE_URL),
        neighbours={name: read.base_url(variable) for name, variable in NEIGHBOUR_URLS.items()},
        api_tokens=tokens,
        manage_tick_s=read("S6_MANAGE_TICK_S", _period, _PERIOD_ALLOWED, "10"),
        treasury_tick_s=read("S6_TREASURY_TICK_S", _period, _PERIOD_ALLOWED, "300"),
        approval_ttl_s=read("S6_APPROVAL_TTL_S", _period, _PERIOD_ALLOWED, "3600"),
        config_poll_s=read("S6_CONFIG_POLL_S", _period, _PERIOD_ALLOWED, "30"),
        closed_keep_s=read("S6_CLOSED_KEEP_S", _period, _PERIOD_ALLOWED, "86400"),
        port=read("PORT", _whole(1, 65535), "a port, 1 to 65535", "8000"),
        flower_port=read("FLOWER_PORT", _whole(1, 65535), "a port, 1 to 65535", "5555"),
        worker_threads=read("S6_WORKER_THREADS", _whole(1, 1000), "a whole number, 1 to 1000", "16"),
        notify_urls=read("S6_NOTIFY_URLS", _notify_urls, _NOTIFY_ALLOWED, "", mask=_mask_notify),
        log_level=read("S6_LOG_LEVEL", _one_of(_LOG_LEVELS, str.upper), f"one of {', '.join(_LOG_LEVELS)}", "INFO"),
        log_format=read("S6_LOG_FORMAT", _log_format, "text or json", "text"),
        secret_key=read("S6_SECRET_KEY", _secret_key(tokens), "at least 16 characters", "", mask=lambda _: "***"),
    )


def settings_or_exit(
    env: Mapping[str, str] | None = None, *, need: Iterable[str] = tuple(NEIGHBOUR_URLS.values())
) -> Settings:
    """Load the settings at the start of a process. A fault ends it with one line on stderr and exit code 2."""
    try:
        return load_settings(os.environ if env is None else env, need=need)
    except SettingsError as error:
        print(f"s6: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


class _Reader:
    """Reads one variable at a time. Raises `SettingsError` saying what is wrong with it."""

    def __init__(self, env: Mapping[str, str], need: frozenset[str]) -> None:
        self._env = env
        self._need = need

    def __call__(
        self,
        name: str,
        parse: Callable[[str], T],
        allowed: str,
        default: str,
        *,
        mask: Callable[[str], str] = urls.mask_url,
    ) -> T:
        given = self.given(name)
        if not given and name in self._need:
            raise SettingsError(f"{name} is not set; allowed is {allowed}")
        try:
            return parse(given or default)
        except ValueError:
            shown = mask(given)
            shown = shown if len(shown) <= 200 else f"{shown[:200]}…"
            raise SettingsError(f"{name}={shown!r} is not allowed; allowed is {allowed}") from None

    def given(self, name: str) -> str:
        return self._env.get(name, "").strip()

    def base_url(self, name: str) -> str:
        return self(name, lambda url: urls.parse_base_url(url) if url else "", urls.HTTP_ALLOWED, "")


def _broker(read: _Reader, redis: RedisTarget) -> Broker:
    if read.given("S6_BROKER_URL"):
        return read("S6_BROKER_URL", urls.parse_broker, urls.BROKER_ALLOWED, "")
    if redis.kind == "cluster":
        raise SettingsError(f"S6_BROKER_URL is not set and S6_REDIS_URL is a cluster; allowed is {urls.BROKER_ALLOWED}")
    return urls.redis_broker(redis, db=BROKER_DB)


_PERIOD_ALLOWED: Final = f"a positive number of seconds, at most {_LONGEST_PERIOD_S}"


def _period(text: str) -> float:
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?|\.\d{1,12}", text, re.ASCII):
        raise ValueError(text)
    period = Decimal(text)
    if not 0 < period <= _LONGEST_PERIOD_S:
        raise ValueError(text)
    return float(period)


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not lowest <= int(text) <= highest:
            raise ValueError(text)
        return int(text)

    return parse


def _one_of(words: tuple[str, ...], normal: Callable[[str], str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        return words[words.index(normal(text))]

    return parse


def _log_format(text: str) -> Literal["text", "json"]:
    return cast(Literal["text", "json"], _one_of(("text", "json"), str.lower)(text))


_TOKENS_ALLOWED: Final = "name:scope:token separated by commas, scope being read, ops or treasury"
_TOKEN_ENTRY: Final = re.compile(r"([^\s:,]{1,64}):(read|ops|treasury):([!-~]+)")


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _api_tokens(text: str) -> tuple[ApiToken, ...]:
    matches = [_TOKEN_ENTRY.fullmatch(entry) for entry in _entries(text)]
    tokens = tuple(ApiToken(match[1], cast(Scope, match[2]), match[3]) for match in matches if match)
    if len(tokens) < len(matches):
        raise ValueError("not name:scope:token")
    return tokens


def _mask_tokens(text: str) -> str:
    """Show only each entry's name and scope, and only if it has a third part, which must be the token."""
    parts = [entry.split(":", 2) for entry in _entries(text)]
    return ",".join(f"{part[0]}:{part[1]}:***" if len(part) == 3 else "***" for part in parts)


_NOTIFY_ALLOWED: Final = "notification URLs separated by commas, like mailto://user:password@example.com"


def _notify_urls(text: str) -> tuple[str, ...]:
    found = tuple(_entries(text))
    if not all(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://.", url) for url in found):
        raise ValueError("no URL")
    return found


def _mask_notify(text: str) -> str:
    """Show only each URL's scheme, since services put their secrets anywhere after it."""
    return ",".join(f"{url.partition('://')[0]}://***" if "://" in url else "***" for url in _entries(text))


def _secret_key(tokens: tuple[ApiToken, ...]) -> Callable[[str], bytes]:
    def parse(text: str) -> bytes:
        if text and len(text) < 16:
            raise ValueError("too short")
        return text.encode() or _derived_key(tokens)

    return parse


def _derived_key(tokens: tuple[ApiToken, ...]) -> bytes:
    """Derive one key for all copies of the web process from the tokens, so that a session ends with its token."""
    if not tokens:
        return secrets.token_bytes(32)  # nobody can sign in, so no session has to hold across copies
    secret = "\n".join(sorted(f"{token.name}:{token.scope}:{token.token}" for token in tokens))
    return hmac.digest(b"s6 panel session", secret.encode(), hashlib.sha256().name)
