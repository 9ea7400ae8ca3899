"""Fetches the Active Bundle from S10, validates it and puts it in force everywhere at once (docs/contract.md)."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.adapters.s10 import Fetched
from s6.alerts.log import AlertLog
from s6.model import jsonx
from s6.model.bundle import ActiveBundle, BundleError, parse_bundle
from s6.ports import Clock

log = logging.getLogger(__name__)
REST_S: Final = 0.2

Refresh = Literal["UNCHANGED", "SWAPPED", "REFUSED"]

# Two processes may fetch at once, and the slower one must not restore a bundle that the faster one has replaced.
# KEYS: bundle, the last ones in force · ARGV: the digest that this process knew, how many are kept,
#   the new one as it is kept ('': it is the same bundle), then field, value ...
_SWAP: Final = """
if (redis.call('HGET', KEYS[1], 'digest') or '') ~= ARGV[1] then return 0 end
redis.call('LLEN', KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[3] ~= '' then
  redis.call('LPUSH', KEYS[2], ARGV[3])
  redis.call('LTRIM', KEYS[2], 0, ARGV[2] - 1)
end
return 1
"""
KEPT: Final = 20
_KEYS: Final = [keys.BUNDLE, keys.BUNDLES_KEPT]


class PublishedBundles(Protocol):
    """S10, as far as bundles need it."""

    def active(self, etag: str = "") -> Fetched | None:
        """Fetch the published bundle. Returns None if it is still that of ``etag``. Raises ``NeighbourUnavailable``."""


@dataclass(frozen=True, slots=True)
class _Known:
    digest: str
    text: str
    bundle: ActiveBundle


class Bundles:
    """Read-copy-update: each process parses a bundle once and never changes it, only replaces it."""

    def __init__(self, redis: RedisClient, source: PublishedBundles, alerts: AlertLog, clock: Clock) -> None:
        self._redis = text(redis)
        self._swap = self._redis.register_script(_SWAP)
        self._source, self._alerts, self._clock = source, alerts, clock
        self._known: _Known | None = None
        self._refused = ""
        self._read_at = 0.0

    def current(self) -> ActiveBundle | None:
        """Return the bundle in force, or None before the first. One small read; without Redis the last known one.

        After a read that failed, the last known one is returned without another read for a moment.
        """
        known = self._known
        if time.monotonic() < self._read_at:
            return self.latest
        try:
            digest = self._redis.hget(keys.BUNDLE, "digest")
            if digest is None or (known is not None and known.digest == digest):
                return known.bundle if known else None
            return self._load()
        except RedisError as error:
            log.warning("the bundle's version was not read, the last one holds: %s", error)
            self._read_at = time.monotonic() + REST_S
            return self.latest

    @property
    def latest(self) -> ActiveBundle | None:
        """Return the newest bundle that this process has seen, without a read of Redis."""
        return self._known.bundle if self._known else None

    def missing(self) -> bool:
        """Return whether Redis has no bundle: before the first fetch, or after Redis was emptied.

        Raises ``RedisError``.
        """
        return not self._redis.exists(keys.BUNDLE)

    def refresh(self, *, force: bool = False) -> Refresh:
        """Fetch the published bundle from S10 and put it in force if it is new and valid.

        An invalid bundle is REFUSED: the old one stays in force, and one ERROR alert names each fault. ``force``
        fetches the text without the ETag. Raises ``NeighbourUnavailable`` and ``RedisError``.
        """
        digest, etag = (value or "" for value in self._redis.hmget(keys.BUNDLE, ["digest", "etag"]))
        if not digest and self._known is not None:
            digest = self._put_back(self._known)
        fetched = self._source.active("" if force else etag)
        if fetched is None:
            return "UNCHANGED"
        new = _digest(fetched.text)
        if new == digest:
            if fetched.etag != etag:
                self._swap(keys=_KEYS, args=[digest, KEPT, "", "etag", fetched.etag])
            self._refused = ""
            return "UNCHANGED"
        if new == self._refused:
            return "REFUSED"
        try:
            bundle = parse_bundle(fetched.text)
        except BundleError as error:
            self._refuse(new, error)
            return "REFUSED"
        return self._put(digest, new, fetched, bundle)

    def _put(self, digest: str, new: str, fetched: Fetched, bundle: ActiveBundle) -> Refresh:
        known = _Known(new, fetched.text, bundle)
        if not self._write(digest, known, fetched.etag):
            return "UNCHANGED"  # another process was faster; if this bundle is newer still, the next poll finds it
        self._known, self._refused = known, ""
        log.info("bundle %s is in force", bundle.version)
        return "SWAPPED"

    def _put_back(self, known: _Known) -> str:
        """Restore the bundle in force after Redis was emptied. Returns the digest that Redis has now."""
        self._write("", known, "")
        return self._redis.hget(keys.BUNDLE, "digest") or ""

    def _write(self, expected: str, known: _Known, etag: str) -> bool:
        version, now = known.bundle.version, self._clock.now_ms()
        kept = jsonx.dumps({"version": version, "digest": known.digest, "ts": now, "text": known.text})
        args: list[str | int] = [expected, KEPT, kept, "digest", known.digest, "version", version]
        args += ["text", known.text, "etag", etag, "ts", now]
        return bool(self._swap(keys=_KEYS, args=args))

    def _refuse(self, digest: str, error: BundleError) -> None:
        self._refused = digest
        kept = self.current()
        stays = f"{kept.version} stays in force" if kept else "there is none in force"
        self._alerts.raise_alert("ERROR", "BUNDLE_REFUSED", f"{stays}; {'; '.join(error.faults)}", scope=digest)

    def _load(self) -> ActiveBundle | None:
        digest, written = self._redis.hmget(keys.BUNDLE, ["digest", "text"])
        if digest is None or written is None:
            return self.latest
        try:
            self._known = _Known(digest, written, parse_bundle(written))
        except BundleError as error:  # another version of the program wrote it
            log.error("bundle in Redis not understood, the last one holds: %s", error)
        return self.latest


def _digest(text_: str) -> str:
    return hashlib.sha256(text_.encode()).hexdigest()[:32]
