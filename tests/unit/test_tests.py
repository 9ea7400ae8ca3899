"""The tests themselves: each module has its mirror, and no test passes because it looks at nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut import LINES

ROOT: Final = Path(__file__).resolve().parents[2]
#: Tested by what they do as a whole: the paper neighbours, the replay, the stores (``tests/contract``), the standalone
#: system (by starting it).
WHOLE: Final = ("s6/paper/", "s6/replay/", "s6/store/", "s6/standalone/")
#: Modules whose tests bear another name.
ELSEWHERE: Final = {
    "s6/adapters/http_deadline.py": "tests/unit/adapters/test_http.py",
    "s6/adapters/redis_client.py": "tests/integration/test_redis_client.py",
    "s6/adapters/redis_cluster.py": "tests/integration/test_redis_client.py",
    "s6/adapters/redis_index.py": "tests/contract/test_state.py",
    "s6/adapters/redis_locks.py": "tests/contract/test_state.py",
    "s6/adapters/redis_looks.py": "tests/unit/engine/test_looks.py",
    "s6/adapters/redis_markets.py": "tests/contract/test_state.py",
    "s6/adapters/redis_outbox.py": "tests/contract/test_state.py",
    "s6/adapters/redis_part.py": "tests/contract/test_state.py",
    "s6/adapters/redis_quotas.py": "tests/contract/test_state.py",
    "s6/adapters/redis_recovery.py": "tests/contract/test_state.py",
    "s6/adapters/s1.py": "tests/unit/adapters/test_neighbours.py",
    "s6/adapters/s10.py": "tests/unit/adapters/test_neighbours.py",
    "s6/adapters/s12.py": "tests/unit/adapters/test_neighbours.py",
    "s6/adapters/s4.py": "tests/unit/adapters/test_neighbours.py",
    "s6/bootstrap.py": "tests/e2e/test_lives.py",
    "s6/keys.py": "tests/contract/test_ttls.py",
    "s6/listener/group.py": "tests/integration/test_results_order.py",
    "s6/listener/results_consumer.py": "tests/integration/test_results_order.py",
    "s6/listener/sequencer.py": "tests/integration/test_results_order.py",
    "s6/logs.py": "tests/unit/test_cli.py",
    "s6/metrics/catalogue.py": "tests/unit/metrics/test_redis_metrics.py",
    "s6/model/bundle_fields.py": "tests/unit/model/test_bundle.py",
    "s6/model/bundle_rules.py": "tests/unit/model/test_bundle.py",
    "s6/rules/checks.py": "tests/unit/rules/test_errors.py",
    "s6/rules/exact.py": "tests/unit/rules/test_exactness.py",
    "s6/rules/sizing.py": "tests/unit/rules/test_ladder.py",
    "s6/rules/spot.py": "tests/unit/rules/test_spot_and_treasury.py",
    "s6/rules/treasury.py": "tests/unit/rules/test_spot_and_treasury.py",
    "s6/treasury/dependencies.py": "tests/unit/treasury/test_crashes.py",
    "s6/treasury/record.py": "tests/unit/treasury/test_settling.py",
    "s6/treasury/treasury.py": "tests/unit/treasury/test_at_once.py",
    "s6/urls.py": "tests/unit/test_settings.py",
}
CHOICES: Final = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.Compare, ast.comprehension)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# --- mirrors ------------------------------------------------------------------------------------------------------


def modules() -> Iterator[str]:
    """Every module of ``s6`` and ``tasks`` in which something is decided."""
    for path in sorted([*ROOT.glob("s6/**/*.py"), *ROOT.glob("tasks/*.py")]):
        name = str(path.relative_to(ROOT))
        decides = any(isinstance(node, CHOICES) for node in ast.walk(parsed(path)))
        if decides and path.name != "__init__.py" and not name.startswith(WHOLE):
            yield name


def mirror(module: str) -> str:
    path = Path(module.removeprefix("s6/"))
    return f"tests/unit/{path.with_name(f'test_{path.name}')}"


@pytest.mark.parametrize("module", list(modules()))
def test_a_module_has_its_tests_where_they_are_looked_for(module: str) -> None:
    assert (ROOT / ELSEWHERE.get(module, mirror(module))).is_file(), f"{module}: no {mirror(module)}"


def test_no_exception_outlives_its_reason() -> None:
    assert ELSEWHERE.keys() <= set(modules())
    assert [module for module in ELSEWHERE if (ROOT / mirror(module)).exists()] == []


# --- hollow tests -------------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[Path, Function]]:
    for path in sorted([*ROOT.glob("tests/unit/**/test_*.py"), *ROOT.glob("tests/contract/test_*.py")]):
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function) and node.name.startswith("test_"):
                yield path, node


@cache
def judges() -> frozenset[str]:
    """The functions of the tests that fail where something is wrong, by name, and ``pytest.raises``."""
    found = {"raises", "fail"}
    for path in ROOT.glob("tests/**/*.py"):
        functions = (node for node in ast.walk(parsed(path)) if isinstance(node, Function))
        found |= {node.name for node in functions if any(isinstance(n, ast.Assert | ast.Raise) for n in ast.walk(node))}
    return frozenset(found - {name for name in found if name.startswith("test_")})


def asserts(*nodes: ast.AST) -> bool:
    """Whether something in there can fail."""
    return any(isinstance(node, ast.Assert) or _called(node) in judges() for top in nodes for node in ast.walk(top))


def _called(node: ast.AST) -> str:
    """The name of what is called, without what it belongs to."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def is_given(test: Function) -> bool:
    """Whether hypothesis finds the examples: then a condition that no example meets is its own affair."""
    return any(_called(decorator) == "given" for decorator in test.decorator_list)


def _judges(body: list[ast.stmt]) -> bool:
    """Whether it asserts by itself: what a helper asserts is the helper's way of working as often as not."""
    nodes = [node for top in body for node in ast.walk(top)]
    return any(isinstance(node, ast.Assert) or _called(node) == "raises" for node in nodes)


def one_sided(test: Function) -> Iterator[ast.If]:
    """Conditions of which one side asserts and the other doesn't, unless the rest of the test is that other side."""
    for node in ast.walk(test):
        if isinstance(node, ast.If) and _judges(node.body) != _judges(node.orelse):
            leaves = isinstance(node.body[-1], ast.Return | ast.Continue)
            if not leaves:
                yield node


def found(path: Path, nodes: Iterator[ast.stmt]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{node.lineno}" for node in nodes]


def test_every_test_asserts_something() -> None:
    assert [f"{path.name}::{test.name}" for path, test in cases() if not asserts(test)] == []


def test_no_assertion_is_content_with_either_of_two_things() -> None:
    weak = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, test in cases()
        if not is_given(test)
        for node in ast.walk(test)
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or)
    ]
    assert weak == []


def test_no_assertion_is_made_only_sometimes() -> None:
    assert [where for path, test in cases() if not is_given(test) for where in found(path, one_sided(test))] == []


HOLLOW: Final = """
def test_one(x):
    if x:
        assert x == 1

def test_either(x):
    if x:
        assert x == 1
    else:
        assert x is None

def test_rest(x):
    if x is None:
        assert y
        return
    assert x == 1
"""


def test_the_scan_sees_what_is_hollow() -> None:
    functions = [node for node in ast.parse(HOLLOW).body if isinstance(node, ast.FunctionDef)]
    assert [len(list(one_sided(function))) for function in functions] == [1, 0, 0]
    assert not asserts(ast.parse("def test_nothing(): x = 1"))
    assert asserts(ast.parse("def test_waits(): wait_for(lambda: x)"))


@pytest.mark.parametrize("line", sorted(line for line, where in LINES.items() if where.startswith("s6.")))
def test_a_line_of_promptness_that_can_be_cut_is_there(line: str) -> None:
    module, _, path = LINES[line].partition(":")
    assert callable(attrgetter(path)(import_module(module)))
