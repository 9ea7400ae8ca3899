"""What is kept as text comes back as it was."""

from __future__ import annotations

from s6.model.codec import from_fields, to_fields
from s6.model.position import Position
from tests.unit.given import position


def test_what_an_older_version_wrote_is_verified() -> None:
    fields = {
        name: text for name, text in to_fields(position()).items() if name not in ("unverified_from", "rebuilt_ts")
    }
    assert from_fields(Position, fields) == position()
