"""The one way in for what others write: messages are taken apart with the clock at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

from s6.model import jsonx
from s6.model.bundle import ActiveBundle
from s6.model.wire import MalformedMessage, Message
from s6.ports import Clock

M = TypeVar("M", bound=Message)

SKEW_MS: Final = 5_000
"""How far ahead of S6's clock a time may lie before there is a bundle that says so."""


class NewestBundle(Protocol):
    @property
    def latest(self) -> ActiveBundle | None:
        """The newest bundle that this process has seen."""


class Reader:
    """Takes messages apart. One whose time lies further ahead than the bundle's ``clock_skew_ms`` is malformed."""

    def __init__(self, clock: Clock, bundles: NewestBundle) -> None:
        self._clock, self._bundles = clock, bundles

    def read(self, kind: type[M], fields: Mapping[str, Any]) -> M:
        """Return the message in these fields. Raises ``MalformedMessage``."""
        return kind.read(fields, latest=self.latest_ts())

    def latest_ts(self) -> int:
        """Return the latest ``ts`` (ms) that a message may bear now. What is kept under a later one came before the
        clock was set back, and gives way to whatever comes.
        """
        bundle = self._bundles.latest
        return self._clock.now_ms() + (bundle.health.clock_skew_ms if bundle else SKEW_MS)

    def read_json(self, kind: type[M], text: str) -> M:
        """Return the message in a JSON object. Raises ``MalformedMessage``."""
        try:
            found = jsonx.received(text)
        except ValueError as error:
            raise MalformedMessage(f"message: must be JSON ({error})") from None
        if not isinstance(found, dict):
            raise MalformedMessage("message: must be a JSON object")
        return self.read(kind, found)
