"""Keeps results in order: one is booked only when every older one of its position is, whichever listener holds that.

All results of one position are on one stream, and Redis hands a stream's entries out in order. So when an entry is
here, every older one was delivered before, and is either acknowledged, which means booked, or pending. Nothing older
can become pending later, so one look at the pending entries settles whether an entry's turn has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from s6.listener.group import LOOK, GroupReader, Pending
from s6.listener.streams import COUNT, Entry

KEEP_S: Final = 0.25
BATCH: Final = 256


class Delivered(NamedTuple):
    """An entry, and how often it was delivered."""

    entry: Entry
    deliveries: int


class Sequencer:
    """Holds entries that were delivered to this listener, and handles each in its turn.

    Parameters
    ----------
    reader
        The consumer that the entries came from.
    handle
        Takes entries in their order. Returns those that are left for later, still pending: with one of a position also
        the later ones of that position.
    """

    def __init__(self, reader: GroupReader, handle: Callable[[list[Delivered]], list[Entry]]) -> None:
        self._reader = reader
        self._handle = handle
        self._held: dict[str, dict[str, Entry]] = {}
        self._elsewhere: dict[str, dict[str, str]] = {}
        self._kept_at = 0.0

    @property
    def waiting(self) -> bool:
        """Whether any entry is held."""
        return bool(self._held)

    def room(self, names: Iterable[str]) -> list[str]:
        """Return the streams of which more may be read: those without many entries waiting."""
        return [name for name in names if len(self._held.get(name, ())) < COUNT]

    def hold(self, entries: Iterable[Entry]) -> set[str]:
        """Take in entries, some of them perhaps again. Returns their streams."""
        if not self._held:
            self._kept_at = time.monotonic()
        streams = set()
        for entry in entries:
            self._held.setdefault(entry.stream, {})[entry.entry_id] = entry
            streams.add(entry.stream)
        return streams

    def drop(self) -> None:
        """Forget all entries: what is pending is delivered again."""
        self._held.clear()
        self._elsewhere.clear()

    def work_off(self, streams: Iterable[str] | None = None) -> None:
        """Handle the entries whose turn has come, of all streams or of these. Raises ``RedisError``."""
        names = sorted(self._held if streams is None else self._held.keys() & set(streams))
        if not names:
            return
        pending = self._reader.pending({name: max(self._held[name], key=_rank) for name in names})
        self._look_up(pending)
        turn: list[Delivered] = []
        for name, rows in pending.items():
            self._forget_handled(name, rows)
            turn += self._whose_turn_it_is(name, rows)
        self._go_through(turn)
        for name in names:
            if not self._held[name]:
                del self._held[name], self._elsewhere[name]

    def _whose_turn_it_is(self, name: str, rows: list[Pending]) -> Iterator[Delivered]:
        """Go from the oldest entry on. One that another holds stops all later ones of its position."""
        held, elsewhere = self._held[name], self._elsewhere[name]
        stopped: set[str] = set()
        for row in rows:
            entry = held.get(row.entry_id)
            position_id = _position(entry.fields) if entry else elsewhere[row.entry_id]
            if entry is None or row.consumer != self._reader.consumer:
                held.pop(row.entry_id, None)  # another has claimed it while we stood still
                stopped.add(position_id)
            elif not position_id or position_id not in stopped:
                yield Delivered(entry, row.deliveries)

    def _go_through(self, turn: list[Delivered]) -> None:
        """Handle batch after batch. An entry that is left for later stops all later ones of its position."""
        stopped: set[tuple[str, str]] = set()
        while turn:
            batch, turn = turn[:BATCH], turn[BATCH:]
            self._keep()
            left = self._handle(batch)
            for entry, _ in batch:
                del self._held[entry.stream][entry.entry_id]
            stopped |= {(entry.stream, _position(entry.fields)) for entry in left}
            turn = [each for each in turn if (each.entry.stream, _position(each.entry.fields)) not in stopped]
        self._keep()

    def _forget_handled(self, name: str, rows: list[Pending]) -> None:
        """Drop entries that are no longer pending: another consumer handled them. Past the first LOOK entries we can't
        tell, so keep those."""
        unlisted = self._held[name].keys() - {row.entry_id for row in rows}
        for entry_id in unlisted:
            if len(rows) < LOOK or _rank(entry_id) < _rank(rows[-1].entry_id):
                del self._held[name][entry_id]

    def _look_up(self, pending: dict[str, list[Pending]]) -> None:
        """Look up whose results are pending elsewhere. A trimmed one belongs to nobody: it cannot be read again."""
        asked = []
        for name, rows in pending.items():
            known, held = self._elsewhere.get(name, {}), self._held[name]
            ids = [row.entry_id for row in rows if row.entry_id not in held]
            self._elsewhere[name] = {entry_id: known[entry_id] for entry_id in ids if entry_id in known}
            asked += [(name, entry_id) for entry_id in ids if entry_id not in known]
        for (name, entry_id), fields in self._reader.fields(asked).items():
            self._elsewhere[name][entry_id] = _position(fields)

    def _keep(self) -> None:
        """Reset the held entries' idle time now and then, so that nobody claims them."""
        if self._held and time.monotonic() - self._kept_at >= KEEP_S:
            self._kept_at = time.monotonic()
            self._reader.keep({name: held for name, held in self._held.items() if held})


def _position(fields: dict[str, str]) -> str:
    return fields.get("position_id", "")


def _rank(entry_id: str) -> tuple[int, int]:
    """Return an entry's rank in its stream."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
