"""How the web process is served; gunicorn reads this file by itself from the directory it is started in."""

from __future__ import annotations

from s6.settings import settings_or_exit

_settings = settings_or_exit()

bind = f"0.0.0.0:{_settings.port}"
workers = 1
worker_class = "gthread"
threads = 16
timeout = 30
graceful_timeout = 5
keepalive = 5
accesslog = None
loglevel = _settings.log_level.lower()
