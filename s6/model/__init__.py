"""The data model: positions, orders, results, operations, markets, bundles. All are frozen values without I/O."""
