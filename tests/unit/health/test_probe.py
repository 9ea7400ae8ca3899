"""A check that hangs is waited for no longer than it may be, and never run twice at once."""

from __future__ import annotations

import threading
import time

import pytest

from s6.health.probe import Check


def soon() -> float:
    return time.monotonic() + 5


def test_what_a_check_came_to() -> None:
    outcome = Check("x", lambda: "well", (OSError,)).start()(soon())
    assert (outcome.value, outcome.trouble) == ("well", "")
    assert 0 <= outcome.latency_ms < 5_000


def test_how_it_failed() -> None:
    def fails() -> str:
        raise ConnectionRefusedError("no " + "x" * 400)

    outcome = Check("x", fails, (OSError,)).start()(soon())
    assert outcome.value is None
    assert outcome.trouble.startswith("ConnectionRefusedError: no xxx") and len(outcome.trouble) == 300


def test_a_failure_that_nobody_expects_is_none_the_less_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise ZeroDivisionError("a mistake")

    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    outcome = Check("mistaken", fails, (OSError,)).start()(soon())
    for thread in threading.enumerate():  # the outcome is there a moment before the thread ends
        if thread.name == "check-mistaken":
            thread.join(5)
    assert outcome.value is None and outcome.trouble.startswith("ended")
    assert raised == [ZeroDivisionError]


def test_one_that_hangs_is_waited_for_and_not_joined_by_another() -> None:
    release, runs = threading.Event(), [0]

    def hangs() -> str:
        runs[0] += 1
        release.wait(10)
        return "late"

    check = Check("x", hangs, ())
    began = time.monotonic()
    first = check.start()(time.monotonic() + 0.05)
    assert first.value is None and first.trouble.startswith("no answer for ")
    assert 0.05 <= time.monotonic() - began < 2
    assert check.start()(time.monotonic()).value is None
    assert runs == [1]
    wait = check.start()
    release.set()
    assert wait(soon()).value == "late"
    assert check.start()(soon()).value == "late"
    assert runs == [2]  # the one before has ended
