"""Celery's face: thin tasks that call ``s6``. ``celery -A tasks`` finds the application here."""

from tasks.app import app

__all__ = ["app"]
