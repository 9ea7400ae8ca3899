"""Metrics: the catalogue, and the values that all processes sum up in Redis.

An adapter: it serves the port ``s6.ports.Metrics``.
"""
