"""What people operate S6 by says all that S6 can say: every metric, every alert, every rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from s6.metrics.catalogue import METRICS
from s6.model.types import SERVICES
from s6.treasury.refusals import InsufficientFunds
from tests.support.procs import ROOT

SEVERITIES = ("WARN", "ERROR", "FATAL")
CODE = re.compile(r"[A-Z][A-Z0-9_]{4,}")
WARNERS = ("booking.py", "results.py")
METRIC = re.compile(r"s6_[a-z_]+")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load(text_of("docker/alerts.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _codes(file: Path) -> Iterator[str]:
    """Codes that stand behind a severity, in a call or a tuple, or as a warning's first part before its text."""
    for node in ast.walk(ast.parse(file.read_text())):
        raised = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("raise_alert", "resolve")
        parts = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Alert":
            raised, parts = True, parts[2:]
        if len(parts) < 2:
            continue
        first, second = _constant(parts[0]), _constant(parts[1])
        if raised or (first in SEVERITIES and len(parts) == 3 and second not in SEVERITIES):
            yield from (name for name in (first, second) if CODE.fullmatch(name) and name not in SEVERITIES)
        elif file.name in WARNERS and len(parts) == 2 and CODE.fullmatch(first) and isinstance(node, ast.Tuple):
            yield first


def alert_codes() -> set[str]:
    files = [file for part in ("s6", "tasks", "web") for file in (ROOT / part).rglob("*.py")]
    found = {code for file in files if "paper" not in file.parts for code in _codes(file)}
    found |= {f"{name.upper()}_DOWN" for name in (*SERVICES, "s12")}
    found |= {f"{name.upper()}_RETRY_AFTER" for name in ("s1", "s4")}
    return found | {f"INSUFFICIENT_{wallet}" for wallet in ("SPOT", "FUT")}


def test_the_search_finds_the_contract_s_codes() -> None:
    assert alert_codes() >= {
        "STOP_MOVE_FAILED",
        "RETRIES_EXHAUSTED",
        "LOCK_OVERRUN",
        "S4_DOWN",
        "MARKET_STALE",
        "BUNDLE_REFUSED",
        "STORE_BACKLOG",
        "DEADLETTER",
        "OVERSELL",
        "SYMBOL_UNKNOWN",
    }
    assert issubclass(InsufficientFunds, Exception)


@pytest.mark.parametrize("code", sorted(alert_codes()))
def test_the_runbook_knows_every_alert(code: str) -> None:
    assert f"`{code}`" in text_of("docs/runbook.md")


@pytest.mark.parametrize("page", ["docs/health.md", "docs/runbook.md", "docs/reliability.md"])
def test_no_table_speaks_of_an_alert_that_is_none(page: str) -> None:
    rows = [line for line in text_of(page).splitlines() if line.startswith("| `")]
    firsts = [row.split("|")[1] for row in rows] if page != "docs/reliability.md" else []
    told = re.findall(r"(?:WARN|ERROR|FATAL) `([A-Z0-9_]+)`", text_of(page))
    named = {word for first in firsts for word in re.findall(r"`([A-Z0-9]+(?:_[A-Z0-9]+)+)`", first)} | set(told)
    assert named and named <= alert_codes()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_explained_with_its_labels(name: str) -> None:
    page = text_of("docs/metrics.md")
    row = next((line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line), "")
    assert f"| {METRICS[name].kind} |" in row
    for label in METRICS[name].labels:
        assert f"`{label}`" in row


@pytest.mark.parametrize("page", ["docs/metrics.md", "docs/runbook.md", "docs/deployment.md", "docker/alerts.yml"])
def test_no_page_speaks_of_a_metric_that_is_none(page: str) -> None:
    spoken = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(text_of(page))}
    assert {name for name in spoken if name != "s6_test_"} <= set(METRICS)


def test_the_runbook_knows_every_rule() -> None:
    missing = [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in text_of("docs/runbook.md")]
    assert missing == []


def test_rules_use_buckets_and_labels_that_there_are() -> None:
    for rule in rules():
        for name, labels in re.findall(r"(s6_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            used = set(re.findall(r"(\w+)=", labels))
            assert used <= {*METRICS[base].labels, "le"}, rule["alert"]
            for bound in re.findall(r'le="([^"]+)"', labels):
                assert bound in [str(b) for b in METRICS[base].buckets], rule["alert"]
