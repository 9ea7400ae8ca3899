"""Metrics: their catalogue, and their sums over all processes in Redis."""
