"""Loops in threads: rounds, ends, silence; and that no class of the product is a thread itself."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from s6 import threads
from s6.threads import LoopThread, wait_for_trouble
from tests.support.procs import ROOT
from tests.support.waiting import wait_for


def test_a_loop_goes_round_until_it_is_stopped() -> None:
    seen: list[str] = []
    twice = threading.Event()

    def round() -> float:
        seen.append(threading.current_thread().name)
        if len(seen) == 2:
            twice.set()
            return 60.0
        return 0.0

    loop = LoopThread("two", round, lambda: seen.append("closed"))
    assert not loop.is_alive()
    loop.start()
    assert twice.wait(5)
    wait_for(loop.is_at_work, 5)
    loop.stop()
    loop.join(5)
    assert not loop.is_alive()
    assert not loop.is_at_work()
    assert seen == ["two", "two", "closed"]


def test_a_loop_is_not_at_work_before_its_first_round_ends_nor_long_after_its_last() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def round() -> float:
        entered.set()
        go_on.wait(10)
        return 60.0

    loop = LoopThread("slow", round, longest_s=0.5)
    loop.start()
    assert entered.wait(5)
    assert loop.is_alive()
    assert not loop.is_at_work()
    go_on.set()
    wait_for(loop.is_at_work, 5)
    wait_for(lambda: not loop.is_at_work(), 5)
    assert loop.is_alive()
    loop.stop()
    loop.join(5)


def test_a_loop_survives_what_a_round_raises_and_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FAULT_PAUSE_S", 0.01)
    faults: list[tuple[str, str]] = []
    broken, closed = threading.Event(), threading.Event()
    broken.set()

    def round() -> float:
        if broken.is_set():
            raise ValueError("broken")
        return 0.01

    loop = LoopThread("fragile", round, closed.set, fault=lambda name, error: faults.append((name, str(error))))
    loop.start()
    wait_for(lambda: len(faults) > 2, 5)
    assert set(faults) == {("fragile", "broken")}
    assert (loop.is_alive(), loop.is_at_work()) == (True, False)
    broken.clear()
    wait_for(loop.is_at_work, 5)
    loop.stop()
    loop.join(5)
    assert closed.is_set()


def test_a_loop_that_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def round() -> float:
        raise SystemExit

    loop = LoopThread("ended", round)
    loop.start()
    loop.join(5)
    assert wait_for_trouble([loop], threading.Event(), 0.01) == ["ended"]


@pytest.fixture
def loops() -> Iterator[list[LoopThread]]:
    started: list[LoopThread] = []
    yield started
    for loop in started:
        loop.stop()
        loop.join(5)


def test_a_loop_that_hangs_is_named(loops: list[LoopThread]) -> None:
    release, ending = threading.Event(), threading.Event()

    def hang() -> float:
        release.wait(10)
        return 0.0

    loops += [
        LoopThread("works", lambda: 0.001, longest_s=0.05),
        LoopThread("hangs", hang, longest_s=0.05),
        LoopThread("is slow", hang, longest_s=60),
    ]
    for loop in loops:
        loop.start()
    try:
        assert wait_for_trouble(loops, ending, 0.02) == ["hangs"]
    finally:
        release.set()


def test_a_process_that_stood_still_blames_no_loop(loops: list[LoopThread]) -> None:
    """Much time passes between two looks: that is one look without a round."""
    ending = threading.Event()
    loops.append(LoopThread("works", lambda: 60.0, longest_s=0.05))
    loops[0].start()
    wait_for(lambda: loops[0].last_round is not None, 5)

    class Frozen(threading.Event):
        looks = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.looks += 1
            return ending.wait(0.15) or self.looks > 3

    assert wait_for_trouble(loops, Frozen(), 0.05) == []


def _bases(file: Path) -> list[str]:
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
    return [ast.unparse(base).rpartition(".")[2] for node in nodes for base in node.bases]


def test_no_class_is_a_thread() -> None:
    """Python may give ``Thread`` any new name at any time: 3.13 set ``_handle``, which a subclass of ours had."""
    files = [file for part in ("s6", "tasks", "web", "tests/chaos") for file in (ROOT / part).rglob("*.py")]
    bases = {file.relative_to(ROOT): _bases(file) for file in files}
    assert sum(map(len, bases.values())) > 100
    assert [name for name, found in bases.items() if {"Thread", "Timer"} & set(found)] == []
