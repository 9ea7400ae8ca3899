"""Notifies people of alerts through the services whose URLs the settings give.

The alerts that people shall hear of wait in a stream of bounded length. Each service has a place of its own in it,
which moves on once the service has taken a message. So a service that is down gets its message later, and the others
get it once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import TextRedis, text

log = logging.getLogger(__name__)

AT_ONCE: Final = 20
#: A process has this time to send one message, before another one tries.
TURN_MS: Final = 60_000
FIRST_PAUSE_MS: Final = 5_000
LONGEST_PAUSE_MS: Final = 300_000
#: The place of a service that the settings no longer name is forgotten after this time.
KEEP_MS: Final = 7 * 24 * 3_600_000
_RANKS: Final = ("WARN", "ERROR", "FATAL")
_START: Final = "0-0"


def notify_pending(redis: RedisClient, urls: Sequence[str]) -> int:
    """Send each service the alerts that wait for it, up to 20 in one message.

    A message that fails is sent again after pauses that double up to five minutes. A process that dies after sending
    and before it moves the place makes the message come twice. The call takes as long as the services do.

    Returns the number of messages that services took. Raises ``RedisError``.
    """
    book = text(redis)
    services = [_Service(book, url, f"notification URL {number}") for number, url in enumerate(urls, start=1)]
    sent = sum(service.send() for service in services)
    if sent:  # what every service has taken leaves the stream
        book.xtrim(
            keys.ALERTS_TO_NOTIFY, minid=_after(min((s.place() for s in services), key=_number)), approximate=False
        )
    return sent


class _Service:
    """One service: its place in the stream, and its turn, which is taken while a process sends or a pause lasts."""

    def __init__(self, book: TextRedis, url: str, name: str) -> None:
        self._book, self._url, self._name = book, url, name
        which = hashlib.sha256(url.encode()).hexdigest()[:16]  # a URL holds secrets
        self._state, self._turn = keys.notified(which), keys.notify_turn(which)

    def place(self) -> str:
        """Return the stream id of the newest alert that the service has taken."""
        return self._book.hget(self._state, "place") or _START

    def send(self) -> bool:
        """Send one message if any alert waits and it is time. Returns whether the service took it."""
        if not self._waiting(1) or not self._book.set(self._turn, "1", nx=True, px=TURN_MS):
            return False
        waiting = self._waiting(AT_ONCE)  # again: another process may have had its turn since
        alerts = [alert for _, alert_id in waiting if (alert := self._book.hgetall(keys.ALERT_DOC + alert_id))]
        if waiting and not _send(self._url, self._name, alerts):
            failures = int(self._book.hget(self._state, "failures") or 0)
            self._note({"failures": failures + 1})
            pause_ms = min(FIRST_PAUSE_MS * 2 ** min(failures, 10), LONGEST_PAUSE_MS)
            self._book.set(self._turn, "1", px=pause_ms)
            return False
        if waiting:
            self._note({"place": waiting[-1][0], "failures": 0})
        self._book.delete(self._turn)
        return bool(waiting)

    def _waiting(self, count: int) -> list[tuple[str, str]]:
        entries = self._book.xrange(keys.ALERTS_TO_NOTIFY, min=f"({self.place()}", count=count)
        return [(entry_id, fields["alert_id"]) for entry_id, fields in entries]

    def _note(self, values: Mapping[str, str | int]) -> None:
        self._book.hset(self._state, mapping=values)
        self._book.pexpire(self._state, KEEP_MS)


def _send(url: str, name: str, alerts: Sequence[Mapping[str, str]]) -> bool:
    """Send one message about the alerts. Returns whether the service took it, or there was nothing to say."""
    from apprise import Apprise, NotifyFormat, NotifyType  # a large library; only a process that notifies imports it

    if not alerts:
        return True
    worst = max((alert["severity"] for alert in alerts), key=_RANKS.index)
    title = f"S6 {worst}: {alerts[0]['code']}" + (f" and {len(alerts) - 1} more" if len(alerts) > 1 else "")
    body = "\n".join(_line(alert) for alert in alerts)
    kind = NotifyType.WARNING if worst == "WARN" else NotifyType.FAILURE
    service = Apprise()
    if not service.add(url):
        log.error("%s is not one that can be used", name)
    # The format says that the body is text, so Apprise escapes it for services that take markup.
    elif service.notify(body=body, title=title, notify_type=kind, body_format=NotifyFormat.TEXT):
        return True
    else:
        log.error("%s did not take the message about %s", name, title)
    return False


def _line(alert: Mapping[str, str]) -> str:
    where = f" [{alert['position_id']}]" if alert.get("position_id") else ""
    return f"{alert['severity']} {alert['code']}{where}: {alert['detail']} ({alert['alert_id']})"


def _number(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def _after(entry_id: str) -> str:
    ms, number = _number(entry_id)
    return f"{ms}-{number + 1}"
