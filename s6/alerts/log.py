"""The alert log: raises an alert once and keeps it; a FATAL stands until it is acknowledged (docs/health.md)."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import asking
from s6.adapters.redis_text import text
from s6.alerts import scripts as lua
from s6.alerts.notify import notify_pending
from s6.model import jsonx
from s6.model.commit import Alert
from s6.model.types import Severity
from s6.model.wire import carries_fill, printable
from s6.ports import Clock, Metrics
from s6.store import Page, Store, StoreError

log = logging.getLogger(__name__)

QUIET_MS: Final = 300_000
QUIET_OF: Final[Mapping[str, int]] = dict.fromkeys(("DEADLETTER", "HEALTH_KEY_MALFORMED", "READER_FAULT"), 60_000)
"""Codes that floods raise: one alert a minute, with the number of the others in ``repeats``."""
LETTER_SEEN_MS: Final = 600_000
"""For how long a message is known to be in the dead letters; several processes read it within moments."""
KEEP_MS: Final = 30 * 24 * 3_600_000
COUNTED_MS: Final = 24 * 3_600_000
STREAM_KEPT: Final = 100_000
BATCH: Final = 200
_LEVELS: Final = {"WARN": logging.WARNING, "ERROR": logging.ERROR, "FATAL": logging.CRITICAL}


class _Raised(NamedTuple):
    alert_id: str
    ts: int
    severity: Severity
    code: str
    position_id: str
    detail: str
    topic: str


class AlertLog:
    """Implements ``s6.ports.Alerts``, and reads and acknowledges alerts.

    ``notify_urls`` are where it notifies people.
    """

    def __init__(
        self,
        redis: RedisClient,
        clock: Clock,
        metrics: Metrics,
        store: Store | None = None,
        *,
        notify_urls: Sequence[str] = (),
        quiet_ms: int = QUIET_MS,
    ) -> None:
        self._redis, self._clock, self._metrics, self._store = text(redis), clock, metrics, store
        self._client, self._notify_urls, self._quiet_ms = redis, notify_urls, quiet_ms
        self._raise = self._redis.register_script(lua.RAISE)
        self._put_aside = self._redis.register_script(lua.PUT_ASIDE)
        self._ack = self._redis.register_script(lua.ACK)
        self._relayed = self._redis.register_script(lua.RELAYED)
        self._restore = self._redis.register_script(lua.RESTORE)
        self._waiting: deque[_Raised] = deque(maxlen=1000)  # raised while Redis was away
        self._retry_at = 0.0
        self._lock = threading.Lock()

    # -- raising -----------------------------------------------------------------------------------------------

    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        """Raise an alert, once per quiet time for each code, position and ``scope``; the alert counts its repeats.

        A FATAL is not raised again while it stands. The method never raises an exception: while Redis is away, the
        newest thousand alerts wait in this process for the next alert or relay.
        """
        now = self._clock.now_ms()
        topic = f"{severity}:{code}:{position_id}:{scope}"
        raised = _Raised(f"al-{now}-{secrets.token_hex(6)}", now, severity, code, position_id, _shown(detail), topic)
        with self._lock:
            self._waiting.append(raised)
        self._flush()

    def deliver(self, alert: Alert) -> None:
        """Raise a commit's alert, by the same rules. Delivering it again does nothing.

        The alert is in Redis when this returns. Raises ``StateUnavailable``; the caller then delivers it again.
        """
        a = alert
        topic = f"{a.severity}:{a.code}:{a.position_id}:"
        raised = _Raised(a.alert_id, a.ts, a.severity, a.code, a.position_id, _shown(a.detail), topic)
        with asking():
            self._write(raised, COUNTED_MS)

    def resolve(self, code: str, detail: str, *, scope: str = "") -> None:
        """Note that the condition of ``code`` has ended (WARN ``{code}_OVER``). A new occurrence raises a new alert."""
        try:
            for severity in _LEVELS:
                if severity != "FATAL":
                    self._redis.delete(f"{keys.ALERT_QUIET}{severity}:{code}::{scope}")
        except RedisError as error:
            log.warning("alert %s stays quiet for a while: %s", code, error)
        self.raise_alert("WARN", f"{code}_OVER", detail, scope=scope)

    def dead_letter(self, source: str, entry_id: str, error: str, payload: Mapping[str, str] | str) -> None:
        """Put a malformed message into the dead letters; once, even if several processes read it.

        Raises a WARN, or an ERROR for a result that carries a fill, at most once a minute for each source.
        Raises ``StateUnavailable`` if the message may not be there.
        """
        fill = source.startswith(keys.RESULTS) and isinstance(payload, Mapping) and carries_fill(payload)
        shown = payload if isinstance(payload, str) else {printable(n): printable(v) for n, v in payload.items()}
        written = printable(shown) if isinstance(shown, str) else jsonx.dumps(shown)
        which = entry_id or hashlib.sha256(written.encode()).hexdigest()[:16]
        letter = ["source", source, "entry_id", entry_id, "error", printable(error), "payload", written]
        with asking():
            new = self._put_aside(
                keys=[keys.DEAD_LETTERS, f"{keys.DEAD_LETTER_SEEN}{source}:{which}"],
                args=[LETTER_SEEN_MS, STREAM_KEPT, *letter],
            )
        if not int(new):
            return
        self._metrics.inc("s6_deadletter_total", source=source)
        self.raise_alert("ERROR" if fill else "WARN", "DEADLETTER", f"{source} {entry_id}: {error}", scope=source)

    def _flush(self) -> None:
        while time.monotonic() >= self._retry_at:
            with self._lock:
                if not self._waiting:
                    return
                raised = self._waiting.popleft()
            try:
                self._write(raised)
            except RedisError as error:
                log.error("%s %s waits for Redis (%s): %s", raised.severity, raised.code, error, raised.detail)
                with self._lock:
                    self._waiting.appendleft(raised)
                self._retry_at = time.monotonic() + 1

    def _write(self, raised: _Raised, counted_ms: int = 0) -> None:
        answer = self._raise(
            keys=[
                keys.ALERTS,
                keys.ALERT_QUIET + raised.topic,
                f"{keys.ALERT_NOTIFIED}{raised.severity}:{raised.code}:{raised.position_id}",
                keys.ALERTS_FATAL,
                keys.ALERTS_OUT,
                keys.ALERTS_TO_NOTIFY,
                keys.ALERT_DOC + raised.alert_id,
                keys.ALERT_COUNTED + raised.alert_id,
            ],
            args=[
                keys.ALERT_DOC,
                *raised,
                min(self._quiet_ms, QUIET_OF.get(raised.code, self._quiet_ms)),
                KEEP_MS,
                STREAM_KEPT,
                "1" if self._notify_urls else "0",
                counted_ms,
                self._quiet_ms,
            ],
        )
        if int(answer[1]):
            where = f" [{raised.position_id}]" if raised.position_id else ""
            log.log(_LEVELS[raised.severity], "%s%s: %s", raised.code, where, raised.detail)
            self._metrics.inc("s6_alerts_total", severity=raised.severity, code=raised.code)

    # -- standing alerts ---------------------------------------------------------------------------------------

    def ack(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None:
        """Acknowledge an alert; a FATAL then stands no longer. Idempotent.

        Returns the alert, or None if it is unknown. Raises ``RedisError``.
        """
        document = keys.ALERT_DOC + alert_id
        topic = self._redis.hget(document, "topic")
        if topic is None:
            return None
        self._ack(
            keys=[document, keys.ALERTS_FATAL, keys.ALERTS_OUT, keys.ALERT_QUIET + topic],
            args=[alert_id, by, note, self._clock.now_ms(), KEEP_MS],
        )
        return self.get(alert_id)

    def get(self, alert_id: str) -> dict[str, object] | None:
        """Return the alert in the store's form, or None if it is unknown or expired. Raises ``RedisError``."""
        return _document(self._redis.hgetall(keys.ALERT_DOC + alert_id))

    def standing_fatal(self) -> list[str]:
        """Return the ids of the unacknowledged FATAL alerts. Raises ``RedisError``."""
        return sorted(self._redis.smembers(keys.ALERTS_FATAL))

    def restore_standing(self) -> int:
        """Restore the standing FATAL alerts that Redis lost from the store.

        Returns their number. Raises ``StoreError`` or ``RedisError``.
        """
        if self._store is None:
            return 0
        restored, cursor = 0, None
        while True:
            page = self._store.alerts(standing=True, cursor=cursor)
            restored += self._put_back(page.items)
            if (cursor := page.next_cursor) is None:
                return restored

    def _put_back(self, docs: Iterable[Mapping[str, object]]) -> int:
        restored = 0
        for doc in docs:
            alert_id, position_id = str(doc["alert_id"]), str(doc.get("position_id") or "")
            topic = f"FATAL:{doc.get('code', '')}:{position_id}:"
            fields = {"alert_id": alert_id, "severity": "FATAL", "position_id": position_id, "topic": topic}
            fields |= {name: str(doc.get(name, "")) for name in ("code", "detail")}
            fields |= {name: str(doc.get(name) or 0) for name in ("ts", "repeats", "last_ts")}
            flat = [part for pair in fields.items() for part in pair]
            where = [keys.ALERT_DOC + alert_id, keys.ALERTS_FATAL, keys.ALERT_QUIET + topic]
            restored += int(self._restore(keys=where, args=[alert_id, *flat]))
        return restored

    # -- to the store and from it ------------------------------------------------------------------------------

    def publish(self) -> None:
        """Move alerts to the store, and notify people through the services in the settings.

        Raises ``StoreError`` or ``RedisError``; the next call continues.
        """
        try:
            self.relay()
        finally:  # a store that is down keeps nobody from being notified
            if self._notify_urls:
                notify_pending(self._client, self._notify_urls)

    def relay(self, store: Store | None = None) -> int:
        """Move new and changed alerts to the store. Returns their number.

        Raises ``StoreError`` or ``RedisError``; the next call continues.
        """
        store = store or self._store
        if store is None:
            raise ValueError("this alert log has no store")
        self._flush()
        total = 0
        while rows := self._redis.zrange(keys.ALERTS_OUT, 0, BATCH - 1, withscores=True):
            pipe = self._redis.pipeline(transaction=False)
            for alert_id, _ in rows:
                pipe.hgetall(keys.ALERT_DOC + alert_id)
            docs = [doc for doc in map(_document, pipe.execute()) if doc is not None]
            store.write_alerts(docs)
            self._relayed(keys=[keys.ALERTS_OUT], args=[part for row in rows for part in row])
            total += len(docs)
            if len(rows) < BATCH:
                break
        return total

    def page(
        self, *, limit: int, cursor: str | None = None, severity: str | None = None, standing: bool | None = None
    ) -> Page:
        """Return alerts from the store, newest first. While it is away, return Redis's newest, without a next page."""
        if self._store is not None:
            try:
                if cursor is None:
                    self.relay()
                return self._store.alerts(limit=limit, cursor=cursor, severity=severity, standing=standing)
            except StoreError as error:
                if cursor is not None:
                    raise
                log.warning("alerts are shown from Redis: %s", error)
        return Page(self._newest(limit, severity, standing), None)

    def _newest(self, limit: int, severity: str | None, standing: bool | None) -> list[dict[str, object]]:
        entries = self._redis.xrevrange(keys.ALERTS, count=max(limit, BATCH))
        pipe = self._redis.pipeline(transaction=False)
        for _, fields in entries:
            pipe.hgetall(keys.ALERT_DOC + fields["alert_id"])
        docs = [doc for doc in map(_document, pipe.execute() if entries else []) if doc is not None]
        if severity is not None:
            docs = [doc for doc in docs if doc["severity"] == severity]
        if standing is not None:
            docs = [doc for doc in docs if (doc["severity"] == "FATAL" and doc["ack"] is None) == standing]
        return docs[:limit]


def _shown(detail: str) -> str:
    return printable(detail[:4000])


def _document(fields: Mapping[str, str]) -> dict[str, object] | None:
    """Return an alert as the store keeps it, or None if its fields are incomplete."""
    if not fields:
        return None
    doc: dict[str, object] = {name: fields.get(name, "") for name in ("alert_id", "severity", "code", "detail")}
    doc |= {name: int(fields.get(name) or 0) for name in ("ts", "repeats", "last_ts")}
    doc["position_id"] = fields.get("position_id") or None
    ack_ts = fields.get("ack_ts")
    note, by = fields.get("ack_note", ""), fields.get("ack_by", "")
    doc["ack"] = {"by": by, "note": note, "ts": int(ack_ts)} if ack_ts else None
    return doc
