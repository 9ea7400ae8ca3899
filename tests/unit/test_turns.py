"""Turns between a worker's threads: decisions between steps, steps whenever they come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tasks.scheduling import Crew, Turns


def in_thread(turn: object, entered: threading.Event, leave: threading.Event) -> threading.Thread:
    def run() -> None:
        with turn:  # type: ignore[attr-defined]
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_one_decision_at_a_time() -> None:
    turns, first, second, leave = Turns(), threading.Event(), threading.Event(), threading.Event()
    threads = [in_thread(turns.decision(), first, leave)]
    assert first.wait(10)
    threads.append(in_thread(turns.decision(), second, leave))
    assert not second.wait(0.2)
    with turns.step():  # never waits for a decision
        leave.set()
    assert second.wait(10)
    for thread in threads:
        thread.join(10)


def test_a_decision_waits_for_a_step_with_patience_only() -> None:
    turns, stepping, decided, leave = Turns(), threading.Event(), threading.Event(), threading.Event()
    threads = [in_thread(turns.step(), stepping, leave)]
    assert stepping.wait(10)
    threads.append(in_thread(turns.decision(), decided, leave))
    assert decided.wait(10)  # although the step goes on
    leave.set()
    for thread in threads:
        thread.join(10)


def test_a_decision_is_made_when_the_last_step_is_done() -> None:
    turns, decided, leave = Turns(), threading.Event(), threading.Event()
    with turns.step(), turns.step():
        pass
    leave.set()
    thread = in_thread(turns.decision(), decided, leave)
    assert decided.wait(10)
    thread.join(10)


def test_who_comes_to_a_complete_crew_leaves_its_position_there() -> None:
    crew = Crew(1)
    first = crew.work("a")
    assert next(first) == "a"
    assert list(crew.work("b")) == []
    assert list(crew.work("c")) == []
    assert list(crew.work("b")) == []
    assert list(crew.work("d", urgent=True)) == []
    assert list(crew.work("c", urgent=True)) == []
    assert list(crew.work("c")) == []
    assert list(first) == ["d", "c", "b"]
    assert list(crew.work("e")) == ["e"]


def test_a_place_is_free_again_when_its_holder_fails() -> None:
    crew = Crew(1)
    with closing(crew.work("a")) as names:
        next(names)
    assert list(crew.work("b")) == ["b"]


def test_nothing_is_left_lying_whoever_comes_when() -> None:
    crew = Crew(2)
    done: list[str] = []

    def task(number: int) -> None:
        with closing(crew.work(f"p{number}")) as names:
            done.extend(names)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(task, range(5_000)))
    assert sorted(done) == sorted(f"p{n}" for n in range(5_000))


def test_at_the_end_what_is_left_is_asked_for_once_more() -> None:
    crew = Crew(1)
    at_work = crew.work("a")
    next(at_work)
    assert list(crew.work("b")) == list(crew.work("c", urgent=True)) == []
    assert crew.left_over() == []
    crew.ending = True
    assert list(at_work) == []
    assert (crew.left_over(), crew.left_over()) == (["c", "b"], [])
