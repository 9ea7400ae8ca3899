"""Money between the wallets, with real processes: moved once or not at all, and the record says which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from s6.model import jsonx
from s6.standalone.redis_single import EmbeddedRedis
from tests.e2e.running import D, Running
from tests.support.http_server import HttpServer, Reply
from tests.support.paper_client import Item
from tests.support.procs import CORE, S6Processes
from tests.support.waiting import wait_for

TOKENS = "reader:read:read-token,operator:ops:ops-token,treasurer:treasury:treasury-token"
RULES = {
    "mode": "SEMI",
    "asset": "USDT",
    "min_free_fut": 0,
    "spot_buffer": 200,
    "max_transfer": 10_000,
    "cooldown_s": 0,
}
CROWD = 20
WORKER_TTL_S = "2"
"""Transfers that the automatic check begins wait that long for a decision; those of the web process, an hour."""


class Treasury:
    """A running S6 whose check comes every half second, and the ledger of the money."""

    def __init__(self, running: Running, people: HttpServer) -> None:
        self.running, self.paper, self.people = running, running.paper, people
        self._number = 0

    def rules(self, *, spot: int = 10_000, fut: int = 100, **rules: object) -> None:
        """Wallets and limits; unless ``min_free_fut`` is given nothing is needed and the check begins nothing."""
        self.running.publish(treasury=RULES)
        self.paper.balances(SPOT=spot, FUT=fut)
        if rules:
            self.running.publish(treasury={**RULES, **rules})

    def new_id(self) -> str:
        self._number += 1
        return f"t-{self._number}"

    def call(self, method: str, path: str, body: object = None, token: str = "treasury-token") -> requests.Response:
        answer: requests.Response = self.running.call(method, path, body, token=token)
        return answer

    def trigger(self, transfer_id: str | None = None, **members: object) -> requests.Response:
        body: dict[str, object] = {"from": "SPOT", "to": "FUT", "asset": "USDT", "reason": "a test", **members}
        if transfer_id is not None:
            body["transfer_id"] = transfer_id
        return self.call("POST", "/auto-transfer/trigger", body)

    def begun(self, **members: object) -> str:
        """Trigger what must begin; its id."""
        transfer_id = self.new_id()
        answer = self.trigger(transfer_id, **members)
        assert answer.status_code == 202, answer.text
        return transfer_id

    def decide(self, transfer_id: str, word: str, approver: str = "ann", note: str = "fine") -> requests.Response:
        return self.call("POST", f"/auto-transfer/{transfer_id}/{word}", {"approver": approver, "note": note})

    def record(self, transfer_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/auto-transfer/{transfer_id}", token="read-token")
        assert answer.status_code == 200, answer.text
        return dict(jsonx.loads(answer.text))

    def until(self, transfer_id: str, status: str, timeout: float = 30) -> dict[str, Any]:
        """Wait for a status; the record."""

        def look() -> dict[str, Any] | None:
            record = self.record(transfer_id)
            return record if record["status"] == status else None

        return wait_for(look, timeout, f"{transfer_id} {status}", every=0.1) or {}

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.call("GET", f"/transfers?limit=500{query}", token="read-token")
        assert answer.status_code == 200, answer.text
        return list(jsonx.loads(answer.text)["items"])

    def by_itself(self, **rules: object) -> dict[str, Any]:
        """The transfer that the check begins under these rules."""
        known = {r["transfer_id"] for r in self.listed()}
        self.rules(**rules)  # type: ignore[arg-type]

        def look() -> dict[str, Any] | None:
            return next((r for r in self.listed() if r["requested_by"] == "s6" and r["transfer_id"] not in known), None)

        return wait_for(look, 20, "a transfer by itself") or {}

    def asked(self, transfer_id: str) -> list[dict[str, Any]]:
        """Bodies of the requests that S1 got about a transfer, repeats included."""
        sent: list[dict[str, Any]] = [r for r in self.paper.ledger(what="request") if r["route"] == "s1.transfer"]
        return [r["body"] for r in sent if r["body"]["transfer_id"] == transfer_id]

    def moved(self, transfer_id: str) -> list[Item]:
        """What S1 made of a transfer: at most one entry, whatever was asked how often."""
        return [r for r in self.paper.ledger(what="transfer") if r["transfer_id"] == transfer_id]

    def free(self) -> tuple[Any, Any]:
        """What SPOT and FUT hold."""
        balances: dict[str, Any] = self.paper.balances()
        return balances["SPOT"]["free"], balances["FUT"]["free"]

    def made_once(self, transfer_id: str, amount: int) -> None:
        record = self.until(transfer_id, "EXECUTED")
        [entry] = self.moved(transfer_id)
        assert (entry["status"], entry["amount"]) == ("EXECUTED", amount)
        assert record["amount"] == amount
        assert record["tx_id"]

    def not_made(self, transfer_id: str) -> None:
        assert self.moved(transfer_id) == []

    def counted(self, outcome: str) -> int:
        """``s6_treasury_transfer_total`` of an outcome."""
        text = requests.get(f"{self.running.s6.url}/metrics", timeout=10).text
        found = re.search(rf'^s6_treasury_transfer_total{{outcome="{outcome}"}} (\S+)', text, re.M)
        return int(float(found[1])) if found else 0

    def restart(self, *names: str) -> None:
        """Start processes anew; a worker with its own time to wait for decisions."""
        processes = self.running.s6
        for name in names:
            processes.start(name, env={"S6_APPROVAL_TTL_S": WORKER_TTL_S} if name == "worker" else None)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Treasury]:
    folder: Path = tmp_path_factory.mktemp("treasury")
    with HttpServer(lambda asked: Reply()) as people, EmbeddedRedis(folder / "redis") as redis:
        env = {
            "S6_REDIS_URL": redis.url(0),
            "S6_BROKER_URL": redis.url(1),
            "S6_API_TOKENS": TOKENS,
            "S6_MANAGE_TICK_S": "2",
            "S6_TREASURY_TICK_S": "0.5",
            "S6_NOTIFY_URLS": people.url.replace("http://", "json://"),
        }
        with S6Processes(folder / "s6", env) as processes:
            paper = processes.start_paper("--no-wallet-follows-trades")
            treasury = Treasury(Running(processes, paper), people)
            treasury.restart(*CORE)
            processes.healthy(90)
            yield treasury


@pytest.fixture
def t(system: Treasury, request: pytest.FixtureRequest) -> Iterator[Treasury]:
    """Nothing needed, no faults; a failing test shows the ends of all logs."""
    failed = request.session.testsfailed
    system.rules()
    yield system
    if request.session.testsfailed > failed:
        print(system.running.s6.tails())
    system.paper.clear_faults()
    for record in [*system.listed("&status=PENDING"), *system.listed("&status=APPROVED")]:
        system.decide(record["transfer_id"], "reject")


def at_once(act: Any) -> list[Any]:
    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(act, range(CROWD)))


def test_the_check_supplies_the_futures_wallet_and_cools_down(t: Treasury) -> None:
    before = t.counted("executed")
    record = t.by_itself(mode="AUTO", min_free_fut=500)
    assert (record["mode"], record["from"], record["to"]) == ("AUTO", "SPOT", "FUT")
    t.made_once(record["transfer_id"], 400)
    assert t.free() == (9_600, 500)
    t.rules(spot=9_600, fut=500, mode="AUTO", min_free_fut=500, cooldown_s=3600)
    t.paper.balances(FUT=0)
    seen = t.running.s6["worker"].output().count("COOLING_DOWN")
    wait_for(lambda: t.running.s6["worker"].output().count("COOLING_DOWN") > seen, 10, "a check that waits")
    t.made_once(t.begun(), 500)  # the cooldown binds the check alone
    assert t.free() == (9_100, 500)
    wait_for(lambda: t.counted("executed") == before + 2, 5, "both counted")


def test_a_poor_spot_wallet_is_told_of_by_the_check_and_refused_to_a_trigger(t: Treasury) -> None:
    t.rules(spot=599, mode="AUTO", min_free_fut=500)
    t.running.alert("INSUFFICIENT_SPOT")
    answer = t.trigger()
    assert (answer.status_code, answer.json()["code"]) == (409, "INSUFFICIENT_SPOT")
    assert t.free() == (599, 100)
    t.paper.balances(SPOT=600)
    wait_for(lambda: t.free() == (200, 500), 20, "what the wallet can spare, moved")


def test_approved_by_people_it_is_made_once(t: Treasury) -> None:
    transfer_id = t.begun(amount="250.5", reason="for the weekend")
    assert t.record(transfer_id)["status"] == "PENDING"
    [asked] = wait_for(lambda: [a for a in t.paper.approvals() if a["transfer_id"] == transfer_id], 10, "S12 asked")
    assert asked == {
        "transfer_id": transfer_id,
        "from": "SPOT",
        "to": "FUT",
        "asset": "USDT",
        "amount": D("250.5"),
        "reason": "for the weekend",
    }
    other = t.trigger(t.new_id(), amount=1)
    assert (other.status_code, other.json()["code"]) == (409, "TRANSFER_IN_FLIGHT")
    assert int(other.headers["Retry-After"]) > 0
    assert t.call("POST", f"/auto-transfer/{transfer_id}/approve", {"approver": "x"}, "ops-token").status_code == 403
    t.not_made(transfer_id)
    decided = t.decide(transfer_id, "approve", "ann", "go on")
    assert (decided.status_code, decided.json()["approver"], decided.json()["note"]) == (200, "ann", "go on")
    record = t.until(transfer_id, "EXECUTED")
    assert [step["status"] for step in record["history"]] == ["PENDING", "APPROVED", "EXECUTED"]
    again = t.decide(transfer_id, "approve", "bob")
    assert (again.status_code, again.json()["status"], again.json()["approver"]) == (200, "EXECUTED", "ann")
    contrary = t.decide(transfer_id, "reject")
    assert (contrary.status_code, contrary.json()["code"]) == (409, "ALREADY_DECIDED")
    [entry] = t.moved(transfer_id)
    assert (entry["amount"], t.free()) == (D("250.5"), (D("9749.5"), D("350.5")))


def test_rejected_by_people_it_is_never_made(t: Treasury) -> None:
    before = t.counted("rejected")
    transfer_id = t.begun(amount=250)
    for _ in range(2):
        answer = t.decide(transfer_id, "reject", note="no")
        assert (answer.status_code, answer.json()["status"]) == (200, "REJECTED")
    assert t.decide(transfer_id, "approve").status_code == 409
    t.made_once(t.begun(amount=1, mode="AUTO"), 1)  # the way is free again
    t.not_made(transfer_id)
    wait_for(lambda: t.counted("rejected") == before + 1, 5, "the rejection counted")
    assert [r["transfer_id"] for r in t.listed("&status=REJECTED")] == [transfer_id]


def test_twenty_at_once_with_one_id_are_one_transfer(t: Treasury) -> None:
    transfer_id = t.new_id()
    answers = at_once(lambda _: t.trigger(transfer_id, amount=30, mode="AUTO"))
    assert {a.status_code for a in answers} == {202}
    assert {a.text for a in answers} == {answers[0].text}
    t.made_once(transfer_id, 30)
    again = t.trigger(transfer_id, amount=30, mode="AUTO")
    assert (again.status_code, again.text) == (202, answers[0].text)
    assert t.trigger(transfer_id, amount=31, mode="AUTO").json()["code"] == "TRANSFER_ID_CONFLICT"
    assert t.free() == (9_970, 130)


def test_twenty_at_once_with_different_ids_are_one_at_a_time(t: Treasury) -> None:
    ids = [t.new_id() for _ in range(CROWD)]
    answers = at_once(lambda number: t.trigger(ids[number], amount=30))
    begun = [name for name, answer in zip(ids, answers, strict=True) if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert (len(begun), len(refused)) == (1, CROWD - 1)
    assert {answer.json()["code"] for answer in refused} == {"TRANSFER_IN_FLIGHT"}
    t.decide(begun[0], "approve")
    t.made_once(begun[0], 30)
    assert [r["transfer_id"] for r in t.listed() if r["transfer_id"] in ids] == begun


def test_one_need_is_met_once_however_many_ask(t: Treasury) -> None:
    t.rules(mode="AUTO", min_free_fut=500)
    at_once(lambda number: t.trigger(t.new_id() if number % 2 else None))
    wait_for(lambda: t.free()[1] >= 500 and not t.listed("&status=APPROVED"), 20, "the need met")
    assert t.trigger().json()["status"] == "NOT_NEEDED"
    assert t.free() == (9_600, 500)


@pytest.mark.parametrize("fault", ["reset_after", "error_after", "reset_before"])
def test_a_lost_answer_is_asked_for_again_in_the_same_words(t: Treasury, fault: str) -> None:
    t.paper.script("s1.transfer", fault, count=2)
    transfer_id = t.begun(amount=40, mode="AUTO")
    t.made_once(transfer_id, 40)
    bodies = t.asked(transfer_id)
    assert len(bodies) >= 3
    assert all(body == bodies[0] for body in bodies)
    assert t.free() == (9_960, 140)


def test_s1_down_and_back(t: Treasury) -> None:
    t.paper.fault(http={"s1.transfer": {"down": "error"}})
    transfer_id = t.begun(amount=40, mode="AUTO")
    wait_for(lambda: t.record(transfer_id)["attempts"] >= 2, 20, "tried again")
    record = t.record(transfer_id)
    assert (record["status"], t.moved(transfer_id)) == ("APPROVED", [])
    t.paper.fault(http={"s1": {"down": "refused"}, "s1.balances": {"down": "refused"}})
    refused = t.trigger(t.new_id(), amount=1)
    assert refused.status_code in (409, 503)  # in flight still; else nobody knows what the wallets hold
    assert refused.headers["Retry-After"]
    t.paper.clear_faults()
    t.made_once(transfer_id, 40)


def test_without_balances_nothing_begins(t: Treasury) -> None:
    t.paper.fault(http={"s1": {"down": "error"}})
    transfer_id = t.new_id()
    answer = t.trigger(transfer_id, amount=1)
    assert (answer.status_code, answer.json()["code"]) == (503, "S1_UNAVAILABLE")
    assert answer.headers["Retry-After"]
    assert t.call("GET", f"/auto-transfer/{transfer_id}", token="read-token").status_code == 404
    t.paper.clear_faults()
    wait_for(lambda: t.trigger(transfer_id, amount=1, mode="AUTO").status_code == 202, 20, "begun once S1 is back")
    t.made_once(transfer_id, 1)


def test_s1_refusing_ends_it(t: Treasury) -> None:
    before = t.counted("failed")
    t.paper.script("transfer", "fail", reason="WALLET_LOCKED")
    transfer_id = t.begun(amount=40, mode="AUTO")
    record = t.until(transfer_id, "FAILED")
    assert record["reason"] == "WALLET_LOCKED"
    t.running.alert("TRANSFER_FAILED", matching=lambda a: transfer_id in a["detail"])
    assert t.free() == (10_000, 100)
    wait_for(lambda: t.counted("failed") == before + 1, 5, "the failure counted")


def test_s12_down_is_asked_until_it_is_back(t: Treasury) -> None:
    t.paper.fault(http={"s12": {"down": "error"}})
    transfer_id = t.begun(amount=40)
    wait_for(lambda: t.record(transfer_id)["ask_attempts"] >= 2, 20, "asked again")
    assert transfer_id not in {asked["transfer_id"] for asked in t.paper.approvals()}
    t.paper.clear_faults()
    wait_for(lambda: t.paper.approvals()[-1:] and t.paper.approvals()[-1]["transfer_id"] == transfer_id, 30, "asked")
    t.decide(transfer_id, "approve")
    t.made_once(transfer_id, 40)


def test_without_a_decision_it_expires_with_an_alert(t: Treasury) -> None:
    before = t.counted("expired")
    transfer_id = t.by_itself(mode="SEMI", min_free_fut=500)["transfer_id"]
    t.rules()
    record = t.until(transfer_id, "FAILED")
    assert record["reason"] == "EXPIRED"
    t.running.alert("APPROVAL_EXPIRED", matching=lambda a: transfer_id in a["detail"])
    late = t.decide(transfer_id, "approve")
    assert (late.status_code, late.json()["code"]) == (409, "TRANSFER_EXPIRED")
    t.not_made(transfer_id)
    wait_for(lambda: t.counted("expired") == before + 1, 5, "the expiry counted")


def test_a_worker_killed_while_s1_moves_the_money(t: Treasury) -> None:
    t.paper.script("s1.transfer", "hang_after", ms=2_500)
    transfer_id = t.begun(amount=10, mode="AUTO")
    wait_for(lambda: t.moved(transfer_id), 10, "the money moved")
    t.running.s6["worker"].kill()
    assert t.record(transfer_id)["status"] == "APPROVED"
    t.restart("worker")
    t.made_once(transfer_id, 10)
    assert len(t.asked(transfer_id)) == 2
    assert t.free() == (9_990, 110)


def test_an_approval_after_a_restart_of_everything(t: Treasury) -> None:
    transfer_id = t.begun(amount=70)
    processes = t.running.s6
    for name in CORE:
        assert processes[name].stop() == 0
    t.restart(*CORE)
    processes.ready().healthy()
    assert t.trigger(t.new_id(), amount=1).json()["code"] == "TRANSFER_IN_FLIGHT"
    assert t.decide(transfer_id, "approve").status_code == 200
    t.made_once(transfer_id, 70)
    assert t.free() == (9_930, 170)


def test_requests_at_fault(t: Treasury) -> None:
    t.rules(max_transfer=300)
    large = t.trigger(amount="300.01")
    assert (large.status_code, [e["field"] for e in large.json()["errors"]]) == (422, ["amount"])
    for members, field in (
        ({"to": "SPOT"}, "to"),
        ({"asset": "BTC"}, "asset"),
        ({"amount": 0}, "amount"),
        ({"mode": "LATER"}, "mode"),
        ({"transfer_id": "a/b"}, "transfer_id"),
        ({"extra": 1}, "extra"),
    ):
        answer = t.trigger(**members)
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), answer.text
    needless = t.trigger(t.new_id())
    assert (needless.status_code, needless.json()["status"], needless.json()["amount"]) == (200, "NOT_NEEDED", 0)
    assert t.call("POST", "/auto-transfer/none/approve", {"approver": "ann"}).status_code == 404
    assert t.call("GET", "/auto-transfer/none", token="read-token").status_code == 404
    assert t.free() == (10_000, 100)


def test_transfers_are_listed_newest_first_page_by_page(t: Treasury) -> None:
    ids = []
    for _ in range(3):
        ids.append(t.begun(amount=1))
        t.decide(ids[-1], "reject")
    path, seen = "/transfers?limit=2", []
    while path:
        page = jsonx.loads(t.call("GET", path, token="read-token").text)
        seen += [r["transfer_id"] for r in page["items"]]
        path = f"/transfers?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen[:3] == ids[::-1]
    assert len(seen) == len(set(seen)) == len(t.listed())


def test_people_are_told_once_and_repeats_are_quiet(t: Treasury) -> None:
    """All alerts of the tests in this file went to the same people."""
    t.rules(spot=0, mode="AUTO", min_free_fut=500)
    alert = t.running.alert("INSUFFICIENT_SPOT")

    wait_for(lambda: any(alert["alert_id"].encode() in a.body for a in t.people.asked), 15, "people told")

    def repeats() -> int:
        items = jsonx.loads(t.call("GET", "/alerts?limit=500", token="read-token").text)["items"]
        return int(next(a["repeats"] for a in items if a["alert_id"] == alert["alert_id"]))

    seen = repeats()
    wait_for(lambda: repeats() >= seen + 2, 15, "repeats counted")
    assert len(t.running.alerts("INSUFFICIENT_SPOT")) == 1
    bodies = "".join(a.body.decode() for a in t.people.asked)
    assert all(bodies.count(fields["alert_id"]) <= 1 for _, fields in t.running.redis.xrange("s6:alerts"))
