"""Rebuilds from the store what Redis lost, and reconciles with S4 what S4 knows better."""
