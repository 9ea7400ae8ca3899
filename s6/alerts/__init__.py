"""Alerts: raised once, kept until acknowledged, relayed to the store and to people.

An adapter: the log keeps alerts and dead letters in Redis and serves the port ``s6.ports.Alerts``.
"""
