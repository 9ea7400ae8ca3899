"""The tests themselves: each module has its mirror, and no test passes because it looks at nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
UNIT: Final = ROOT / "tests/unit"
FILES: Final = [*sorted(UNIT.rglob("test_*.py")), *sorted((ROOT / "tests/contract").glob("test_*.py"))]
