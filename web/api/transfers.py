"""Endpoints for transfers between the wallets: trigger, decide, read."""

from __future__ import annotations

from s6.store import StoreRefused
from s6.treasury import TRANSFER_ID, NotFound
from web.api import table
from web.api.positions import bad_cursor
from web.endpoint import Call, Reply
from web.schemas.fields import Page
from web.schemas.transfers import DecisionRequest, Transfer, TransfersQuery, TriggerAnswer, TriggerRequest


@table.add(
    "POST",
    "/auto-transfer/trigger",
    tag="transfers",
    scope="treasury",
    answers={202: TriggerAnswer, 200: TriggerAnswer},
    problems=(409, 503),
)
def trigger_transfer(call: Call, body: TriggerRequest) -> Reply:
    """Move money between the wallets.

    202: the transfer is on its way (AUTO) or waits for an approval (SEMI). 200: nothing is needed. The same
    `transfer_id` again answers the same. 409 `TRANSFER_IN_FLIGHT` with `Retry-After`, or `INSUFFICIENT_SPOT`.
    """
    answer = call.services.treasury.trigger(
        src=body.src,
        dst=body.dst,
        asset=body.asset,
        amount=body.amount,
        mode=body.mode,
        reason=body.reason,
        transfer_id=body.transfer_id,
        by=call.who,
    )
    return Reply(answer, 200 if answer["status"] == "NOT_NEEDED" else 202)


@table.add(
    "POST",
    "/auto-transfer/<transfer_id>/approve",
    tag="transfers",
    scope="treasury",
    answers={200: Transfer},
    problems=(404, 409, 503),
)
def approve_transfer(call: Call, transfer_id: str, body: DecisionRequest) -> Reply:
    """Approve a pending transfer.

    Approving twice changes nothing; approving what was rejected is 409.
    """
    return Reply(call.services.treasury.approve(_checked(transfer_id), approver=body.approver, note=body.note))


@table.add(
    "POST",
    "/auto-transfer/<transfer_id>/reject",
    tag="transfers",
    scope="treasury",
    answers={200: Transfer},
    problems=(404, 409, 503),
)
def reject_transfer(call: Call, transfer_id: str, body: DecisionRequest) -> Reply:
    """Reject a pending transfer.

    Rejecting twice changes nothing; rejecting what was approved is 409.
    """
    return Reply(call.services.treasury.reject(_checked(transfer_id), approver=body.approver, note=body.note))


@table.add(
    "GET",
    "/auto-transfer/<transfer_id>",
    tag="transfers",
    scope="read",
    answers={200: Transfer},
    problems=(404, 503),
)
def get_transfer(call: Call, transfer_id: str) -> Reply:
    """A transfer as it stands."""
    return Reply(call.services.treasury.transfer(_checked(transfer_id)))


@table.add("GET", "/transfers", tag="transfers", scope="read", answers={200: Page[Transfer]}, problems=(503,))
def list_transfers(call: Call, query: TransfersQuery) -> Reply:
    """Transfers, newest first."""
    try:
        page = call.services.store.transfers(limit=query.limit, cursor=query.cursor, status=query.status)
    except StoreRefused:
        raise bad_cursor() from None
    return Reply({"items": page.items, "next_cursor": page.next_cursor})


def _checked(transfer_id: str) -> str:
    """Return the id. Raises the 404 of an unknown transfer if the id is malformed."""
    if not TRANSFER_ID.fullmatch(transfer_id):
        raise NotFound(transfer_id[:80])
    return transfer_id
