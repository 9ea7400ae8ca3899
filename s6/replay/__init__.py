"""`s6 replay`: a position's life, read back from its snapshots and proven against the live state."""

from s6.replay.command import main

__all__ = ["main"]
