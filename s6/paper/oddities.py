"""Results with figures that cannot be, as exchanges tell them now and then."""

import random
from collections.abc import Mapping

from s6.paper.domain import OPENING


def odd_figures(fields: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    """Return a result's fields with some that cannot be, but none that the books could not do without.

    A figure that doesn't belong to the result's kind, a liquidation price below 0, a quantity of 0, and a hair more
    filled than was ordered.
    """
    odd = dict(fields)
    if fields["kind"] not in OPENING:
        return odd | {"leverage": "0", "isolated_margin_usdt": "-0.01"}
    if "liq_price" in fields and chance.random() < 0.5:
        return odd | {"liq_price": "-12.5"}
    if fields["status"] != "FILLED":
        return odd
    point = "" if "." in fields["filled_qty"] else "."
    hair = {"filled_qty": f"{fields['filled_qty']}{point}{'0' * 15}4"}
    return odd | (hair if chance.random() < 0.5 else {"qty": "0"})
