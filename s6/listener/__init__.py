"""The listener process: consumer of results, reader of markets and features, watcher of bundles and neighbours.

An adapter: it reads Redis's streams and channels, and calls services with what it has read.
"""

from s6.listener.main import main

__all__ = ["main"]
