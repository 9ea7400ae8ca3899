"""The treasury's interface: the automatic check, triggers, decisions, and the steps that carry transfers out."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from random import Random, SystemRandom
from typing import Final

from s6.model.types import ZERO
from s6.ports import Alerts, Approvals, BundleSource, Clock, Locks, Metrics, Wallets
from s6.treasury.dependencies import Dependencies, NoHints, Transfers, TreasuryHints, answering
from s6.treasury.opening import Opening, TransferQuote
from s6.treasury.record import Record, Request, Verdict, first_status, moved, text
from s6.treasury.refusals import Conflict, CoolingDown, InsufficientFunds, NotFound, TransferInFlight, Unavailable
from s6.treasury.settling import Outcome, Settling

APPROVAL_TTL_MS: Final = 3_600_000
"""The time that a transfer waits for a decision."""


class Treasury:
    """Transfers between the SPOT and FUT wallets. All its state is in the store, so any process may take any step.

    The methods for the HTTP API raise ``Refusal``, which carries status, code and Retry-After.
    """

    def __init__(
        self,
        *,
        store: Transfers,
        state: Locks,
        wallets: Wallets,
        approvals: Approvals,
        bundles: BundleSource,
        alerts: Alerts,
        metrics: Metrics,
        clock: Clock,
        hints: TreasuryHints | None = None,
        approval_ttl_ms: int = APPROVAL_TTL_MS,
        sleep: Callable[[float], None] = time.sleep,
        rng: Random | None = None,
    ) -> None:
        self._rng = rng or SystemRandom()
        self._dependencies = Dependencies(
            store, state, wallets, approvals, bundles, alerts, metrics, clock, hints or NoHints()
        )
        self._opening = Opening(self._dependencies, approval_ttl_ms, sleep)
        self._settling = Settling(self._dependencies, self._rng.random)

    def check(self) -> str:
        """Check automatically: begin a transfer if FUT needs one. Returns the outcome in one word."""
        bundle = self._dependencies.bundles.current()
        if bundle is None:
            return "NO_BUNDLE"
        request = Request(
            transfer_id=f"auto-{self._dependencies.clock.now_ms()}-{self._rng.getrandbits(32):08x}",
            src="SPOT",
            dst="FUT",
            asset=bundle.treasury.asset,
            amount=None,
            mode=None,
            reason="AUTO_CHECK",
            by="s6",
            automatic=True,
        )
        try:
            with answering("treasury check"):
                opened = self._opening.open(request)
        except InsufficientFunds as poor:
            self._dependencies.metrics.inc("s6_treasury_transfer_total", outcome="insufficient")
            self._dependencies.alerts.raise_alert("WARN", poor.code, poor.detail)
            return poor.code
        except (TransferInFlight, CoolingDown, Unavailable) as later:
            return later.code
        return "NOT_NEEDED" if isinstance(opened, TransferQuote) else "STARTED"

    def trigger(
        self,
        *,
        src: str,
        dst: str,
        asset: str,
        amount: Decimal | None = None,
        mode: str | None = None,
        reason: str = "",
        transfer_id: str | None = None,
        by: str = "",
    ) -> Record:
        """Begin a transfer, or find the one that this ``transfer_id`` began. S6 carries it out soon after.

        Returns ``transfer_id``, ``status``, ``amount`` (in ``asset``), ``need`` and ``mode`` of the transfer as it
        began, so that a repeated request gets the same answer; ``transfer`` returns its current state. The status
        ``NOT_NEEDED`` means that there is no transfer.

        Raises ``Invalid``, ``TooLarge``, ``IdConflict``, ``TransferInFlight``, ``InsufficientFunds``, ``Unavailable``.
        """
        name = transfer_id or f"tr-{self._rng.getrandbits(96):024x}"
        request = Request(name, src, dst, asset, amount, mode, reason, by)
        with answering(f"transfer {name}"):
            opened = self._opening.open(request)
        if isinstance(opened, TransferQuote):
            return _answer(transfer_id, "NOT_NEEDED", ZERO, opened.need, opened.mode)
        amount, need = Decimal(text(opened, "amount_exact")), Decimal(text(opened, "need"))
        mode = text(opened, "mode")
        return _answer(name, first_status(mode), amount, need, mode)

    def transfer(self, transfer_id: str) -> Record:
        """Return the transfer's current record. Raises ``NotFound``, ``Unavailable``."""
        with answering(f"transfer {transfer_id}"):
            record = self._dependencies.store.transfer(transfer_id)
        if record is None:
            raise NotFound(transfer_id)
        return record

    def approve(self, transfer_id: str, approver: str, note: str = "") -> Record:
        """Approve a PENDING transfer. The same decision again changes nothing.

        Returns the record. Raises ``NotFound``, ``Conflict``, ``Unavailable``.
        """
        return self._decide(transfer_id, "APPROVED", approver, note)

    def reject(self, transfer_id: str, approver: str, note: str = "") -> Record:
        """Reject a PENDING transfer for good. It returns and raises what ``approve`` does."""
        return self._decide(transfer_id, "REJECTED", approver, note)

    def advance(self, transfer_id: str) -> Outcome:
        """Take one transfer's next step, in any state. Safe at any time."""
        return self._settling.advance(transfer_id)

    def sweep(self) -> int:
        """Move on all transfers in flight: ask, ask again, send, send again, expire.

        Returns their number. Raises ``StoreError``.
        """
        return self._settling.sweep()

    def _decide(self, transfer_id: str, verdict: Verdict, approver: str, note: str) -> Record:
        while True:
            record = self.transfer(transfer_id)
            with answering(f"transfer {transfer_id}"):
                if record["status"] != "PENDING":
                    return _as_decided(record, verdict)
                if not self._settling.expire(record):
                    decided = self._write_verdict(record, verdict, approver, note)
                    if decided is not None:
                        return decided

    def _write_verdict(self, record: Record, verdict: Verdict, approver: str, note: str) -> Record | None:
        """Write the decision. Returns the record, or None if another process moved the transfer on."""
        now, transfer_id = self._dependencies.clock.now_ms(), text(record, "transfer_id")
        decision = {"decision": verdict, "approver": approver, "note": note or None, "decided_ts": now, "retry_ts": 0}
        changes = moved(record, verdict, now, approver, note, decision)
        decided = self._dependencies.store.update_transfer(transfer_id, expect="PENDING", changes=changes)
        if decided is not None:
            if verdict == "REJECTED":
                self._dependencies.metrics.inc("s6_treasury_transfer_total", outcome="rejected")
            else:
                self._dependencies.hints.advance_transfer(transfer_id)
        return decided


def _as_decided(record: Record, verdict: Verdict) -> Record:
    """Return the record if it has this decision; an AUTO transfer has been approved from the beginning."""
    decision = record.get("decision") or ("APPROVED" if record["mode"] == "AUTO" else None)
    if decision == verdict:
        return record
    transfer_id = text(record, "transfer_id")
    if decision is None:
        raise Conflict("TRANSFER_EXPIRED", f"transfer {transfer_id} has expired: no decision came in time")
    raise Conflict("ALREADY_DECIDED", f"transfer {transfer_id} was {decision} and is {text(record, 'status')}")


def _answer(transfer_id: str | None, status: str, amount: Decimal, need: Decimal, mode: str) -> Record:
    return {"transfer_id": transfer_id, "status": status, "amount": amount, "need": need, "mode": mode}
