"""Who is well, and what follows: the mode, GET /health, heartbeats, the neighbours' probes, `s6 doctor`."""
