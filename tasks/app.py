"""The Celery application alone: its settings, and the modules that register its tasks."""

from __future__ import annotations

from celery import Celery

from tasks.patch_kombu import patch_kombu

patch_kombu()
app = Celery("s6")
app.config_from_object("celeryconfig")
app.conf.imports = (
    "tasks.evaluation",
    "tasks.execution",
    "tasks.treasury",
    "tasks.snapshots",
    "tasks.alerts",
    "tasks.watchdog",
)
