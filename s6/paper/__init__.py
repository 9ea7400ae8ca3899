"""The paper neighbours: S1, S4, S10 and S12 for a laptop and for the tests, with a market, features and an entry side.

One process (`python -m s6.paper`) simulates a small futures and spot exchange. Tests judge the position manager by it,
so it keeps its own arithmetic, apart from `s6.rules`, and records everything it sees and does in a ledger.
"""
