"""What Redis lost, or S4 knows better: rebuilt from the store, reconciled with S4."""
