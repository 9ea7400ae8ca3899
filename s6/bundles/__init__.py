"""Holds the Active Bundle in force, and watches for a newer one.

An adapter: it shares the bundle through Redis and serves the port ``s6.ports.BundleSource``.
"""
