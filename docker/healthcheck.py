"""The container's health check: says whether *this* process is healthy, independent of the rest of the system.

``GET /health`` judges the whole system and would restart every container for a neighbour's fault. So this check demands
only that ``web`` answers ``GET /live``, that ``flower`` answers at all, and that the others have sent a heartbeat.
If Redis does not answer, the process counts as healthy.

Usage: healthcheck.py [TYPE]; TYPE defaults to the one that the entrypoint noted. Exit code: 0 healthy, 1 not.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_S = 4


def main(arguments: list[str]) -> int:
    kind = arguments[0] if arguments else _noted()
    if kind == "web":
        return _answers(f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/live")
    if kind == "flower":
        return _answers(f"http://127.0.0.1:{os.environ.get('FLOWER_PORT') or 5555}/healthcheck")
    return _beats(kind) if kind in ("worker", "beat", "listener") else 0


def _noted() -> str:
    note = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()) / "s6-process-type"
    return note.read_text() if note.exists() else ""


def _answers(url: str) -> int:
    """Return 0 for any answer: the process serves."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return 0
    except urllib.error.HTTPError:
        return 0
    except OSError as error:
        print(f"{url}: {error}")
        return 1


def _beats(kind: str) -> int:
    from redis.exceptions import RedisError

    from s6.adapters.redis_client import connect
    from s6.health.heartbeat import live_processes
    from s6.settings import load_settings

    try:
        with connect(load_settings(os.environ).redis) as client:
            beats = live_processes(client)
    except RedisError as error:
        print(f"Redis can't be asked: {error}")
        return 0
    host = socket.gethostname()
    if any(beat.role == kind and beat.host == host for beat in beats):
        return 0
    print(f"no heartbeat of a {kind} on {host}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
