"""The paper neighbours: S1, S4, S10 and S12 for a laptop and for the tests, with a market, features and an entry side.

One process (`python -m s6.paper`) plays a small futures and spot exchange. It keeps its own arithmetic, apart from
`s6.rules`, and writes everything it sees and does into a ledger, because it is also the judge of the position manager.
"""
