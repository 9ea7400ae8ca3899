"""Gunicorn's settings for the web process. It reads this file from the directory in which it starts."""

from __future__ import annotations

from gunicorn.workers.base import Worker

from s6.logs import configure_logging
from s6.settings import settings_or_exit
from s6.threads import LoopThread

JOIN_S = 2.0

_settings = settings_or_exit()

bind = f"0.0.0.0:{_settings.port}"
workers = 1
worker_class = "gthread"
threads = 16
timeout = 30
graceful_timeout = 5
keepalive = 5
reuse_port = True  # a killed master's child keeps the port for a while; its successor need not wait for that
accesslog = None
loglevel = _settings.log_level.lower()
control_socket_disable = True  # its path is one per user, so a second copy would find it taken


def post_worker_init(worker: Worker) -> None:
    """Start the heartbeat once the worker has forked and loaded the app."""
    from web.heartbeat import WebHeartbeat

    configure_logging(_settings)
    beats = WebHeartbeat(worker.wsgi)
    worker.heartbeat = LoopThread("heartbeat", beats.round, beats.close)
    worker.heartbeat.start()


def worker_exit(server: object, worker: Worker) -> None:
    """Stop the heartbeat when the worker ends, so that it counts as gone at once."""
    heartbeat = getattr(worker, "heartbeat", None)
    if heartbeat is not None:
        heartbeat.stop()
        heartbeat.join(JOIN_S)
