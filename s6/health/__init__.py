"""Health and its consequences: the mode, GET /health, heartbeats, the neighbours' probes, `s6 doctor`."""
