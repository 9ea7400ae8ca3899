"""Each script, each way through it, in a slot that is on its way to another node: whole or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from s6.adapters.redis_client import connect
from s6.adapters.redis_cluster import refused
from tests.support.lua_scripts import CASES, key, scripts
from tests.support.moving_slot import MovingSlot, moving_slot
from tests.support.redis_cluster import EmbeddedCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BOTH = "redis.call('SET', KEYS[1], 'new') return redis.call('SET', KEYS[2], 'new')"
TORN = "redis.call('SET', KEYS[2], 'new') redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'a', '2')"


@pytest.fixture
def slot(redis_cluster: EmbeddedCluster) -> Iterator[MovingSlot]:
    with moving_slot(redis_cluster) as slot:
        yield slot


@pytest.mark.parametrize("where", sorted(CASES))
def test_a_script_is_whole_or_not_at_all(where: str, slot: MovingSlot) -> None:
    for number, case in enumerate(CASES[where]):
        given = {key(name): value for name, value in case.given.items()}
        slot.fill(given)
        before = slot.contents()
        answer = slot.play(scripts()[where], case.names(), case.args)
        after = slot.contents()
        assert not isinstance(answer, Exception), f"case {number}"
        done = []
        for moved in _partings(list(given)):
            slot.fill(given, moved=moved)
            came = slot.play(scripts()[where], case.names(), case.args)
            what = f"case {number}, {moved} moved: {came!r}"
            if refused(came):
                assert slot.contents() == before, what
            else:
                assert (came, slot.contents()) == (answer, after), what
                done.append(moved)
        if set(case.names()) <= set(given):
            assert [] in done, f"case {number}: all keys are at the source, so nothing holds the script up"
            assert list(given) in done, f"case {number}: all keys are at the target, so nothing holds the script up"


def test_a_script_that_deletes_and_writes_again_is_found(slot: MovingSlot) -> None:
    """Or else the test above shows nothing."""
    slot.fill({key(1): {"a": "1"}, key(2): "old"}, moved=[])
    assert "non local key" in str(slot.play(TORN, [key(1), key(2)], []))
    assert {name: content for name, (_, content, _) in slot.contents().items()} == {key(2): "new"}


def test_a_script_that_is_refused_is_played_once_its_keys_are_together(
    slot: MovingSlot, redis_cluster: EmbeddedCluster
) -> None:
    with connect(redis_cluster.url()) as client:
        slot.fill({key(1): "old", key(2): "old"}, moved=[key(1)])
        later = threading.Timer(0.5, slot.move, [[key(2)]])
        later.start()
        began = time.monotonic()
        assert client.eval(BOTH, 2, key(1), key(2)) == "OK"
        assert 0.4 < time.monotonic() - began < 1.5
        later.join()
    assert {content for _, content, _ in slot.contents().values()} == {"new"}


def test_a_script_that_stays_refused_is_given_up_and_has_done_nothing(
    slot: MovingSlot, redis_cluster: EmbeddedCluster
) -> None:
    with connect(redis_cluster.url(), patience_s=0.3) as client:
        slot.fill({key(1): "old", key(2): "old"}, moved=[key(1)])
        began = time.monotonic()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its kind is what the next line looks at
            client.eval(BOTH, 2, key(1), key(2))
        assert refused(caught.value)
        assert 0.3 < time.monotonic() - began < 1.5
    assert {content for _, content, _ in slot.contents().values()} == {"old"}


def _partings(names: Sequence[str]) -> list[list[str]]:
    """Return which keys may have moved: more and more of them, each alone, and all but each."""
    growing = [list(names[:count]) for count in range(len(names) + 1)]
    alone = [[name] for name in names[1:]]
    all_but = [[other for other in names if other != name] for name in names[:-1]] if len(names) > 2 else []
    return growing + alone + all_but
