"""One evaluation from beginning to end: decide, and where S4 must be asked first, ask it and decide again.

Who decides takes the new operation's first steps under the same lock, with what was read and written so far.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Final, Protocol

from s6.engine.executor import Advance, Executor, Progress
from s6.engine.governor import Governor, Outcome
from s6.locks import HeldPosition
from s6.model.commit import Loaded
from s6.model.operation import Operation
from s6.ports import LockBusy, LockLost, StateUnavailable

log = logging.getLogger(__name__)
ROUNDS: Final = 3
CarryOn = Callable[[str, Operation, Progress], object]
Section = Callable[[], AbstractContextManager[None]]


class Reconciles(Protocol):
    """What an evaluation needs of recovery."""

    def verify(self, position_id: str) -> int: ...

    def reconcile_position(self, position_id: str) -> int: ...


class Evaluation:
    """Evaluates positions.

    ``deciding`` is entered around each decision and ``stepping`` around an operation's steps, so that a process can
    hold some of them back.
    """

    def __init__(
        self,
        governor: Governor,
        executor: Executor,
        reconciler: Reconciles,
        deciding: Section = nullcontext,
        stepping: Section = nullcontext,
    ) -> None:
        self._governor, self._executor, self._reconciler = governor, executor, reconciler
        self._deciding, self._stepping = deciding, stepping

    def run(self, position_id: str, carry_on: CarryOn) -> bool:
        """Evaluate the position now. ``carry_on`` takes on an operation that was begun and waits.

        Returns whether the position must be evaluated again soon: another process is at it, or S4 has yet to be asked.
        Raises ``StateUnavailable``, ``NeighbourUnavailable``.
        """
        for _ in range(ROUNDS):
            outcome = self._once(position_id, carry_on)
            if outcome.unverified:
                self._reconciler.verify(position_id)
            elif outcome.kind == "SUPERSEDES" and outcome.op is not None:
                self._executor.supersede(position_id, outcome.op.op_id)
            else:
                break
        if outcome.unconfirmed:
            self._reconciler.reconcile_position(position_id)
        return outcome.kind in ("BUSY", "SUPERSEDES") or outcome.unverified

    def _once(self, position_id: str, carry_on: CarryOn) -> Outcome:
        with ExitStack() as lock:
            try:
                with self._deciding():
                    held = lock.enter_context(self._governor.held(position_id))
                    outcome = self._governor.under_lock(position_id, held.token, "hint", held.loaded)
            except (LockBusy, LockLost):
                return Outcome("BUSY")
            advance = self._advance(held, outcome)
        if advance is None or outcome.op is None:
            self._governor.follow(position_id, outcome)
            return outcome
        self._executor.follow(position_id, advance.after)
        if advance.progress.kind != "DONE":
            carry_on(position_id, outcome.op, advance.progress)
        return outcome

    def _advance(self, held: HeldPosition, outcome: Outcome) -> Advance | None:
        """Take what was begun as far as it goes now. Returns None when nothing was, or when it must be handed on."""
        if outcome.op is None or outcome.written is None:
            return None
        started = held._replace(loaded=Loaded(outcome.written, outcome.op))
        try:
            with self._stepping():
                return self._executor.under_lock(started, outcome.op.op_id, outcome.view)
        except (LockLost, StateUnavailable) as error:
            log.warning("%s is handed on: %s", outcome.op.op_id, error)
            return None
