"""Notifies people of alerts through the services whose URLs the settings give."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text

log = logging.getLogger(__name__)

AT_ONCE: Final = 20
_RANKS: Final = ("WARN", "ERROR", "FATAL")


def notify_pending(redis: RedisClient, urls: Sequence[str]) -> int:
    """Send the waiting alerts, up to 20 in one message. Returns their number.

    An alert leaves the list before it is sent. So a message that fails, or a process that dies, is not repeated, and
    nobody is notified twice; the alert log keeps the alert either way. The call takes as long as the services do.
    Raises ``RedisError``.
    """
    book = text(redis)
    taken = book.lpop(keys.ALERTS_TO_NOTIFY, AT_ONCE) if urls else None
    if not taken:
        return 0
    alerts = [alert for alert in (book.hgetall(keys.ALERT_DOC + alert_id) for alert_id in taken) if alert]
    if alerts:
        _send(urls, alerts)
    return len(taken)


def _send(urls: Sequence[str], alerts: Sequence[dict[str, str]]) -> None:
    from apprise import Apprise, NotifyType  # a large library; a process that never notifies does not import it

    worst = max((alert["severity"] for alert in alerts), key=_RANKS.index)
    first = alerts[0]
    title = f"S6 {worst}: {first['code']}" + (f" and {len(alerts) - 1} more" if len(alerts) > 1 else "")
    body = "\n".join(_line(alert) for alert in alerts)
    kind = NotifyType.WARNING if worst == "WARN" else NotifyType.FAILURE
    for number, url in enumerate(urls, start=1):
        service = Apprise()
        if not service.add(url):
            log.error("notification URL %d is not one that can be used", number)
        elif not service.notify(body=body, title=title, notify_type=kind):
            log.error("notification URL %d did not take the message about %s", number, title)


def _line(alert: dict[str, str]) -> str:
    where = f" [{alert['position_id']}]" if alert.get("position_id") else ""
    return f"{alert['severity']} {alert['code']}{where}: {alert['detail']} ({alert['alert_id']})"
