"""The treasury's refusals as its HTTP API answers them: status, stable code, Retry-After, field."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """Nothing was done. The text is the detail for people; ``retry_after_s`` is None if repeating cannot help."""

    status: ClassVar[int] = 409

    def __init__(self, code: str, detail: str, *, field: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


class Invalid(Refusal):
    """422: the member ``field`` of the request is at fault."""

    status = 422

    def __init__(self, field: str, detail: str, code: str = "INVALID") -> None:
        super().__init__(code, detail, field=field)


class TooLarge(Invalid):
    """422: the amount is more than one transfer may move."""

    def __init__(self, detail: str) -> None:
        super().__init__("amount", detail, "AMOUNT_TOO_LARGE")


class TransferInFlight(Refusal):
    """409: another transfer between these wallets is not finished."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__("TRANSFER_IN_FLIGHT", detail, retry_after_s=retry_after_s)


class InsufficientFunds(Refusal):
    """409, ``INSUFFICIENT_SPOT`` or ``INSUFFICIENT_FUT``: the giving wallet has too little."""

    def __init__(self, wallet: str, detail: str) -> None:
        super().__init__(f"INSUFFICIENT_{wallet}", detail)


class IdConflict(Refusal):
    """409: another transfer has this ``transfer_id``."""

    def __init__(self, detail: str) -> None:
        super().__init__("TRANSFER_ID_CONFLICT", detail, field="transfer_id")


class CoolingDown(Refusal):
    """409, for the automatic check only: the last transfer is too recent."""

    def __init__(self, detail: str) -> None:
        super().__init__("COOLING_DOWN", detail)


class Conflict(Refusal):
    """409: the transfer has the contrary decision, or expired without one (``TRANSFER_EXPIRED``)."""


class NotFound(Refusal):
    """404: no such transfer."""

    status = 404

    def __init__(self, transfer_id: str) -> None:
        super().__init__("NOT_FOUND", f"there is no transfer {transfer_id}")


class Unavailable(Refusal):
    """503: S6 could not reach what it needs to decide. After a write it is unknown whether that happened.

    The same request with the same ``transfer_id`` is safe to repeat.
    """

    status = 503

    def __init__(self, code: str, detail: str, retry_after_s: int = 2) -> None:
        super().__init__(code, detail, retry_after_s=retry_after_s)
