"""The history store in memory, as its port says; a hook around each call lets the store be away, or the caller die."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from s6.store import Document, Page, StoreConflict
from tests.doubles.memory_redis import Hook, no_hook

T = TypeVar("T")


class MemoryStore:
    """What governing and the treasury ask of a store. Documents are copied on their way in and out."""

    def __init__(self, hook: Hook = no_hook) -> None:
        self.hook = hook
        self.history: dict[str, dict[int, Document]] = {}
        self.moved: dict[str, Document] = {}

    def _call(self, name: str, key: str, writes: bool, act: Callable[[], T]) -> T:
        after = self.hook(name, key, writes)
        answer = act()
        if after is not None:
            after()
        return answer

    def init(self) -> None:
        self._call("init", "", True, lambda: None)

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        self._call("write_snapshots", str(docs[0]["position_id"]), True, lambda: self._write(docs))

    def _write(self, docs: Sequence[Mapping[str, object]]) -> None:
        conflicts = []
        for doc in docs:
            position_id, seq = str(doc["position_id"]), int(str(doc["seq"]))
            known = self.history.setdefault(position_id, {}).setdefault(seq, dict(doc))
            if known != doc:
                conflicts.append((position_id, seq))
        if conflicts:
            raise StoreConflict(conflicts)

    def snapshots(
        self,
        *,
        position_id: str | None = None,
        symbol: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        assert position_id is not None and symbol is None
        wanted = position_id

        def read() -> Page:
            history = self.history.get(wanted, {})
            rows = [history[seq] for seq in sorted(history, reverse=newest_first)]
            if cursor is not None:
                at = int(cursor)
                rows = [d for d in rows if d["seq"] != at and (int(str(d["seq"])) < at) == newest_first]
            more = len(rows) > limit
            return Page([dict(doc) for doc in rows[:limit]], str(rows[limit - 1]["seq"]) if more else None)

        return self._call("snapshots", wanted, False, read)

    def latest(self) -> Iterator[Document]:
        names = self._call("latest", "", False, lambda: sorted(self.history))
        return iter([dict(self.history[name][max(self.history[name])]) for name in names])

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        return self._call("insert_transfer", str(doc["transfer_id"]), True, lambda: self._insert(dict(doc)))

    def _insert(self, doc: Document) -> bool:
        if doc["transfer_id"] in self.moved or any(doc["turn"] == known["turn"] for known in self.moved.values()):
            return False
        self.moved[str(doc["transfer_id"])] = doc
        return True

    def transfer(self, transfer_id: str) -> Document | None:
        return self._call("transfer", transfer_id, False, lambda: _copy(self.moved.get(transfer_id)))

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        return self._call("update_transfer", transfer_id, True, lambda: self._update(transfer_id, expect, changes))

    def _update(
        self, transfer_id: str, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        doc = self.moved.get(transfer_id)
        if doc is None or doc["status"] not in ((expect,) if isinstance(expect, str) else expect):
            return None
        doc.update(changes)
        return dict(doc)

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        wanted = (status,) if isinstance(status, str) else status

        def read() -> Page:
            docs = [dict(doc) for doc in self.moved.values() if wanted is None or doc["status"] in wanted]
            docs.sort(key=lambda doc: int(str(doc["ts"])), reverse=True)
            return Page(docs[:limit], None)

        return self._call("transfers", "", False, read)


def _copy(doc: Document | None) -> Document | None:
    return None if doc is None else dict(doc)
