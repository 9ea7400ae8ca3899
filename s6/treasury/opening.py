"""Begins transfers: at most one at a time, and never two for one need.

Every record holds a ``turn``, one more than its predecessor's, and the store accepts a turn once. S6 decides on a
transfer after it sees that the newest record is finished, reads the balances after that, and takes the next turn. So if
the insertion succeeds, no other transfer was inserted in between: no two transfers are in flight together, and no
decision rests on balances from before another transfer. This holds for any delay and any loss of the lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from s6 import rules
from s6.model.answers import Balances
from s6.model.bundle import Treasury as TreasuryRules
from s6.model.types import ZERO, plain
from s6.model.waiting import APART_MS, left_ms
from s6.ports import LockBusy
from s6.store import StoreUnavailable
from s6.treasury.dependencies import Dependencies
from s6.treasury.record import (
    MODES,
    TRANSFER_ID,
    WALLETS,
    Record,
    Request,
    differs,
    in_flight,
    integer,
    new_record,
    text,
)
from s6.treasury.refusals import (
    CoolingDown,
    IdConflict,
    InsufficientFunds,
    Invalid,
    TooLarge,
    TransferInFlight,
    Unavailable,
)

_LOOKS: Final = 100
_LOOK_AGAIN_S: Final = 0.05
_RETRY_AFTER_S: Final = {"APPROVED": 2, "PENDING": 30}


@dataclass(frozen=True, slots=True)
class TransferQuote:
    """The amount that a transfer would move, what FUT lacks, and the transfer's mode."""

    amount: Decimal
    need: Decimal
    mode: str


@dataclass(frozen=True, slots=True)
class Opening:
    """Begins transfers."""

    dependencies: Dependencies
    approval_ttl_ms: int
    sleep: Callable[[float], None] = time.sleep

    def open(self, request: Request) -> Record | TransferQuote:
        """Begin the transfer, unless its ``transfer_id`` exists or nothing is needed.

        Returns the record, new or existing, or a ``TransferQuote`` if nothing is needed. Raises a ``Refusal``, or the
        errors of dependencies that cannot be reached.
        """
        _check_form(request)
        seen: int | None = None
        for _ in range(_LOOKS):
            newest = self._newest()  # it is read first, so that the next line finds this transfer if it is the newest
            known = self._known(request)
            if known is not None:
                return known
            treasury = self._rules()
            _check_limits(request, treasury)
            seen = self._refuse_beside(newest, seen)
            try:
                with self.dependencies.lock(request.src, request.dst):
                    opened = self._decide(request, treasury, seen)
            except LockBusy:
                self.sleep(_LOOK_AGAIN_S)
                continue
            if opened is not None:
                return opened
        raise TransferInFlight("another transfer is being decided upon", 1)

    def _known(self, request: Request) -> Record | None:
        record = self.dependencies.store.transfer(request.transfer_id)
        if record is None:
            return None
        member = differs(record, request)
        if member:
            raise IdConflict(f"transfer {request.transfer_id} stands with another {member}: {text(record, member)}")
        return record

    def _rules(self) -> TreasuryRules:
        bundle = self.dependencies.bundles.current()
        if bundle is None:
            raise Unavailable("NO_BUNDLE", "no Active Bundle is in force yet")
        return bundle.treasury

    def _newest(self) -> Record | None:
        # Creation times ascend with the turns (see _insert), so the newest record has the highest turn.
        items = self.dependencies.store.transfers(limit=1).items
        return items[0] if items else None

    def _refuse_beside(self, newest: Record | None, seen: int | None) -> int:
        """Return the last turn.

        Raises ``TransferInFlight`` if it is in flight or was taken while this request waited.
        """
        turn = _turn(newest)
        if newest is not None and in_flight(newest):
            status = text(newest, "status")
            detail = f"transfer {text(newest, 'transfer_id')} is {status}: one at a time for a pair of wallets"
            raise TransferInFlight(detail, _RETRY_AFTER_S[status])
        if seen is not None and turn != seen:
            raise TransferInFlight("another transfer was begun at the same moment", 1)
        return turn

    def _decide(self, request: Request, treasury: TreasuryRules, seen: int) -> Record | TransferQuote | None:
        """Decide on the transfer under the lock.

        Returns None if another transfer was faster; the caller looks again.
        """
        newest = self._newest()
        if _turn(newest) != seen:
            return None
        if request.automatic:
            self._refuse_too_soon(newest, treasury.cooldown_ms)
        balances = self.dependencies.wallets.balances(request.asset)
        if request.amount is None:
            self._refuse_old(balances)
        quote = _quote(request, balances, treasury)
        return self._insert(request, quote, treasury, newest) if quote.amount else quote

    def _refuse_too_soon(self, newest: Record | None, cooldown_ms: int) -> None:
        if newest is not None:
            left = left_ms(integer(newest, "updated_ts") + cooldown_ms, self.dependencies.clock.now_ms(), cooldown_ms)
            if left:
                since = cooldown_ms - left
                raise CoolingDown(f"the last transfer ended {since} ms ago, cooldown_s is {cooldown_ms / 1000:g}")

    def _refuse_old(self, balances: Balances) -> None:
        """Raise ``Unavailable`` if the balances may not show the last transfer yet.

        An execution that lies ahead was noted before the clock was set back: it says nothing any more.
        """
        executed = self.dependencies.store.transfers(limit=1, status="EXECUTED").items
        since = integer(executed[0], "executed_ts") if executed else 0
        if executed and balances.ts <= since <= self.dependencies.clock.now_ms() + APART_MS:
            raise Unavailable("BALANCES_OLD", "S1's balances are from before the last transfer was executed")

    def _insert(
        self, request: Request, quote: TransferQuote, treasury: TreasuryRules, newest: Record | None
    ) -> Record | None:
        now = self.dependencies.clock.now_ms()
        last_ts = integer(newest, "ts") if newest is not None else 0
        record = new_record(
            request,
            amount=quote.amount,
            need=quote.need,
            mode=quote.mode,
            turn=_turn(newest) + 1,
            now=now,
            ts=max(now, last_ts + 1),
            expires_ts=now + self.approval_ttl_ms,
        )
        try:
            inserted = self.dependencies.store.insert_transfer(record)
        except StoreUnavailable:
            # The record may exist all the same. The next look finds it; if it appears later, the sweep carries it
            # out, and a repeated request with its id returns it.
            if self.dependencies.store.transfer(request.transfer_id) is None:
                raise
            inserted = False
        if not inserted:
            return None
        self.dependencies.hints.advance_transfer(request.transfer_id)
        return record


def _turn(newest: Record | None) -> int:
    return integer(newest, "turn") if newest is not None else 0


def _check_form(request: Request) -> None:
    if not TRANSFER_ID.fullmatch(request.transfer_id):
        raise Invalid("transfer_id", f"transfer_id must match {TRANSFER_ID.pattern}")
    for field, wallet in (("from", request.src), ("to", request.dst)):
        if wallet not in WALLETS:
            raise Invalid(field, f"{field} must be SPOT or FUT")
    if request.src == request.dst:
        raise Invalid("to", "from and to must be two wallets")
    if request.mode not in (None, *MODES):
        raise Invalid("mode", "mode must be AUTO or SEMI")
    if request.amount is None and request.src != "SPOT":
        raise Invalid("amount", "only a transfer from SPOT to FUT may go without an amount: no other need is known")
    if request.amount is not None and not (request.amount.is_finite() and request.amount > 0):
        raise Invalid("amount", "amount must be above 0")


def _check_limits(request: Request, treasury: TreasuryRules) -> None:
    if request.asset != treasury.asset:
        raise Invalid("asset", f"asset must be {treasury.asset}, which the bundle's limits are in")
    if request.amount is not None and request.amount > treasury.max_transfer:
        raise TooLarge(f"amount {plain(request.amount)} is above max_transfer {plain(treasury.max_transfer)}")


def _quote(request: Request, balances: Balances, treasury: TreasuryRules) -> TransferQuote:
    # A negative wallet has nothing free; the contract's arithmetic takes a negative balance for FUT only.
    free_spot = max(ZERO, balances.spot_free)
    needed = rules.transfer_need(
        free_fut=balances.fut_free,
        free_spot=free_spot,
        min_free_fut=treasury.min_free_fut,
        spot_buffer=treasury.spot_buffer,
        max_transfer=treasury.max_transfer,
    )
    amount = needed.amount if request.amount is None else request.amount
    if request.src == "FUT":
        if balances.fut_free < amount:
            raise InsufficientFunds("FUT", f"FUT has {plain(balances.fut_free)} free of {plain(amount)}")
    elif amount and free_spot < amount + treasury.spot_buffer:
        wanted = f"{plain(amount)} and the buffer of {plain(treasury.spot_buffer)}"
        raise InsufficientFunds("SPOT", f"SPOT has {plain(free_spot)} free of {wanted}")
    return TransferQuote(amount, needed.need, request.mode or treasury.mode)
