"""The figures of a campaign, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.campaign import Campaign
from tests.judge.history import Record, rebuild
from tests.judge.protection import Gap, protection_gaps


def report(campaign: Campaign, records: list[Record], redis: Any, seconds: float) -> str:
    """Some lines: what was done, what came of it, how long anything stood unprotected and why."""
    return "\n".join(_lines(campaign, records, redis, seconds))


def _lines(campaign: Campaign, records: list[Record], redis: Any, seconds: float) -> Iterator[str]:
    done, script = campaign.figures, campaign.script
    yield f"seed {script.seed}: {seconds:.0f} s, {script.positions} positions at once"
    kills = ", ".join(f"{name} {count}" for name, count in sorted(done.kills.items()))
    yield f"  SIGKILLs survived: {done.kills.total()} ({kills})"
    yield f"  Redis restarted {done.redis_restarts} times, killed {done.redis_kills} times"
    yield f"  S4's weather: {done.spells.total()} spells, {len(done.spells)} kinds"
    history = rebuild(records)
    orders = [o for trace in history.positions.values() for o in trace.orders]
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(o.kind for o in orders).items()))
    results = sum(r["what"] == "result" for r in records)
    yield f"  {len(history.positions)} positions, {len(orders)} orders ({kinds})"
    yield f"  {results} results, {len(history.requests)} requests"
    gaps = sorted(protection_gaps(history), key=lambda gap: gap.length_ms)
    if gaps:
        median = gaps[len(gaps) // 2].length_ms
        within = sum(gap.length_ms <= 1_000 for gap in gaps) * 100 // len(gaps)
        yield f"  unprotected: {len(gaps)} gaps, median {median} ms, {within} % within 1 s; the longest:"
        for gap in reversed(gaps[-3:]):
            yield f"    {_why(gap)}"
    alerts = Counter(fields["code"] for _, fields in redis.xrange("s6:alerts"))
    yield "  alerts: " + (", ".join(f"{code} {count}" for code, count in sorted(alerts.items())) or "none")
    if done.died:
        yield f"  ended by themselves: {len(done.died)}"


def _why(gap: Gap) -> str:
    notes = "; ".join(dict.fromkeys(gap.notes)) or "undisturbed"
    return f"{gap.length_ms} ms after {gap.cause}: {notes[:300]}"
