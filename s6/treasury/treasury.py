"""The treasury's face: the automatic check, triggers, decisions, and the steps that carry transfers out."""

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
"""How long a transfer waits for a decision."""


class Treasury:
    """Transfers between the SPOT and FUT wallets. All it knows is in the store: any process may take any step.

    Methods for the HTTP face raise ``Refusal``s, which bear status, code and Retry-After.
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
        self._parts = Dependencies(
            store, state, wallets, approvals, bundles, alerts, metrics, clock, hints or NoHints()
        )
        self._opening = Opening(self._parts, approval_ttl_ms, sleep)
        self._settling = Settling(self._parts, self._rng.random)

    def check(self) -> str:
        """The automatic check: begin a transfer if FUT needs one. What it came to, in one word."""
        bundle = self._parts.bundles.current()
        if bundle is None:
            return "NO_BUNDLE"
        request = Request(
            transfer_id=f"auto-{self._parts.clock.now_ms()}-{self._rng.getrandbits(32):08x}",
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
            self._parts.metrics.inc("s6_treasury_transfer_total", outcome="insufficient")
            self._parts.alerts.raise_alert("WARN", poor.code, poor.detail)
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
        """Begin a transfer, or learn of the one that this ``transfer_id`` began. It is carried out soon after.

        The members ``transfer_id``, ``status``, ``amount``, ``need`` and ``mode`` of the transfer as it began, so that
        whoever asks again is told the same (``transfer`` tells how it stands); or the status ``NOT_NEEDED``, and then
        there is no transfer.

        Raises Invalid, TooLarge, IdConflict, TransferInFlight, InsufficientFunds, Unavailable.
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
        """The transfer as it stands. Raises NotFound, Unavailable."""
        with answering(f"transfer {transfer_id}"):
            record = self._parts.store.transfer(transfer_id)
        if record is None:
            raise NotFound(transfer_id)
        return record

    def approve(self, transfer_id: str, approver: str, note: str = "") -> Record:
        """Let a PENDING transfer be made. The same decision again changes nothing.

        Raises NotFound, Conflict, Unavailable.
        """
        return self._decide(transfer_id, "APPROVED", approver, note)

    def reject(self, transfer_id: str, approver: str, note: str = "") -> Record:
        """Forbid a PENDING transfer, for good. As ``approve`` otherwise."""
        return self._decide(transfer_id, "REJECTED", approver, note)

    def advance(self, transfer_id: str) -> Outcome:
        """The next step of one transfer, whatever its state; harmless at any time."""
        return self._settling.advance(transfer_id)

    def sweep(self) -> int:
        """Move on all transfers in flight: ask, ask again, send, send again, expire. How many there were.

        Raises StoreError.
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
        """None when somebody else moved the transfer on."""
        now, transfer_id = self._parts.clock.now_ms(), text(record, "transfer_id")
        decision = {"decision": verdict, "approver": approver, "note": note or None, "decided_ts": now, "retry_ts": 0}
        changes = moved(record, verdict, now, approver, note, decision)
        decided = self._parts.store.update_transfer(transfer_id, expect="PENDING", changes=changes)
        if decided is not None:
            if verdict == "REJECTED":
                self._parts.metrics.inc("s6_treasury_transfer_total", outcome="rejected")
            else:
                self._parts.hints.advance_transfer(transfer_id)
        return decided


def _as_decided(record: Record, verdict: Verdict) -> Record:
    """The record, if it has been decided like this; a transfer in mode AUTO was approved from the beginning."""
    decision = record.get("decision") or ("APPROVED" if record["mode"] == "AUTO" else None)
    if decision == verdict:
        return record
    transfer_id = text(record, "transfer_id")
    if decision is None:
        raise Conflict("TRANSFER_EXPIRED", f"transfer {transfer_id} has expired: no decision came in time")
    raise Conflict("ALREADY_DECIDED", f"transfer {transfer_id} was {decision} and is {text(record, 'status')}")


def _answer(transfer_id: str | None, status: str, amount: Decimal, need: Decimal, mode: str) -> Record:
    return {"transfer_id": transfer_id, "status": status, "amount": amount, "need": need, "mode": mode}
