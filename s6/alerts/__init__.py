"""Alerts: raised once, kept until acknowledged, relayed to the store and to people."""
