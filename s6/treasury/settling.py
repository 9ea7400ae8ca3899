"""Moves a transfer on: asks the approvers, has S1 carry it out, or lets it expire. Every step can be repeated.

S6 writes the record before and after each call to the outside. A request depends on the record alone, so a repeated
step sends the same again. Only an answer ends a transfer, never a missing answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from s6.model.bundle import Retry
from s6.model.types import Severity, plain
from s6.model.waiting import LONGEST_MS, left_ms
from s6.ports import LockBusy, NeighbourUnavailable, StateUnavailable
from s6.store import StoreError, StoreUnavailable
from s6.treasury.dependencies import Dependencies
from s6.treasury.record import IN_FLIGHT, Record, in_flight, integer, moved, text, transfer_of

Kind = Literal["ASKED", "WAITING", "EXECUTED", "FAILED", "EXPIRED", "DONE", "UNKNOWN", "LATER", "BUSY", "UNAVAILABLE"]

_BUSY_MS: Final = 500
_UNAVAILABLE_MS: Final = 2_000
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step's outcome. ``delay_ms`` says when the next step is due; None means that it waits for a decision."""

    kind: Kind
    delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Settling:
    """Moves transfers on."""

    dependencies: Dependencies
    chance: Callable[[], float] = random.random

    def sweep(self) -> int:
        """Move on every transfer in flight. Returns their number. Raises ``StoreError``."""
        count, cursor = 0, None
        while True:
            page = self.dependencies.store.transfers(limit=_PAGE, cursor=cursor, status=IN_FLIGHT)
            for record in page.items:
                self.advance(text(record, "transfer_id"))
            count += len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return count

    def advance(self, transfer_id: str) -> Outcome:
        """Take one transfer's next step, in any state. Does not raise for dependencies that cannot be reached."""
        try:
            return self._advance(transfer_id)
        except (StoreUnavailable, StateUnavailable):
            return Outcome("UNAVAILABLE", _UNAVAILABLE_MS)
        except StoreError as error:
            # S1 repeats its answer to the same id, whatever it has done meanwhile; but people must repair the store.
            detail = f"transfer {transfer_id}: its record cannot be kept: {error}"
            self.dependencies.alerts.raise_alert("ERROR", "TRANSFER_UNSETTLED", detail, scope=transfer_id)
            return Outcome("UNAVAILABLE", _UNAVAILABLE_MS)

    def expire(self, record: Record) -> bool:
        """Expire the record if its time for a decision is over. Returns whether it is."""
        now = self.dependencies.clock.now_ms()
        if record["status"] != "PENDING" or now < integer(record, "expires_ts"):
            return False
        transfer_id = text(record, "transfer_id")
        changes = moved(record, "FAILED", now, "s6", "no decision came", {"reason": "EXPIRED"})
        if self.dependencies.store.update_transfer(transfer_id, expect="PENDING", changes=changes) is not None:
            self.dependencies.metrics.inc("s6_treasury_transfer_total", outcome="expired")
            detail = f"transfer {transfer_id} of {_sum(record)} got no decision in time and was not made"
            self.dependencies.alerts.raise_alert("WARN", "APPROVAL_EXPIRED", detail, scope=transfer_id)
        return True

    def _advance(self, transfer_id: str) -> Outcome:
        record = self.dependencies.store.transfer(transfer_id)
        due = self._due(record)
        if record is None or due is not None:
            return due or Outcome("UNKNOWN")
        try:
            with self.dependencies.lock(text(record, "from"), text(record, "to")):
                record = self.dependencies.store.transfer(transfer_id)  # another process may have taken this step
                due = self._due(record)
                if record is None or due is not None:
                    return due or Outcome("UNKNOWN")
                return self._ask(record) if record["status"] == "PENDING" else self._execute(record)
        except LockBusy:
            return Outcome("BUSY", _BUSY_MS)

    def _due(self, record: Record | None) -> Outcome | None:
        """Return the outcome while no step is due, or None if one is due now."""
        if record is None:
            return Outcome("UNKNOWN")
        if not in_flight(record):
            return Outcome("DONE")
        if self.expire(record):
            return Outcome("EXPIRED")
        if record["status"] == "PENDING" and record.get("asked_ts") is not None:
            return Outcome("WAITING")
        longest = max(LONGEST_MS, self._retry().cap_ms)
        wait = left_ms(integer(record, "retry_ts"), self.dependencies.clock.now_ms(), longest)
        return Outcome("LATER", wait) if wait else None

    def _ask(self, record: Record) -> Outcome:
        tried = self._try(record, "ask_attempts")
        if tried is None:
            return Outcome("LATER", 0)
        what = transfer_of(record)
        try:
            refusal = self.dependencies.approvals.ask(
                what.transfer_id, what.src, what.dst, what.asset, what.amount, what.reason
            )
        except NeighbourUnavailable as error:
            return self._postpone(tried, "ask_attempts", error)
        if refusal:
            detail = (
                f"transfer {what.transfer_id} of {_sum(record)} waits: S12 will not ask for its approval ({refusal})"
            )
            self.dependencies.alerts.raise_alert("ERROR", "APPROVAL_NOT_ASKED", detail, scope=what.transfer_id)
        changes: Record = {"asked_ts": self.dependencies.clock.now_ms(), "retry_ts": 0}
        self.dependencies.store.update_transfer(what.transfer_id, expect="PENDING", changes=changes)
        return Outcome("ASKED")

    def _execute(self, record: Record) -> Outcome:
        tried = self._try(record, "attempts")
        if tried is None:
            return Outcome("LATER", 0)
        what = transfer_of(record)
        try:
            answer = self.dependencies.wallets.transfer(what.transfer_id, what.src, what.dst, what.asset, what.amount)
        except NeighbourUnavailable as error:
            return self._postpone(tried, "attempts", error)
        now = self.dependencies.clock.now_ms()
        if answer.status == "EXECUTED":
            changes = moved(tried, "EXECUTED", now, "s1", answer.tx_id, {"tx_id": answer.tx_id, "executed_ts": now})
        else:
            changes = moved(tried, "FAILED", now, "s1", answer.reason, {"reason": answer.reason or "REFUSED"})
        if self.dependencies.store.update_transfer(what.transfer_id, expect="APPROVED", changes=changes) is not None:
            self._announce(tried, answer.status, answer.reason)
        return Outcome(answer.status)

    def _try(self, record: Record, counter: str) -> Record | None:
        """Write down that a call follows, and when to repeat it if this process dies.

        Returns the record, or None if the transfer has moved on.
        """
        now = self.dependencies.clock.now_ms()
        attempts = integer(record, counter) + 1
        changes: Record = {counter: attempts, "updated_ts": now, "retry_ts": now + self._backoff_ms(attempts)}
        if counter == "attempts" and record.get("sent_ts") is None:
            changes["sent_ts"] = now
        return self.dependencies.store.update_transfer(
            text(record, "transfer_id"), expect=text(record, "status"), changes=changes
        )

    def _postpone(self, record: Record, counter: str, error: NeighbourUnavailable) -> Outcome:
        """Schedule the same call again after a missing answer, which leaves open whether it was carried out."""
        now, transfer_id = self.dependencies.clock.now_ms(), text(record, "transfer_id")
        retry_ts = integer(record, "retry_ts")
        wanted_ms = error.retry_after_ms or 0
        wanted_ts = now + min(wanted_ms, LONGEST_MS)
        if wanted_ts > retry_ts:
            retry_ts = wanted_ts
            changes: Record = {"retry_ts": retry_ts}
            self.dependencies.store.update_transfer(transfer_id, expect=text(record, "status"), changes=changes)
        if integer(record, counter) >= self._retry().attempts or wanted_ms > LONGEST_MS:
            if counter == "attempts":
                detail = f"transfer {transfer_id} of {_sum(record)}: whether it was made is not known yet ({error})"
                self.dependencies.alerts.raise_alert("ERROR", "TRANSFER_UNSETTLED", detail, scope=transfer_id)
            else:
                detail = f"transfer {transfer_id} of {_sum(record)} waits: its approval can't be asked for ({error})"
                severity: Severity = "ERROR" if wanted_ms > LONGEST_MS else "WARN"
                self.dependencies.alerts.raise_alert(severity, "APPROVAL_NOT_ASKED", detail, scope=transfer_id)
        return Outcome("LATER", max(0, retry_ts - now))

    def _announce(self, record: Record, status: str, reason: str) -> None:
        self.dependencies.metrics.inc("s6_treasury_transfer_total", outcome=status.lower())
        if status == "FAILED":
            transfer_id = text(record, "transfer_id")
            detail = f"transfer {transfer_id} of {_sum(record)} was refused by S1: {reason}"
            if integer(record, "attempts") > 1:
                detail += " (an earlier attempt went unanswered: compare with S1's books)"
            self.dependencies.alerts.raise_alert("ERROR", "TRANSFER_FAILED", detail, scope=transfer_id)

    def _retry(self) -> Retry:
        bundle = self.dependencies.bundles.current()
        return Retry() if bundle is None else bundle.execution.retry

    def _backoff_ms(self, attempts: int) -> int:
        retry = self._retry()
        longest = min(retry.cap_ms, retry.base_ms << min(attempts, 20))
        return int(longest * (1 + self.chance()) / 2)


def _sum(record: Record) -> str:
    what = transfer_of(record)
    return f"{plain(what.amount)} {what.asset} from {what.src} to {what.dst}"
