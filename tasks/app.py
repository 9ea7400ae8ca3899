"""The Celery application alone. Its settings, which name the modules of its tasks, are read when first needed."""

from __future__ import annotations

from celery import Celery

from tasks.patch_kombu import patch_kombu

patch_kombu()
app = Celery("s6", set_as_current=False)  # a library must not resolve its tasks by ours
app.config_from_object("celeryconfig")
