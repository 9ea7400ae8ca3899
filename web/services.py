"""Where the views find this process's services."""

from __future__ import annotations

from typing import cast

from flask import current_app

from s6.bootstrap import LazyServices, Services

__all__ = ["LazyServices", "Services", "lazy_services", "services"]


def lazy_services() -> LazyServices:
    """The current app's holder of the services: its settings need no Redis."""
    return cast(LazyServices, current_app.extensions["s6"])


def services() -> Services:
    """The current app's services."""
    return lazy_services()()
