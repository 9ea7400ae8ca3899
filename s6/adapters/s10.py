"""S10, configuration, over HTTP (CONTRACT §3.6)."""

from __future__ import annotations

from typing import NamedTuple

from s6.adapters.http import Neighbour
from s6.ports import NeighbourUnavailable, UnexpectedAnswer


class Fetched(NamedTuple):
    """A bundle as published: its text, not yet judged, and its ETag (empty when S10 gave none)."""

    text: str
    etag: str


class S10Config:
    """Where the Active Bundle comes from. It is asked even when it counts as down: the poll backs off by itself."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._s10 = neighbour

    def active(self, etag: str = "") -> Fetched | None:
        """Return the bundle published now, or None while it is that of ``etag``. Raises ``NeighbourUnavailable``."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = self._s10.call("GET", "/active", headers=headers, is_json=False)
        if answer.status == 304:
            return None
        if not answer.ok:
            raise UnexpectedAnswer(self._s10.name, answer.status)
        try:
            return Fetched(answer.body.decode(), answer.headers.get("ETag", ""))
        except UnicodeDecodeError as error:
            raise NeighbourUnavailable(self._s10.name, "the bundle is not UTF-8 text") from error
