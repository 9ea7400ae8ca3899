"""One evaluation from beginning to end: decide, and where S4 must be asked first, ask it and decide again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from s6.engine.executor import Executor
from s6.engine.governor import Governor, Outcome
from s6.model.operation import Operation

ROUNDS: Final = 3


class Reconciles(Protocol):
    """What an evaluation needs of recovery."""

    def verify(self, position_id: str) -> int: ...

    def reconcile_position(self, position_id: str) -> int: ...


class Evaluation:
    """Evaluates positions. ``deciding`` is entered around each decision, so that a process can hold others back."""

    def __init__(
        self,
        governor: Governor,
        executor: Executor,
        reconciler: Reconciles,
        deciding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._governor, self._executor, self._reconciler = governor, executor, reconciler
        self._deciding = deciding

    def run(self, position_id: str, begin: Callable[[str, Operation], object]) -> bool:
        """Evaluate the position now; ``begin`` takes on an operation that was begun.

        Returns whether the position must be evaluated again soon: another process is at it, or S4 has yet to be asked.
        Raises ``StateUnavailable``, ``NeighbourUnavailable``.
        """
        outcome = self._decided(position_id)
        if outcome.op is not None and outcome.kind == "STARTED":
            begin(position_id, outcome.op)
        else:
            self._governor.follow(position_id, outcome)
        if outcome.unconfirmed:
            self._reconciler.reconcile_position(position_id)
        return outcome.kind in ("BUSY", "SUPERSEDES") or outcome.unverified

    def _decided(self, position_id: str) -> Outcome:
        for _ in range(ROUNDS):
            with self._deciding():
                outcome = self._governor.decide(position_id)
            if outcome.unverified:
                self._reconciler.verify(position_id)
            elif outcome.kind == "SUPERSEDES" and outcome.op is not None:
                self._executor.supersede(position_id, outcome.op.op_id)
            else:
                break
        return outcome
