"""Keeps the values of metrics in one Redis hash, so that any process shows the sums of all (docs/metrics.md).

A process sums its samples up and writes them in one round trip, at most 0.1 s after the first. So the measured code
does not wait, and a killed process loses at most that tenth of a second.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.metrics.catalogue import METRICS, Kind, Metric

log = logging.getLogger(__name__)

FLUSH_S: Final = 0.1
# KEYS: values · ARGV: JSON of fields to add to, their amounts, and fields and values to set
WRITE: Final = """
local sent = cjson.decode(ARGV[1])
local new, names = sent[3], sent[1]
if #names > 0 then
  local known = redis.call('HMGET', KEYS[1], unpack(names))
  for n, name in ipairs(names) do
    table.insert(new, name)
    table.insert(new, string.format('%.17g', (tonumber(known[n] or 0) or 0) + sent[2][n]))
  end
end
redis.call('HSET', KEYS[1], unpack(new))
return 1
"""
Labels = tuple[str, ...]


class RedisMetrics:
    """Implements ``s6.ports.Metrics``.

    Recording never raises; a sample that its declaration does not allow is logged.
    """

    def __init__(self, redis: RedisClient, *, flush_s: float = FLUSH_S) -> None:
        self._redis = text(redis)
        self._write = self._redis.register_script(WRITE)
        self._flush_s = flush_s
        self._lock = threading.Lock()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._gauges: dict[str, float] = {}
        self._samples = 0
        self._more = threading.Event()
        self._flusher_pid = 0
        self._complained: set[str] = set()
        atexit.register(self.flush)

    def inc(self, name: str, value: float = 1, **labels: str) -> None:
        metric = self._declared(name, "counter", value, labels)
        if metric and value > 0:
            self._add({_field(name, _values(metric, labels), ""): value})

    def observe(self, name: str, value: float, **labels: str) -> None:
        metric = self._declared(name, "histogram", value, labels)
        if metric:
            values = _values(metric, labels)
            bucket = bisect_left(metric.buckets, value)
            self._add({_field(name, values, str(bucket)): 1, _field(name, values, "sum"): value})

    def set(self, name: str, value: float, **labels: str) -> None:
        metric = self._declared(name, "gauge", value, labels)
        if metric:
            with self._lock:
                self._gauges[_field(name, _values(metric, labels), "")] = value
            self._soon()

    def flush(self) -> None:
        """Write the gathered samples. Samples that Redis does not accept are lost and counted."""
        with self._lock:
            sums, gauges, samples = self._sums, self._gauges, self._samples
            self._sums, self._gauges, self._samples = defaultdict(float), {}, 0
        if not sums and not gauges:
            return
        try:
            sent = [[*sums], [*sums.values()], [text for pair in gauges.items() for text in pair]]
            self._write(keys=[keys.METRICS], args=[json.dumps(sent)])
        except RedisError as error:
            log.warning("%d metric samples lost: %s", samples, error)
            with self._lock:
                self._sums[_field("s6_metrics_lost_total", (), "")] += samples
                for field, value in gauges.items():
                    self._gauges.setdefault(field, value)

    def render(self) -> str:
        """Return all metrics of all processes in the Prometheus text format. Raises ``RedisError``."""
        self.flush()
        return render(self._redis.hgetall(keys.METRICS))

    def totals(self, name: str) -> dict[Labels, float]:
        """Return a counter's or gauge's values by its labels' values. Raises ``RedisError``."""
        self.flush()
        return {labels: parts[""] for labels, parts in _read(self._redis.hgetall(keys.METRICS)).get(name, {}).items()}

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """Return a histogram's quantile (0.95: p95) over all time, interpolated within its bucket.

        It sums over labels that are not given. Returns None without samples. Raises ``RedisError``.
        """
        self.flush()
        metric = METRICS[name]
        counts: defaultdict[int, float] = defaultdict(float)
        for values, parts in _read(self._redis.hgetall(keys.METRICS)).get(name, {}).items():
            if all(values[metric.labels.index(label)] == wanted for label, wanted in labels.items()):
                for part, value in parts.items():
                    if part != "sum":
                        counts[int(part)] += value
        return _interpolated(metric.buckets, counts, q)

    def _declared(self, name: str, kind: Kind, value: float, labels: Mapping[str, str]) -> Metric | None:
        metric = METRICS.get(name)
        if metric and metric.kind == kind and labels.keys() == set(metric.labels) and math.isfinite(value):
            return metric
        if name not in self._complained:
            self._complained.add(name)
            log.error("metric %s{%s} %s: no such %s is declared", name, ",".join(labels), value, kind)
        return None

    def _add(self, amounts: Mapping[str, float]) -> None:
        with self._lock:
            for field, amount in amounts.items():
                self._sums[field] += amount
            self._samples += 1
        self._soon()

    def _soon(self) -> None:
        if self._flusher_pid != os.getpid():  # the first sample, or the first in a forked child, which has no threads
            self._flusher_pid = os.getpid()
            threading.Thread(target=self._run, name="metrics", daemon=True).start()
        self._more.set()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._more.wait()
            pause.wait(self._flush_s)
            self._more.clear()
            self.flush()


@lru_cache(4096)
def _field(name: str, values: Labels, part: str) -> str:
    return json.dumps([name, values, part])


def _values(metric: Metric, labels: Mapping[str, str]) -> Labels:
    return tuple(str(labels[label]) for label in metric.labels)


def _read(values: Mapping[str, str]) -> dict[str, dict[Labels, dict[str, float]]]:
    """Return the hash by metric, labels' values and part: ``""``, or a histogram's ``sum`` or bucket number."""
    found: dict[str, dict[Labels, dict[str, float]]] = {}
    for field, value in values.items():
        name, labels, part = json.loads(field)
        metric = METRICS.get(name)
        if metric and len(labels) == len(metric.labels):  # another version of the program may declare others
            found.setdefault(name, {}).setdefault(tuple(labels), {})[part] = float(value)
    return found


def render(values: Mapping[str, str]) -> str:
    """Return the hash's values in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(_read(values)))
    return generate_latest(registry).decode()


class _Snapshot(Collector):
    def __init__(self, found: dict[str, dict[Labels, dict[str, float]]]) -> None:
        self._found = found

    def collect(self) -> Iterator[Family]:
        for metric in METRICS.values():
            seeds = [(seed,) for seed in metric.seeds] if metric.labels else [()]
            rows: dict[Labels, dict[str, float]] = {seed: {} for seed in seeds}
            yield _family(metric, rows | self._found.get(metric.name, {}))


def _family(metric: Metric, rows: Mapping[Labels, Mapping[str, float]]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, parts in rows.items():
            histogram.add_metric(labels, _cumulative(metric.buckets, parts), parts.get("sum", 0.0))
        return histogram
    simple = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = simple(metric.name, metric.help, labels=metric.labels)
    for labels, parts in rows.items():
        family.add_metric(labels, parts.get("", 0.0))
    return family


def _cumulative(bounds: tuple[float, ...], parts: Mapping[str, float]) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for number, bound in enumerate((*map(str, bounds), "+Inf")):
        total += parts.get(str(number), 0.0)
        buckets.append((bound, total))
    return buckets


def _interpolated(bounds: tuple[float, ...], counts: Mapping[int, float], q: float) -> float | None:
    rank, below = q * sum(counts.values()), 0.0
    for number, bound in enumerate(bounds):
        count = counts.get(number, 0.0)
        if count and below + count >= rank:
            lower = bounds[number - 1] if number else 0.0
            return lower + (bound - lower) * (rank - below) / count
        below += count
    return bounds[-1] if counts else None
