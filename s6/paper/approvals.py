"""S12 on paper: keeps the requests for approval, and can decide them itself after a delay."""

import logging
import threading
from dataclasses import dataclass

import requests

from s6.paper.ledger import Ledger
from s6.paper.requests import Answer, ApprovalRequest
from s6.paper.timer import Timer

log = logging.getLogger(__name__)

_TRIES = 5


@dataclass(frozen=True, slots=True)
class AutoApproval:
    """The URL and token for approving, `after_s` seconds after the request."""

    s6_url: str
    token: str
    after_s: float


class Approvals:
    """The requests for approval, newest last. A repeated request counts once."""

    def __init__(self, *, ledger: Ledger, timer: Timer, auto: AutoApproval | None = None) -> None:
        self._ledger, self._timer, self._auto = ledger, timer, auto
        self._asked: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()

    def ask(self, request: ApprovalRequest) -> Answer:
        """Answer `POST /approvals`."""
        members = request.model_dump(by_alias=True)
        with self._lock:
            new = request.transfer_id not in self._asked
            self._asked.setdefault(request.transfer_id, members)
        self._ledger.add("approval", members)
        if new and self._auto:
            self._decide_later(self._auto, request.transfer_id, _TRIES)
        return Answer(202, {"transfer_id": request.transfer_id})

    def asked(self) -> list[dict[str, object]]:
        """Return all requests."""
        with self._lock:
            return list(self._asked.values())

    def _decide_later(self, auto: AutoApproval, transfer_id: str, tries: int) -> None:
        def decide() -> None:
            threading.Thread(target=self._decide, args=(auto, transfer_id, tries), daemon=True).start()

        self._timer.after(auto.after_s * 1000, decide)

    def _decide(self, auto: AutoApproval, transfer_id: str, tries: int) -> None:
        url = f"{auto.s6_url.rstrip('/')}/auto-transfer/{transfer_id}/approve"
        headers = {"Authorization": f"Bearer {auto.token}"}
        try:
            answer = requests.post(url, json={"approver": "paper", "note": "automatic"}, headers=headers, timeout=3)
            answer.raise_for_status()
        except requests.RequestException as error:
            log.warning("approval of %s did not arrive: %s", transfer_id, error)
            if tries > 1:
                self._decide_later(auto, transfer_id, tries - 1)
