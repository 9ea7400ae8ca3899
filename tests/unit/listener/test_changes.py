"""The channel of changes: gathered in bunches, subscribed to anew after it was closed."""

from __future__ import annotations

from typing import Any

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.listener.changes import Changes
from tests.support.waiting import wait_for


def test_what_changes_within_a_moment_comes_at_once(redis_client: RedisClient) -> None:
    changes, redis = Changes(redis_client), _any(redis_client)
    assert changes.subscribe()
    assert not changes.subscribe()  # it is no new one
    wait_for(lambda: redis.publish(keys.CHANGED, "BTCUSDT p0"), 5, "the subscription")
    wait_for(lambda: "p0" in changes.wait(), 5, "the first change")
    for name in ("p1", "p2", "p1"):
        redis.publish(keys.CHANGED, f"BTCUSDT {name}")
    assert changes.wait() == {"p1", "p2"}
    assert changes.wait() == set()


def test_after_a_close_it_is_subscribed_anew(redis_client: RedisClient) -> None:
    changes = Changes(redis_client)
    assert changes.subscribe()
    changes.close()
    changes.close()
    assert changes.subscribe()
    changes.close()


def test_one_that_ended_is_made_anew_and_says_so(redis_client: RedisClient) -> None:
    changes, redis = Changes(redis_client), _any(redis_client)
    assert changes.subscribe()
    redis.client_kill_filter(_type="pubsub")
    wait_for(lambda: changes.wait() or changes.subscribe(), 5, "a new subscription")
    redis.publish(keys.CHANGED, "BTCUSDT p1")
    wait_for(lambda: "p1" in changes.wait(), 5, "the first change")
    changes.close()


def _any(redis: RedisClient) -> Any:
    return redis
