"""A Redis to take along: real servers started from Python, for a laptop and for tests. None outlives its starter."""

from s6.standalone.free_ports import free_port
from s6.standalone.redis_server import EmbeddedError, find_server
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.redis_sentinel import EmbeddedSentinel

__all__ = ["EmbeddedCluster", "EmbeddedError", "EmbeddedRedis", "EmbeddedSentinel", "find_server", "free_port"]
