"""Folding: a history that S6 wrote follows from itself; any other is caught."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s6.replay.fold import UnreadableSnapshot, fold
from s6.replay.life import lives
from s6.rules.exact import exactly
from tests.unit.replay.stories import D, Story, whole_life

Docs = list[dict[str, Any]]


def faults(docs: Docs) -> list[str]:
    return [fault for step in fold(docs) for fault in step.faults]


def test_a_whole_life_follows_from_itself() -> None:
    docs = whole_life().docs
    steps = list(fold(docs))
    assert [step.seq for step in steps] == list(range(1, len(docs) + 1))
    assert faults(docs) == []


def test_fills_are_the_increments_at_their_own_prices() -> None:
    fills = [step.fill for step in fold(whole_life().docs) if step.fill is not None]
    assert [(f.kind, f.qty, round(f.price, 12)) for f in fills] == [
        ("ENTRY", D("0.04"), D("40000")),
        ("ENTRY", D("0.06"), round((D("40010") * D("0.1") - D("40000") * D("0.04")) / D("0.06"), 12)),
        ("TP", D("0.033"), D("41000.5")),
        ("ADD", D("0.02"), D("41333.3")),
        ("ADD", D("0.03"), round((D("41333.7") * D("0.05") - D("41333.3") * D("0.02")) / D("0.03"), 12)),
        ("SL", D("0.117"), D("40198.7")),
        ("ENTRY", D("0.02"), D("39500")),
        ("EXIT", D("0.02"), D("39600")),
    ]
    assert [f.fee for f in fills] == [D("0.64"), D("0.96"), D("0.54"), 0, 0, D("2.4"), D("0.4"), 0]
    assert fills[2].realized == (D("41000.5") - D("40010")) * D("0.033")
    assert [f.closed for f in fills] == [False] * 5 + [True, False, True]


def test_lives_are_told_apart() -> None:
    first, second = lives(fold(whole_life().docs))
    assert (first.number, first.exit_reason, first.count("ADD"), first.most_held) == (1, "SL", 1, D("0.117"))
    assert (second.number, second.exit_reason, second.fees) == (2, "EXIT", D("0.4"))
    assert [(step.position.sl_price, before) for step, before in first.stop_moves] == [
        (D("39250"), None),
        (D("40200"), D("39250")),
    ]


def test_time_without_a_stop_counts_from_the_first_fill() -> None:
    first, _ = lives(fold(whole_life().docs))
    # 3 steps until the first stop, and the replacement after the take-profit
    assert [end - start for start, end in first.unprotected] == [250, 500, 250]


def _drop(docs: Docs) -> None:
    del docs[4]


def _double(docs: Docs) -> None:
    docs.insert(4, docs[3])


def _named(docs: Docs) -> None:
    docs[3]["qty"] = D("0.2")


def _key(docs: Docs) -> None:
    docs[3]["_key"] = "p1:99"


def _silently(docs: Docs) -> None:
    docs[3]["state"]["realized_pnl_usdt"] = "5"
    docs[3]["realized_pnl_usdt"] = 5


def _uncharged_fee(docs: Docs) -> None:
    docs[5]["order"]["fee"] = "0"


def _filled_more(docs: Docs) -> None:
    docs[5]["order"]["filled"] = "0.03"


def _phase(docs: Docs) -> None:
    docs[3]["phase"] = "DURING"


def _roe(docs: Docs) -> None:
    docs[5]["state"]["roe"] = "0.5"
    docs[5]["roe"] = D("0.5")


def _bool(docs: Docs) -> None:
    docs[3]["paused"] = 0


def _late(docs: Docs) -> None:
    del docs[0]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_drop, "seq 6: seq 5 missing before it"),
        (_late, "seq 2: seq 1 missing before it"),
        (_double, "seq 4: comes twice"),
        (_named, "seq 4: qty is 0.2, but 0.1 in its state"),
        (_key, "seq 4: _key is 'p1:99', not 'p1:00000004'"),
        (_silently, "seq 4: realized_pnl_usdt is 5, not -1.6 although no result came"),
        (_uncharged_fee, "by the books after t1"),
        (_filled_more, "seq 6: qty is 0.067, not 0.07 by the books after t1"),
        (_phase, "seq 4: phase is 'DURING'"),
        (_roe, "seq 6: roe is 0.5, not "),
        (_bool, "seq 4: paused is 0, but False in its state"),
    ],
)
def test_what_does_not_follow_is_named(spoil: Callable[[Docs], None], words: str) -> None:
    docs = copy.deepcopy(whole_life().docs)
    spoil(docs)
    assert any(words in fault for fault in faults(docs)), faults(docs)


def test_numbers_that_went_through_a_double_agree() -> None:
    docs = copy.deepcopy(whole_life().docs)
    for doc in docs:
        for name, value in doc.items():
            if isinstance(value, Decimal):
                doc[name] = Decimal(repr(float(value)))
    assert faults(docs) == []


@pytest.mark.parametrize("spoil", [{"state": {}}, {"seq": "x"}, {"state": None}, {"ts": None}])
def test_what_is_no_snapshot_is_said_to_be_none(spoil: dict[str, object]) -> None:
    docs = copy.deepcopy(whole_life().docs)
    docs[2] |= spoil
    with pytest.raises(UnreadableSnapshot, match="p1:00000003"):
        list(fold(docs))


prices = st.decimals("30000", "50000", places=1)


@settings(max_examples=40)
@given(side=st.sampled_from(["LONG", "SHORT"]), data=st.data())
def test_any_course_of_partial_fills_follows_from_itself(side: str, data: st.DataObject) -> None:
    story = Story(side=side)
    for n in range(data.draw(st.integers(1, 4))):
        qty = data.draw(st.integers(2, 50))
        first = data.draw(st.integers(1, qty // 2))  # or the averages could not be any
        for filled in sorted({first, qty}):
            fee = str(D(filled) / 100)
            story.heard("ENTRY", f"e{n}", str(D(qty) / 1000), str(D(filled) / 1000), str(data.draw(prices)), fee=fee)
    while story.position is not None and story.position.is_open:
        held = int(story.position.qty * 1000)
        kind = data.draw(st.sampled_from(["TP", "REDUCE", "EXIT", "SL", "GUARD"]))
        qty = data.draw(st.integers(1, held)) if kind in ("TP", "REDUCE") and held > 1 else held
        name = f"o{len(story.docs)}"
        story.heard(kind, name, str(D(qty) / 1000), str(D(qty) / 1000), str(data.draw(prices)), fee="0.01")
    assert faults(story.docs) == []
    (life,) = lives(fold(story.docs))
    with exactly():
        assert sum(f.realized - f.fee for _, f in life.fills) == life.last.realized_pnl_usdt
