"""Redis loses what it had confirmed: all of it, or what had not reached the replica that takes over.

Only at moments when every fill is known elsewhere; those that Redis alone knew of can be asked of nobody. What S6 did
of itself is lost: operations that have begun, gone on or ended, and stops that came and went.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final, cast

from s6 import keys
from tests.doubles.memory_redis import Copied
from tests.simulation.kernel import START_MS
from tests.simulation.world import World

WIPED_AFTER_MS: Final = 6_000
#: Until then a moment is waited for at which the store lacks something.
WIPED_BY_MS: Final = 11_000
FAILED_OVER_AFTER_MS: Final = 3_000


class Losses:
    """``wipe`` and ``fail_over`` are called again and again, and strike once."""

    def __init__(self, world: World, until: int) -> None:
        self._world = world
        self._until = until
        self._replica: Copied = {}, {}
        self._fills = -1

    def wipe(self) -> None:
        """A new server, empty."""
        world = self._world
        if world.wiped or world.kernel.now < START_MS + WIPED_AFTER_MS or not self._at_rest() or self._untold():
            return
        waiting = bool(world.redis.scan("pos:outbox:*:snaps"))
        if not waiting and world.kernel.now < START_MS + WIPED_BY_MS:
            return
        stops = {o.client_order_id for o in world.exchange.orders.values() if o.kind == "SL"}
        world.wiped, world.priceless = True, stops - self._priced()
        world.kernel.note("---- Redis is wiped")
        world.redis.flushall()
        world.faults.disturb(2_000)

    def fail_over(self) -> None:
        """The replica, as it was half a second ago, when nothing has been filled since; the store is ahead of it."""
        world = self._world
        if world.wiped or not START_MS + FAILED_OVER_AFTER_MS < world.kernel.now < self._until or not self._at_rest():
            return
        fills = len(world.exchange.fills)
        if fills == self._fills and _steps(self._replica) != _steps(world.redis.copied()) and world.rng.random() < 0.7:
            world.services.relay.run()
            world.wiped = world.failed_over = True
            world.failed_over_ts = world.kernel.now
            world.kernel.note("---- a replica takes over")
            world.redis.fail_over(self._replica)
            world.unheard_of = self._unheard_of()
            world.faults.disturb(2_000)
            world.as_listener("", lambda: world.listener.reconciliation.look())
        self._replica, self._fills = world.redis.copied(), fills

    def _at_rest(self) -> bool:
        """Nobody is at work, no result is under way, no event untold, and only orders of S6's own are being filled."""
        world = self._world
        others = any(o.live and o.type == "MARKET" and not o.ours for o in world.exchange.orders.values())
        busy = world.redis.scan("lock:*") or world.redis.scan("pos:outbox:*:events")
        held_up = any(process is not None for process in world.kernel.stack)  # for longer, maybe, than its lock lasts
        return not (world.waiting or world.faults.is_down("store") or others or busy or held_up)

    def _unheard_of(self) -> set[str]:
        """Stops that the replica doesn't know: S6 may decide on them anew, and S4 doesn't tell their prices."""
        orders = [o for o in self._world.exchange.orders.values() if o.kind == "SL"]
        return {
            o.client_order_id
            for o in orders
            if self._world.redis.do_hget(keys.orders(o.position_id), o.client_order_id) is None
        }

    def _priced(self) -> set[str]:
        """Stops of which the store knows the price."""
        docs = [doc for history in self._world.store.history.values() for doc in history.values()]
        ops = [cast(dict[str, str], doc["op"]) for doc in docs if doc["op"]]
        states = [cast(dict[str, str], doc["state"]) for doc in docs]
        return {op["client_order_id"] for op in ops} | {state["sl_order"] for state in states}

    def _untold(self) -> bool:
        """Whether a snapshot that tells of a fill has not reached the store."""
        redis = self._world.redis
        docs = [json.loads(text) for key in redis.scan("pos:outbox:*:snaps") for text in redis.do_lrange(key, 0, -1)]
        return any(doc["order"] and Decimal(doc["order"]["filled"]) for doc in docs)


def _steps(redis: Copied) -> dict[str, str]:
    """How far each position is."""
    return {key: fields["seq"] for key, fields in redis[0].items() if key.startswith("pos:state:")}
