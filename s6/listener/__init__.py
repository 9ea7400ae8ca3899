"""The listener process: consumer of results, reader of markets and features, watcher of bundles and neighbours."""

from s6.listener.main import main

__all__ = ["main"]
