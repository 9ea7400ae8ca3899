"""The process that runs the paper services in the foreground."""

import json
import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence

import redis

from s6.paper.config import PaperConfig, parse
from s6.paper.services import PaperServices


def run(config: PaperConfig) -> None:
    """Run until SIGTERM or SIGINT. One JSON line on standard output says where it listens (`{"url": …}`)."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    services = PaperServices(config)
    services.start()
    print(json.dumps({"url": services.url}), flush=True)
    try:
        ended.wait()
    finally:
        services.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m s6.paper`. Returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = parse(arguments)
    try:
        run(config)
    except (OSError, ValueError, redis.RedisError, sqlite3.Error) as error:
        print(f"s6 paper: {error}", file=sys.stderr)
        return 1
    return 0
