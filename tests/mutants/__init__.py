"""Bugs planted by sample, to see whether the tests notice (``make mutants``; docs/testing.md)."""
