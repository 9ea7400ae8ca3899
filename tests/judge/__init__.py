"""Judges a paper exchange's ledger: what must always hold, seen from outside."""
