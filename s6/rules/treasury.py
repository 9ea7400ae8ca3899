"""The amount that the futures wallet needs from the spot wallet."""

from decimal import Decimal
from typing import NamedTuple

from s6.rules.checks import finite, non_negative
from s6.rules.exact import ZERO, exactly, plain


class TransferNeed(NamedTuple):
    """`need` is what the futures wallet lacks, `amount` the part of it that one transfer may move.

    `feasible` means that there is nothing to move, or that the spot wallet keeps its buffer after the transfer.
    """

    amount: Decimal
    need: Decimal
    feasible: bool


def transfer_need(
    free_fut: Decimal, free_spot: Decimal, min_free_fut: Decimal, spot_buffer: Decimal, max_transfer: Decimal
) -> TransferNeed:
    """Compute what to move from the spot to the futures wallet, in one asset (USDT). `free_fut` may be negative.

    Returns the amount, the need and whether the transfer is feasible. Raises `ValueError` naming the argument.
    """
    free_fut, free_spot = finite("free_fut", free_fut), non_negative("free_spot", free_spot)
    min_free_fut, spot_buffer = non_negative("min_free_fut", min_free_fut), non_negative("spot_buffer", spot_buffer)
    max_transfer = non_negative("max_transfer", max_transfer)
    with exactly():
        need = plain(max(ZERO, min_free_fut - free_fut))
        amount = plain(min(need, max_transfer))
        return TransferNeed(amount, need, not amount or free_spot >= amount + spot_buffer)
