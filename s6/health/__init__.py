"""Health and its consequences: the mode, GET /health, heartbeats, the neighbours' probes, `s6 doctor`.

An adapter: heartbeats stand in Redis, and the mode, read from there, is served behind the port ``s6.ports.Gate``.
"""
