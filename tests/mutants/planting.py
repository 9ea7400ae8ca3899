"""Which bugs may be planted where: cosmic-ray's mutations, less those that no behaviour could show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

TARGETS: Final = ("s6/rules", "s6/plan", "s6/booking", "s6/engine", "s6/recovery", "tasks")
"""Where bugs are planted."""

#: Slips that people make. Cosmic-ray also knows ``a ^ b`` for ``a - b`` or ``==`` for ``<``: they fail at once or are
#: the same again, and would only flatter the figure.
OPERATORS: Final = re.compile(
    "core/(?:"
    "AddNot|BooleanReplacer|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd"
    "|ReplaceBreakWithContinue|ReplaceContinueWithBreak|ExceptionReplacer|RemoveDecorator|ZeroIterationForLoop"
    "|NumberReplacer|ReplaceUnaryOperator_(?:USub_UAdd|Delete_.*)"
    "|ReplaceBinaryOperator_(?:Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul)"
    "|ReplaceComparisonOperator_(?:Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In"
    "|(?:Lt|LtE|Gt|GtE)_(?:Lt|LtE|Gt|GtE))"
    ")"
)


class Bug(NamedTuple):
    """One mutation: the operator's ``occurrence``-th place in a module. Lines count from 1."""

    module: str
    operator: str
    occurrence: int
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line}:{self.column} {self.operator.removeprefix('core/')} #{self.occurrence}"


def modules(root: Path, targets: Sequence[str] = TARGETS) -> list[str]:
    """Every module in which bugs are planted, by path below ``root``."""
    found: list[str] = []
    for target in targets:
        path = root / target
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        found += [str(file.relative_to(root)) for file in files if file.name != "__init__.py"]
    return found


def sample(root: Path, names: Iterable[str], size: int, seed: int) -> list[Bug]:
    """``size`` bugs, each in a place of its own: places are drawn first, then one of the mutations possible there."""
    places: dict[tuple[str, int, int], list[Bug]] = {}
    for name in names:
        for bug in bugs((root / name).read_text(), name):
            places.setdefault((name, bug.line, bug.column), []).append(bug)
    rng = Random(seed)
    drawn: list[Bug] = []
    for place in rng.sample(sorted(places), len(places)):
        bug = rng.choice(places[place])
        if len(drawn) < size and compiles(planted((root / bug.module).read_text(), bug)):
            drawn.append(bug)
    return drawn


def bugs(source: str, module: str) -> Iterator[Bug]:
    """Every bug that can be planted in a module."""
    tree, silent = get_ast(source), silent_spans(source)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments() or not OPERATORS.fullmatch(name):
            continue
        operator = kind()
        places = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(begin <= start < end for begin, end in silent):
                yield Bug(module, name, occurrence, *start)


def planted(source: str, bug: Bug) -> str:
    """A module's text with the bug in it."""
    mutated = mutate_code(source, cosmic_ray.plugins.get_operator(bug.operator)(), bug.occurrence)
    assert isinstance(mutated, str) and mutated != source, f"{bug} changes nothing"
    return mutated


def compiles(source: str) -> bool:
    """Whether it is Python at all."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


Span = tuple[tuple[int, int], tuple[int, int]]


def silent_spans(source: str) -> list[Span]:
    """What nothing but a reader could notice: annotations, signatures' bare ``*``, calls of the log, and figures of
    patience one off.

    The last are the numbers from 20 upwards that a module gives a name to: milliseconds, batch sizes, kept entries.
    """
    lines = enumerate(source.splitlines(), start=1)
    stars = ((number, match.start()) for number, line in lines for match in re.finditer(r"(?<=[(, ])\*,", line))
    spans: list[Span] = [((line, column), (line, column + 1)) for line, column in stars]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign):
            spans.append(_span(node.annotation))
            if isinstance(node.value, ast.Constant) and _is_figure(node.value.value):
                spans.append(_span(node.value))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and _is_figure(node.value.value):
            spans.append(_span(node.value))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            spans.append(_span(node.annotation))
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            spans.append(_span(node.returns))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _is_log(node.value):
            spans.append(_span(node))
    return spans


def _span(node: ast.expr | ast.stmt) -> Span:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _is_figure(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 20


def _is_log(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "log"
    )
