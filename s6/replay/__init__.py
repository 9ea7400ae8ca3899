"""`s6 replay`: reads a position's life back from its snapshots and proves it against the live state."""

from s6.replay.command import main

__all__ = ["main"]
