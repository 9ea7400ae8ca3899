"""A transfer's record: the document in ``treasury_transfers``, and its changes of status."""

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
    """A requested transfer. ``amount`` None means as much as is needed, ``mode`` None means the bundle's."""

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
    """The members of a record that never change, as S1 and S12 receive them."""

    transfer_id: str
    src: str
    dst: str
    asset: str
    amount: Decimal
    reason: str


def first_status(mode: str) -> str:
    """Return the status with which a transfer begins."""
    return "APPROVED" if mode == "AUTO" else "PENDING"


def new_record(
    request: Request, *, amount: Decimal, need: Decimal, mode: str, turn: int, now: int, ts: int, expires_ts: int
) -> Record:
    """Return the record of a new transfer. ``turn`` is its unique number among all transfers; times are in ms."""
    status = first_status(mode)
    return {
        "_key": request.transfer_id,
        "transfer_id": request.transfer_id,
        "turn": turn,
        "from": request.src,
        "to": request.dst,
        "asset": request.asset,
        "amount": _number(amount),
        # A store may keep JSON numbers as binary floats, so requests take the amount from this text.
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
    """Return the changes that move the record to ``status``, its history included, together with ``also``."""
    history = cast("list[object]", record.get("history") or [])
    return {"status": status, "updated_ts": now, "history": [*history, _step(status, now, by, note)], **also}


def transfer_of(record: Mapping[str, object]) -> Transfer:
    """Return the transfer's unchanging members, the same for every call about it."""
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
    """Return the member in which a request differs from the transfer with its id, or "" if the request repeats it.

    The reason is for people and may differ. A mode that is not given may differ too.
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
    """Return a time (ms) or a count, or 0 if it is absent."""
    return int(text(record, name) or 0)


def _number(value: Decimal) -> Decimal:
    return Decimal(plain(value))


def _step(status: str, ts: int, by: str, note: str) -> Record:
    return {"ts": ts, "status": status, "by": by, "note": note}
