"""Moves snapshots to the store."""

from __future__ import annotations

from s6.ports import StateUnavailable
from tasks.base import services, task


@task()
def relay() -> None:
    """Move what waits, one task at a time. What cannot be moved now waits for the next beat."""
    try:
        services().relay.run()
    except StateUnavailable:
        return  # Redis is away; the snapshots are in it
