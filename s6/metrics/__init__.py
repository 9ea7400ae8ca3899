"""Metrics: the catalogue, and the values that all processes sum up in Redis."""
