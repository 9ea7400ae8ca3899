"""Which bundle is in force."""

from __future__ import annotations

from s6.bundles.active import Bundles


def version(bundles: Bundles) -> str | None:
    current = bundles.current()
    return current.version if current else None
