"""Turns between a worker's threads: decisions between steps, steps whenever they come."""

from __future__ import annotations

import threading

from tasks.turns import Turns


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
