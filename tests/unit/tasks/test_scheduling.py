"""StepPriority between a worker's threads: decisions between steps, steps whenever they come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tasks.scheduling import EvaluationQueue, StepPriority


def in_thread(turn: object, entered: threading.Event, leave: threading.Event) -> threading.Thread:
    def run() -> None:
        with turn:  # type: ignore[attr-defined]
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_one_decision_at_a_time() -> None:
    priority, first, second, leave = StepPriority(), threading.Event(), threading.Event(), threading.Event()
    threads = [in_thread(priority.decision(), first, leave)]
    assert first.wait(10)
    threads.append(in_thread(priority.decision(), second, leave))
    assert not second.wait(0.2)
    with priority.step():  # never waits for a decision
        leave.set()
    assert second.wait(10)
    for thread in threads:
        thread.join(10)


def test_a_decision_waits_for_a_step_with_patience_only() -> None:
    priority, stepping, decided, leave = StepPriority(), threading.Event(), threading.Event(), threading.Event()
    threads = [in_thread(priority.step(), stepping, leave)]
    assert stepping.wait(10)
    threads.append(in_thread(priority.decision(), decided, leave))
    assert decided.wait(10)  # although the step goes on
    leave.set()
    for thread in threads:
        thread.join(10)


def test_a_decision_is_made_when_the_last_step_is_done() -> None:
    priority, decided, leave = StepPriority(), threading.Event(), threading.Event()
    with priority.step(), priority.step():
        pass
    leave.set()
    thread = in_thread(priority.decision(), decided, leave)
    assert decided.wait(10)
    thread.join(10)


def test_who_comes_to_a_complete_crew_leaves_its_position_there() -> None:
    queue = EvaluationQueue(1)
    first = queue.work("a")
    assert next(first) == "a"
    assert list(queue.work("b")) == []
    assert list(queue.work("c")) == []
    assert list(queue.work("b")) == []
    assert list(queue.work("d", urgent=True)) == []
    assert list(queue.work("c", urgent=True)) == []
    assert list(queue.work("c")) == []
    assert list(first) == ["d", "c", "b"]
    assert list(queue.work("e")) == ["e"]


def test_a_place_is_free_again_when_its_holder_fails() -> None:
    queue = EvaluationQueue(1)
    with closing(queue.work("a")) as names:
        next(names)
    assert list(queue.work("b")) == ["b"]


def test_nothing_is_left_lying_whoever_comes_when() -> None:
    queue = EvaluationQueue(2)
    done: list[str] = []

    def task(number: int) -> None:
        with closing(queue.work(f"p{number}")) as names:
            done.extend(names)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(task, range(5_000)))
    assert sorted(done) == sorted(f"p{n}" for n in range(5_000))


def test_at_the_end_what_is_left_is_asked_for_once_more() -> None:
    queue = EvaluationQueue(1)
    at_work = queue.work("a")
    next(at_work)
    assert list(queue.work("b")) == list(queue.work("c", urgent=True)) == []
    assert queue.left_over() == []
    queue.ending = True
    assert list(at_work) == []
    assert (queue.left_over(), queue.left_over()) == (["c", "b"], [])
