"""A Redis to take along: real servers started from Python, for a laptop and for tests. None outlives its starter."""

from s6.embedded.cluster import EmbeddedCluster
from s6.embedded.sentinel import EmbeddedSentinel
from s6.standalone.free_ports import free_port
from s6.standalone.redis_server import EmbeddedError, find_server
from s6.standalone.redis_single import EmbeddedRedis

__all__ = ["EmbeddedCluster", "EmbeddedError", "EmbeddedRedis", "EmbeddedSentinel", "find_server", "free_port"]
