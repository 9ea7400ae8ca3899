"""Where bugs are planted, and that each is one."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.planting import Bug, bugs, compiles, modules, planted, sample
from tests.mutants.trial import mirrors

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """
LIMIT: Final = 5_000
TRIES = 3

def f(a: int | None, *, b: bool = True) -> int | None:
    log.info("%s", a + 1)
    return a - 1 if b and a is not None else None
"""


def planted_lines(source: str) -> set[int]:
    return {bug.line for bug in bugs(source, "m.py")}


def test_nothing_is_planted_where_only_a_reader_could_see_it() -> None:
    """Annotations, calls of the log, figures of patience."""
    assert planted_lines(SOURCE) == {3, 5, 7}
    assert {bug.operator for bug in bugs(SOURCE, "m.py") if bug.line == 5} == {"core/ReplaceTrueWithFalse"}


def test_each_bug_is_another_program() -> None:
    made = [planted(SOURCE, bug) for bug in bugs(SOURCE, "m.py")]
    assert len(made) > 5 and len(set(made)) == len(made)
    assert all(compiles(text) for text in made)
    assert not compiles("def f(:")


def test_a_sample_is_the_same_for_the_same_seed_and_one_a_place() -> None:
    names = ["s6/plan/closing.py", "s6/plan/scaling.py"]
    drawn = sample(ROOT, names, 12, 7)
    assert drawn == sample(ROOT, names, 12, 7) != sample(ROOT, names, 12, 8)
    assert len({(bug.module, bug.line, bug.column) for bug in drawn}) == 12
    assert all(isinstance(bug, Bug) and bug.module in names for bug in drawn)


def test_the_modules_named_are_there_and_have_their_mirrors() -> None:
    names = modules(ROOT)
    assert {"s6/engine/governor.py", "s6/rules/stops.py", "s6/recovery/rebuilder.py", "tasks/hints.py"} <= set(names)
    assert mirrors(ROOT, "s6/engine/governor.py") == ("tests/unit/engine/test_governor.py",)
    assert mirrors(ROOT, "tasks/hints.py") == ("tests/unit/tasks/test_hints.py",)
