"""One campaign from start to verdict."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from s6.adapters.redis_client import connect
from s6.store import Store, open_store
from tests.chaos.campaign import Campaign, Script, quiet
from tests.chaos.report import report
from tests.chaos.verdict import verdict
from tests.judge.history import Record, read_ledger
from tests.support.waiting import wait_for

ATTEMPTS: Final = 8


def trial(folder: Path, script: Script) -> None:
    """Raises ``AssertionError`` with everything that was not as it must be; prints the figures either way."""
    began = time.monotonic()
    with Campaign(folder, script) as campaign:
        campaign.rage()
        client: Any = connect(campaign.redis.url(0))
        with client as redis, closing(open_store(campaign.s6.env["S6_STORE_URL"])) as store:
            records, faults = _counted(campaign, redis, store)
            print("\n" + report(campaign, records, redis, time.monotonic() - began))
        faults += [f"ended by itself: {text}" for text in campaign.figures.died]
        assert not faults, f"seed {script.seed}: {len(faults)} faults\n" + "\n".join(faults[:40])


def _counted(campaign: Campaign, redis: Any, store: Store) -> tuple[list[Record], list[str]]:
    """The ledger and what is wrong, of a moment at which nothing moved: some things fall due by the clock alone."""
    for _ in range(ATTEMPTS):
        _settle(redis)
        before = _stand(campaign, redis)
        if quiet(redis):
            continue
        records = read_ledger(campaign.ledger)
        faults = verdict(records, redis, store)
        if _stand(campaign, redis) == before:
            return records, faults
    raise AssertionError("S6 never stood still for long enough to be counted")


def _stand(campaign: Campaign, redis: Any) -> tuple[int, dict[str, str]]:
    """What changes with each thing that S4 or S6 does."""
    revs = {key: redis.hget(key, "rev") for key in sorted(redis.scan_iter("pos:state:*", count=5000))}
    return campaign.ledger.stat().st_size, revs


def _settle(redis: Any) -> None:
    """Wait until S6 has been at rest for a while."""
    last = ""
    since = time.monotonic()

    def at_rest() -> bool:
        nonlocal last, since
        last = quiet(redis)
        if last:
            since = time.monotonic()
        return time.monotonic() - since > 4

    try:
        wait_for(at_rest, 60, "S6 at rest", every=0.25)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None
