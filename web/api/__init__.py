"""The HTTP API: one module per area, all endpoints in one table."""

from __future__ import annotations

from web.endpoint import Table

table = Table()
