"""A transfer's record: the document in ``treasury_transfers``, and how it moves from one status to the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, cast

from s6.model.types import plain

Record = dict[str, object]
MODES: Final = ("AUTO", "SEMI")
Verdict = Literal["APPROVED", "REJECTED"]

IN_FLIGHT: Final = ("PENDING", "APPROVED")
WALLETS: Final = ("SPOT", "FUT")
TRANSFER_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Request:
    """A transfer that is asked for. ``amount`` None: as much as is needed; ``mode`` None: the bundle's."""

    transfer_id: str
    src: str
    dst: str
    asset: str
    amount: Decimal | None
    mode: str | None
    reason: str
    by: str
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """The members of a record that never change, as the wallets and the approvers are told them."""

    transfer_id: str
    src: str
    dst: str
    asset: str
    amount: Decimal
    reason: str


def first_status(mode: str) -> str:
    """What a transfer begins with."""
    return "APPROVED" if mode == "AUTO" else "PENDING"


def new_record(
    request: Request, *, amount: Decimal, need: Decimal, mode: str, turn: int, now: int, ts: int, expires_ts: int
) -> Record:
    """The record of a transfer that begins. ``turn`` is its place among all transfers; no two may hold the same."""
    status = first_status(mode)
    return {
        "_key": request.transfer_id,
        "transfer_id": request.transfer_id,
        "turn": turn,
        "from": request.src,
        "to": request.dst,
        "asset": request.asset,
        "amount": _number(amount),
        # A store may keep JSON numbers as binary floats: what is sent is read from this text.
        "amount_exact": plain(amount),
        "amount_given": request.amount is not None,
        "need": _number(need),
        "mode": mode,
        "status": status,
        "reason": request.reason,
        "request_reason": request.reason,
        "requested_by": request.by,
        "decision": None,
        "approver": None,
        "note": None,
        "tx_id": None,
        "attempts": 0,
        "ask_attempts": 0,
        "ts": ts,
        "updated_ts": now,
        "asked_ts": None,
        "expires_ts": expires_ts if mode == "SEMI" else None,
        "decided_ts": None,
        "sent_ts": None,
        "executed_ts": None,
        "retry_ts": 0,
        "history": [_step(status, now, request.by, request.reason)],
    }


def moved(
    record: Mapping[str, object], status: str, now: int, by: str, note: str, also: Mapping[str, object]
) -> Record:
    """What changes in the record as it moves on to ``status``, and ``also``. The rest tells its history."""
    history = cast("list[object]", record.get("history") or [])
    return {"status": status, "updated_ts": now, "history": [*history, _step(status, now, by, note)], **also}


def transfer_of(record: Mapping[str, object]) -> Transfer:
    """The same for every call about this transfer, whenever and by whomever it is made."""
    return Transfer(
        transfer_id=text(record, "transfer_id"),
        src=text(record, "from"),
        dst=text(record, "to"),
        asset=text(record, "asset"),
        amount=Decimal(text(record, "amount_exact")),
        reason=text(record, "request_reason"),
    )


def in_flight(record: Mapping[str, object]) -> bool:
    return record["status"] in IN_FLIGHT


def differs(record: Mapping[str, object], request: Request) -> str:
    """The member in which a request differs from the transfer of its id; empty when it is the same request again.

    The reason is for people and may differ; so may the mode that is not given.
    """
    for name, value in (("from", request.src), ("to", request.dst), ("asset", request.asset)):
        if record[name] != value:
            return name
    given = bool(record["amount_given"])
    if given != (request.amount is not None) or (given and request.amount != Decimal(text(record, "amount_exact"))):
        return "amount"
    return "mode" if request.mode is not None and request.mode != record["mode"] else ""


def text(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value)


def integer(record: Mapping[str, object], name: str) -> int:
    """A time or a count; 0 where there is none."""
    return int(text(record, name) or 0)


def _number(value: Decimal) -> Decimal:
    return Decimal(plain(value))


def _step(status: str, ts: int, by: str, note: str) -> Record:
    return {"ts": ts, "status": status, "by": by, "note": note}
