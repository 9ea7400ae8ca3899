"""The plot of a life for the terminal: mark, entry average and stop over time, and every fill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import plotext

from s6.replay.axes import time_ticks, value_ticks
from s6.replay.life import Life, Span

LINE: Final = "braille"
MARKS: Final = {
    "ENTRY": ("▲", "green"),
    "ADD": ("△", "cyan"),
    "TP": ("◆", "orange"),
    "REDUCE": ("◇", "magenta"),
    "EXIT": ("■", "red"),
    "SL": ("■", "red"),
    "GUARD": ("■", "red"),
}
