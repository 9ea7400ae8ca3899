"""A process of S6 with some of its lines of promptness cut, so that a test sees what the others do without them.

``python -m tests.support.cut LINE[,LINE…] PROGRAM [ARGUMENT…]``, where PROGRAM is ``celery`` or ``s6``.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from typing import Final

LINES: Final = {
    "results": "s6.engine.results:Results.wake",  # a result wakes its operation, or has its position evaluated
    "ticks": "s6.listener.market_reader:MarketReader._record",  # a crossing has its position evaluated
    "features": "s6.engine.sweep:Sweep.screen",  # new features have their symbol's positions evaluated
    "ended": "s6.engine.executor:Executor._look_on",  # the end of an operation has its position evaluated
    "chain": "tasks.evaluation:carry_on",  # the task that decided sends the rest of the chain
    "rest": "s6.listener.watch:RestWatch._look",  # what stands still is asked for
}
"""Each line and the function that is the whole of it."""


def cut(line: str) -> None:
    """Make this process do nothing at this line."""
    module, _, path = LINES[line].partition(":")
    owner: object = importlib.import_module(module)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    assert callable(getattr(owner, name))
    setattr(owner, name, lambda *args, **kwargs: None)


def main() -> None:
    lines, program, *arguments = sys.argv[1:]
    for line in lines.split(","):
        cut(line)
    sys.argv = [program, *arguments]
    runpy.run_module({"celery": "celery", "s6": "s6.cli"}[program], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
