"""Whatever dies or is lost at whichever step, money moves once or not at all, and the record says which."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from s6.ports import StateUnavailable
from s6.treasury import Refusal
from tests.unit.treasury.world import MOVED, Crash, Fault, World

FAULTS: st.SearchStrategy[Fault] = st.sampled_from(["crash before", "crash after", "lost before", "lost after"])
ACTIONS = st.sampled_from(
    ["trigger t-1", "trigger t-2", "check", "approve t-1", "approve t-2", "reject t-1", "sweep", "wait", "wait long"]
)


def act(world: World, action: str) -> None:
    """One process does one thing, and may not live to see its end."""
    word, _, name = action.partition(" ")
    world.faults.dead = False
    treasury = world.treasury()
    try:
        if word == "trigger":
            world.trigger(name)
        elif word == "check":
            treasury.check()
        elif word == "approve":
            treasury.approve(name, "ann")
        elif word == "reject":
            treasury.reject(name, "bob")
        elif word == "sweep":
            treasury.sweep()
        else:
            world.clock.now += 400_000 if name == "long" else 1000
    except (Crash, Refusal, StateUnavailable):
        world.clock.now += 1


@settings(max_examples=400)
@given(
    mode=st.sampled_from(["AUTO", "SEMI"]),
    refuse=st.booleans(),
    actions=st.lists(ACTIONS, min_size=1, max_size=14),
    faults=st.dictionaries(st.integers(1, 60), FAULTS, max_size=8),
)
def test_money_moves_once_or_not_at_all(mode: str, refuse: bool, actions: list[str], faults: dict[int, Fault]) -> None:
    world = World(mode=mode)
    world.s1.refuse = "NO" if refuse else ""
    world.faults.plan = faults
    for action in actions:
        act(world, action)
    world.faults.plan = {}
    world.faults.dead = False
    world.clock.now += 20_000  # the locks of the dead have run out
    world.settle()

    docs = world.memory.docs
    assert {name for name, doc in docs.items() if doc["status"] == "EXECUTED"} == set(world.s1.moved)
    for name, moved in world.s1.moved.items():
        assert moved == Decimal(str(docs[name]["amount_exact"]))
        assert docs[name]["tx_id"] == f"tx-{name}"
    for request in world.s1.requests:
        doc = docs[request[0]]
        assert request == (doc["transfer_id"], "SPOT", "FUT", "USDT", Decimal(str(doc["amount_exact"])))
        assert doc["decision"] == ("APPROVED" if doc["mode"] == "SEMI" else None)
    assert world.s1.free["FUT"] <= 500  # no need is met twice
    assert sorted(int(str(doc["turn"])) for doc in docs.values()) == list(range(1, len(docs) + 1))
    for doc in docs.values():
        history = doc["history"]
        assert isinstance(history, list)
        assert history[-1]["status"] == doc["status"]


@settings(max_examples=100)
@given(faults=st.dictionaries(st.integers(1, 40), FAULTS, max_size=10))
def test_an_automatic_transfer_is_made_in_the_end(faults: dict[int, Fault]) -> None:
    """A trigger that is repeated until it is answered comes to be, whatever goes wrong on the way."""
    world = World(mode="AUTO")
    world.faults.plan = faults
    for _ in range(60):
        act(world, "trigger t-1")
        act(world, "sweep")
        world.clock.now += 20_000
    assert world.s1.moved == MOVED
    assert world.s1.free["FUT"] == 500
    assert world.record()["status"] == "EXECUTED"
