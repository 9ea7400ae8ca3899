"""How a position stands in Redis: its state shows every field that its last snapshot names."""

from __future__ import annotations

from typing import Any

from s6.adapters.redis_records import payload
from s6.model.commit import Commit
from s6.model.documents import snapshot
from tests.unit.given import NOW, stopped


def test_the_state_shows_every_field_of_the_last_snapshot() -> None:
    p = stopped(39000, seq=7)
    told = snapshot(p, "RESULT", "SL NEW", NOW, op=None)
    flat: Any = payload(p, Commit(p, None, snapshots=(told,)))["state"]
    state = dict(zip(flat[::2], flat[1::2], strict=True))
    assert set(told) - {"state", "op", "order"} <= set(state)
    assert (state["_key"], state["phase"], state["seq"]) == ("p1:00000007", "RESULT", "7")
    unsaid: Any = payload(p, Commit(p, None))["state"]
    assert "phase" not in unsaid[::2]
