"""Moves money between the SPOT and FUT wallets: each transfer happens at most once, and its record says whether."""

from s6.treasury.dependencies import TreasuryHints
from s6.treasury.record import TRANSFER_ID, Record
from s6.treasury.refusals import (
    Conflict,
    IdConflict,
    InsufficientFunds,
    Invalid,
    NotFound,
    Refusal,
    TooLarge,
    TransferInFlight,
    Unavailable,
)
from s6.treasury.settling import Outcome
from s6.treasury.treasury import APPROVAL_TTL_MS, Treasury

__all__ = [
    "APPROVAL_TTL_MS",
    "TRANSFER_ID",
    "Conflict",
    "IdConflict",
    "InsufficientFunds",
    "Invalid",
    "NotFound",
    "Outcome",
    "Record",
    "Refusal",
    "TooLarge",
    "TransferInFlight",
    "Treasury",
    "TreasuryHints",
    "Unavailable",
]
