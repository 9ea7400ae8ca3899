"""Bundles for tests, and an S10 in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from s6.adapters.s10 import Fetched
from s6.ports import NeighbourUnavailable


def bundle_text(version: str = "b-1", **members: object) -> str:
    """A small valid bundle, with these members over it."""
    return json.dumps({"version": version, "symbols": {"BTCUSDT": {}}, **members})


@dataclass
class MemoryConfig:
    """What S10 publishes: ``text`` under an ETag that changes with it. ``down``: no usable answer, but its wish for
    ``retry_after_ms`` of rest."""

    text: str = field(default_factory=bundle_text)
    down: bool = False
    retry_after_ms: int | None = None
    with_etag: bool = True
    asked: list[str] = field(default_factory=list)

    def active(self, etag: str = "") -> Fetched | None:
        self.asked.append(etag)
        if self.down:
            raise NeighbourUnavailable("s10", "down", self.retry_after_ms)
        own = f'"{hash(self.text)}"' if self.with_etag else ""
        return None if own and etag == own else Fetched(self.text, own)
