"""Whether all of a position stands behind a stop, and since when it doesn't."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.position import Position
from s6.plan.protection import Watched, covered, is_protected, watched
from s6.plan.terms import in_force
from tests.unit.given import NOW, bundle, position, stopped
from tests.unit.plan.contexts import spot


def governed(held: Position) -> Position:
    """The same with the terms that a bundle once gave it."""
    return in_force(held, bundle())


@pytest.mark.parametrize(
    ("held", "protected"),
    [
        (stopped(39_000), True),
        (position(), False),
        (position(status="CLOSED", qty=D(0)), True),
        (replace(stopped(39_000), qty=D("1.0009")), True),
        (replace(stopped(39_000), qty=D("1.001")), False),
        (replace(stopped(39_000), qty=D("0.5")), True),
        (spot(position()), False),
        (replace(spot(position()), sl_price=D(38_000)), True),
        (position(self_guarded=True, sl_price=D(39_000)), True),
        (position(sl_price=D(39_000)), False),
    ],
)
def test_a_stop_protects_what_it_would_still_close(held: Position, protected: bool) -> None:
    assert is_protected(governed(held)) is protected


def test_a_position_that_no_bundle_ever_named_needs_none() -> None:
    assert is_protected(position())


@pytest.mark.parametrize(("change", "qty"), [({}, "1"), ({"filled": D("0.4")}, "0.6"), ({"status": "PENDING"}, "0")])
def test_a_stop_covers_what_is_left_of_it_once_s4_has_it(change: dict[str, Any], qty: str) -> None:
    held = stopped(39_000)
    assert covered(replace(held, orders=(replace(held.orders[0], **change),))) == D(qty)
    assert covered(position()) == 0


def test_the_time_without_a_stop_is_counted_from_its_beginning_to_its_end() -> None:
    bare = governed(position())
    begun = watched(bare, NOW)
    assert begun == Watched(replace(bare, unprotected_since=NOW))
    assert watched(begun.position, NOW + 9) == begun
    held = replace(governed(stopped(39_000)), unprotected_since=NOW)
    ended = watched(held, NOW + 1_500)
    assert (ended.seconds, ended.first, ended.position.unprotected_since) == (1.5, True, 0)
    assert watched(ended.position, NOW + 9_000) == Watched(ended.position)


def test_only_the_first_stop_of_an_open_life_is_the_first() -> None:
    held = replace(governed(stopped(39_000)), unprotected_since=NOW)
    assert not watched(replace(held, sl_fallback=D(38_000)), NOW + 5).first
    closed = watched(replace(held, status="CLOSED", qty=D(0)), NOW + 5)
    assert (closed.first, closed.seconds) == (False, 0.005)


DAY_MS = 24 * 3_600_000


@pytest.mark.parametrize(("ago", "begun"), [(0, 0), (20_000, 20_000), (DAY_MS, DAY_MS), (DAY_MS + 1, 0), (-3_000, 0)])
def test_it_begins_when_it_happened_at_the_exchange_and_not_when_it_is_heard_of(ago: int, begun: int) -> None:
    """Unless that cannot be: it lies ahead, or further back than any outage."""
    assert watched(governed(position()), NOW, NOW - ago).position.unprotected_since == NOW - begun


def test_the_time_before_a_bundle_names_the_symbol_counts_as_well() -> None:
    unnamed = watched(position(), NOW, NOW - 200).position
    assert unnamed.unprotected_since == NOW - 200
    first = replace(stopped(39_000), terms=governed(position()).terms, unprotected_since=unnamed.unprotected_since)
    assert watched(first, NOW + 60_000)[1:] == (60.2, True)
    closed = replace(unnamed, status="CLOSED", qty=D(0))
    assert watched(closed, NOW + 800)[1:] == (1.0, False)
    assert watched(stopped(39_000), NOW).position.unprotected_since == 0


def test_no_moment_is_counted_twice() -> None:
    held = replace(governed(position()), sl_ts=NOW - 2_000)
    assert watched(held, NOW, NOW - 9_000).position.unprotected_since == NOW - 2_000


def test_a_clock_that_was_set_back_counts_nothing() -> None:
    held = replace(governed(stopped(39_000)), unprotected_since=NOW)
    assert watched(held, NOW - 5_000).seconds == 0
