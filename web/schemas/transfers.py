"""Models of transfers between the wallets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from web.schemas.fields import Amount, Answer, Body, Name, Number, Paged, Reason, Text, TransferId, Ts

TransferStatus = Literal["PENDING", "APPROVED", "EXECUTED", "FAILED", "REJECTED"]
TransferMode = Literal["AUTO", "SEMI"]


class TriggerRequest(Body):
    """A transfer to begin now. `amount` defaults to what the futures wallet needs, `mode` to the bundle's."""

    src: Annotated[Literal["SPOT", "FUT"], Field(alias="from")]
    dst: Annotated[Literal["SPOT", "FUT"], Field(alias="to")]
    asset: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$", examples=["USDT"])]
    amount: Amount | None = None
    mode: TransferMode | None = None
    reason: Reason
    transfer_id: TransferId | None = None


class TriggerAnswer(Answer):
    """The transfer as it began. `NOT_NEEDED` comes with 200, and there is no transfer."""

    transfer_id: str | None
    status: TransferStatus | Literal["NOT_NEEDED"]
    amount: Number
    need: Number | None
    mode: TransferMode


class DecisionRequest(Body):
    """A decision, and its author."""

    approver: Name
    note: Text = ""


class TransfersQuery(Paged):
    """The filters of the list of transfers."""

    status: TransferStatus | None = None


class Transfer(Answer):
    """The current state of a transfer."""

    transfer_id: str
    status: TransferStatus
    ts: Ts
