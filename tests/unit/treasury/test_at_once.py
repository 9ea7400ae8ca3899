"""Twenty triggers at once, on the real embedded store and on a double of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier

import pytest

from s6.store import Document, Store, open_store
from s6.treasury import Refusal, TransferInFlight
from tests.doubles.arango import ArangoDouble
from tests.unit.treasury.world import MOVED, World

CROWD = 20


class NoLock:
    """The worst that can become of locks: each has run out already."""

    def lock(self, key: str, ttl_ms: int) -> str | None:
        return "mine"

    def unlock(self, key: str, token: str) -> bool:
        return False


@pytest.fixture(params=["sqlite", "arango"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with ArangoDouble() as double:
        made = open_store(f"sqlite:///{tmp_path}/s6.db" if request.param == "sqlite" else double.url())
        made.init()
        yield made
        made.close()


@pytest.fixture(params=["locked", "locks expired"])
def world(store: Store, request: pytest.FixtureRequest) -> World:
    return World(store=store, locks=None if request.param == "locked" else NoLock(), mode="SEMI")


def at_once(act: Callable[[int], Document]) -> list[Document | Refusal]:
    barrier = Barrier(CROWD)

    def one(number: int) -> Document | Refusal:
        barrier.wait(30)
        try:
            return act(number)
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(one, range(CROWD)))


def test_different_ids_make_one_transfer(world: World, store: Store) -> None:
    answers = at_once(lambda number: world.trigger(f"t-{number}", amount=Decimal(10 + number)))
    begun = [answer for answer in answers if isinstance(answer, dict)]
    refused = [answer for answer in answers if isinstance(answer, TransferInFlight)]
    assert (len(begun), len(refused)) == (1, CROWD - 1)
    assert [doc["transfer_id"] for doc in store.transfers().items] == [begun[0]["transfer_id"]]


def test_equal_ids_make_one_transfer_and_one_answer(world: World, store: Store) -> None:
    answers = at_once(lambda number: world.trigger("t-1"))
    assert answers == [answers[0]] * CROWD
    assert isinstance(answers[0], dict)
    assert len(store.transfers().items) == 1


def test_one_need_is_met_once(world: World, store: Store) -> None:
    def trigger_and_carry_out(number: int) -> Document:
        answer = world.trigger(f"t-{number}", mode="AUTO")
        world.treasury().advance(f"t-{number}")
        return answer

    at_once(trigger_and_carry_out)
    world.settle()
    assert world.s1.free["FUT"] == 500
    executed = [doc["transfer_id"] for doc in store.transfers(status="EXECUTED").items]
    assert executed == list(world.s1.moved)
    assert len(executed) == 1


def test_many_sweeps_at_once_move_the_money_once(world: World, store: Store) -> None:
    world.trigger(mode="AUTO")
    at_once(lambda number: {"kind": world.treasury().advance("t-1").kind})
    world.settle()
    assert (world.s1.moved, world.record()["status"]) == (MOVED, "EXECUTED")
    assert world.book.counts == {"executed": 1}


def test_contrary_decisions_at_once(world: World, store: Store) -> None:
    world.trigger()
    answers = at_once(
        lambda number: (world.treasury().approve if number % 2 else world.treasury().reject)("t-1", f"p-{number}")
    )
    world.settle()
    record = world.record()
    assert record["decision"] in ("APPROVED", "REJECTED")
    assert world.s1.moved == (MOVED if record["decision"] == "APPROVED" else {})
    assert sum(isinstance(answer, dict) for answer in answers) == CROWD // 2


def test_two_beats(world: World, store: Store) -> None:
    at_once(lambda number: {"word": world.treasury().check()})
    assert len(store.transfers().items) == 1
