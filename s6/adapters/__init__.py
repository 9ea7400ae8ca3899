"""The outside, behind ``s6.ports``: Redis, the neighbours over HTTP."""
