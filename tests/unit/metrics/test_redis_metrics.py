"""Metrics: true across processes, in the Prometheus text format."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from s6.adapters.redis_client import RedisClient, connect
from s6.metrics.catalogue import METRICS
from s6.metrics.redis_metrics import RedisMetrics
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def metrics(redis_client: RedisClient) -> RedisMetrics:
    return RedisMetrics(redis_client, flush_s=0.01)


def parsed(metrics: RedisMetrics) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render())
        for sample in family.samples
    }


def test_every_metric_is_announced_before_anything_happens(metrics: RedisMetrics) -> None:
    text = metrics.render()
    for metric in METRICS.values():
        assert f"# TYPE {metric.name} {metric.kind}\n" in text, metric.name
    samples = parsed(metrics)
    assert samples["s6_open_positions", ()] == 0
    assert samples["s6_maker_wait_timeout_total", ()] == 0
    assert samples["s6_mode", (("mode", "NORMAL"),)] == 0
    assert samples["s6_stop_move_total", (("outcome", "success"),)] == 0


def test_counters_and_gauges(metrics: RedisMetrics) -> None:
    metrics.inc("s6_stop_move_total", outcome="success")
    metrics.inc("s6_stop_move_total", 2, outcome="success")
    metrics.inc("s6_stop_move_total", outcome='a "quoted"\nword')
    metrics.set("s6_open_positions", 7)
    metrics.set("s6_open_positions", 5)
    samples = parsed(metrics)
    assert samples["s6_stop_move_total", (("outcome", "success"),)] == 3
    assert samples["s6_stop_move_total", (("outcome", 'a "quoted"\nword'),)] == 1
    assert samples["s6_open_positions", ()] == 5
    assert metrics.totals("s6_stop_move_total") == {("success",): 3, ('a "quoted"\nword',): 1}


def test_histograms_are_consistent(metrics: RedisMetrics) -> None:
    for seconds in (0.01, 0.05, 0.3, 0.8, 99):
        metrics.observe("s6_exec_seconds", seconds, kind="STOP_MOVE")
    samples = parsed(metrics)

    def bucket(le: str) -> float:
        return samples["s6_exec_seconds_bucket", (("kind", "STOP_MOVE"), ("le", le))]

    assert (bucket("0.05"), bucket("0.3"), bucket("0.8"), bucket("10.0"), bucket("+Inf")) == (2, 3, 4, 4, 5)
    assert samples["s6_exec_seconds_count", (("kind", "STOP_MOVE"),)] == 5
    assert samples["s6_exec_seconds_sum", (("kind", "STOP_MOVE"),)] == pytest.approx(100.16)


def test_quantiles(metrics: RedisMetrics) -> None:
    assert metrics.quantile("s6_exec_seconds", 0.95) is None
    for _ in range(95):
        metrics.observe("s6_exec_seconds", 0.22, kind="STOP_MOVE")
    for _ in range(5):
        metrics.observe("s6_exec_seconds", 0.75, kind="EXIT")
    assert metrics.quantile("s6_exec_seconds", 0.95) == pytest.approx(0.25)
    assert metrics.quantile("s6_exec_seconds", 0.5) == pytest.approx(0.2 + 0.05 * 50 / 95)
    exits = metrics.quantile("s6_exec_seconds", 0.5, kind="EXIT")
    assert exits is not None
    assert 0.7 < exits < 0.8


def test_all_processes_count_together(redis_url: str, metrics: RedisMetrics) -> None:
    script = (
        "import sys; from s6.adapters.redis_client import connect; from s6.metrics.redis_metrics import RedisMetrics\n"
        "m = RedisMetrics(connect(sys.argv[1]))\n"
        "for _ in range(100): m.inc('s6_stop_move_total', outcome='success'); m.observe('s6_sweep_seconds', 0.2)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, redis_url], cwd=ROOT) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    samples = parsed(metrics)
    assert samples["s6_stop_move_total", (("outcome", "success"),)] == 200
    assert samples["s6_sweep_seconds_count", ()] == 200


def test_on_a_cluster(cluster_url: str) -> None:
    with connect(cluster_url) as client:
        metrics = RedisMetrics(client)
        metrics.inc("s6_stop_move_total", outcome="success")
        metrics.observe("s6_exec_seconds", 0.1, kind="EXIT")
        metrics.set("s6_open_positions", 3)
        samples = parsed(metrics)
        assert samples["s6_open_positions", ()] == 3
        assert samples["s6_exec_seconds_count", (("kind", "EXIT"),)] == 1


def test_samples_are_written_without_being_asked(redis_url: str, metrics: RedisMetrics) -> None:
    with connect(redis_url) as client:
        other = RedisMetrics(client)
        metrics.inc("s6_alerts_total", severity="WARN", code="X")
        assert wait_for(lambda: other.totals("s6_alerts_total")) == {("WARN", "X"): 1}
        metrics.inc("s6_alerts_total", severity="WARN", code="X")
        wait_for(lambda: other.totals("s6_alerts_total") == {("WARN", "X"): 2})


def test_what_is_not_declared_is_logged_and_harms_nobody(
    metrics: RedisMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        metrics.inc("s6_nothing_total")
        metrics.inc("s6_nothing_total")
        metrics.set("s6_stop_move_total", 1, outcome="success")
        metrics.observe("s6_exec_seconds", 1.0)
        metrics.observe("s6_sweep_seconds", float("nan"))
    assert len(caplog.records) == 4
    assert parsed(metrics)["s6_sweep_seconds_count", ()] == 0


def test_redis_away_loses_samples_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with connect("redis://127.0.0.1:1/0") as client, caplog.at_level(logging.WARNING):
        metrics = RedisMetrics(client, flush_s=60)
        metrics.inc("s6_stop_move_total", outcome="success")
        metrics.flush()
        assert "1 metric samples lost" in caplog.text
        with metrics._lock:
            metrics._sums.clear()


def test_the_program_uses_declared_metrics_only() -> None:
    used = re.compile(r"""(?:metrics\.(?:inc|observe|set)|Sample)\(\s*(?:"(?:inc|observe|set)",\s*)?"(s6_\w+)\"""")
    for folder in ("s6", "tasks", "web"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in used.findall(path.read_text()):
                assert name in METRICS, f"{path.relative_to(ROOT)}: {name}"


def test_the_documentation_names_every_metric() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"`(s6_[a-z_]+)`", text)) == set(METRICS)
