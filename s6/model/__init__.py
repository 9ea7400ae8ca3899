"""What S6 talks about: positions, orders, results, operations, markets, bundles. Frozen values, no I/O."""
