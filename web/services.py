"""Gives the views this process's services."""

from __future__ import annotations

from typing import cast

from flask import current_app

from s6.bootstrap import LazyServices, Services

__all__ = ["LazyServices", "Services", "lazy_services", "services"]


def lazy_services() -> LazyServices:
    """Return the current app's lazy services. Their settings are available without Redis."""
    return cast(LazyServices, current_app.extensions["s6"])


def services() -> Services:
    """Return the current app's services. Raises ``StateUnavailable`` while they cannot be built."""
    return lazy_services()()
