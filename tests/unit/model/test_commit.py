"""What a commit says of its orders."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6.model.commit import Commit
from s6.model.position import Order
from tests.unit.given import position

ADD = Order("ADD-1", "i", "ADD", "BUY", "MARKET", Decimal(1), "FILLED", 1, 1, True)


def test_the_adds_that_have_ended_are_those_that_may_not_fill_any_more() -> None:
    orders = (
        ADD,
        replace(ADD, client_order_id="ADD-2", status="PARTIALLY_FILLED"),
        replace(ADD, client_order_id="ADD-3", status="CANCELED"),
        replace(ADD, client_order_id="TP-1", kind="TP"),
    )
    assert Commit(position(), None, orders=orders).ended_adds == ("ADD-1", "ADD-3")
