"""How S6 bears what nobody expects, held against CONTRACT §2, §3 and §5: pauses, people's words, changed terms, alerts.

Where a fault may excuse something, ``late`` says so: it is the judge's own measure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from s6 import keys
from s6.rules.exact import exactly
from tests.doubles.memory_redis import Written
from tests.simulation.ledger import STEP, XOrder, XPosition

if TYPE_CHECKING:
    from tests.simulation.world import World

PROMPT_MS: Final = 1_000
UNASKED_MS: Final = 300
GONE_MS: Final = 2_000
LONGEST_MS: Final = 60_000
AWAITED_MS: Final = 10_000
#: So many refusals of one kind fit into the longest spell, the pauses doubling from 100 ms, and people's exits.
MOST_REFUSALS: Final = 14
#: Times at which S6 does something again.
TIMES: Final = ("exit_not_before", "hold_until", "sl_not_before", "trail_not_before")


class Misconduct(AssertionError):
    """S6 did what it must not, or did not say what it must."""


class Conduct:
    """``late`` says whether what should have been done since a time is overdue, given a time that is prompt."""

    def __init__(self, world: World, late: Callable[[int, int], bool], owed: Counter[tuple[str, str, str]]) -> None:
        self._world, self._kernel, self._late, self._owed = world, world.kernel, late, owed
        self._stopped: dict[str, int] = {}
        self._answers: dict[str, int] = {}
        self._operators: dict[str, int] = {}
        self._fatal: Counter[tuple[str, str]] = Counter()
        world.owed = lambda alert: owed.update([alert])
        world.faults.answered = self._answered

    # -- orders ------------------------------------------------------------------------------------------------

    def accepted(self, order: XOrder, position: XPosition, record: Mapping[str, object]) -> None:
        """S4 has just taken an order of S6's; ``record`` is what S6 wrote down about it."""
        name = order.client_order_id
        if order.kind == "ADD":
            self._add(order, position, record)
        if order.kind in ("ADD", "TP") and self._gone():
            raise Misconduct(f"{name}: {order.kind} by terms that the bundle no longer has")
        if order.kind == "TP" and self._world.profile.terms == "LADDER" and not self._world.wiped:
            self._rungs(order, record)

    def _add(self, order: XOrder, position: XPosition, record: Mapping[str, object]) -> None:
        name, said = order.client_order_id, self._stopped.get(order.position_id)
        if said is not None and self._disregards(said, self._world.faults.sent[name]):
            raise Misconduct(f"{name}: an add although people stopped {order.position_id}")
        told = self._world.signals.get(str(record["signal_id"]))
        lost = self._world.wiped or position.position_id in self._world.tainted  # then nobody knows which signal it was
        if told is not None and told <= position.opened_ts and not lost:
            raise Misconduct(f"{name} is for {record['signal_id']}, older than the position's first fill")

    def _disregards(self, said: int, sent: list[int]) -> bool:
        """Whether what was sent at these times was sent in spite of what people had said.

        A first try may follow its decision unasked. A process that is held up may not know.
        """
        if self._world.profile.every_gap or self._world.profile.every_pause:
            return self._late(said, PROMPT_MS)
        return sent[-1] > said + (0 if len(sent) > 1 else UNASKED_MS)

    def _gone(self) -> bool:
        """Whether the bundle has not named the symbol for a while in which nothing else went wrong."""
        bundles, disturbed = self._world.bundles, self._world.faults.disturbed
        calm = self._kernel.now - bundles.since > GONE_MS and disturbed <= bundles.since
        return "BTCUSDT" not in bundles.bundle.symbols and calm

    def _rungs(self, order: XOrder, record: Mapping[str, object]) -> None:
        """A ladder that changes takes no profit twice: rungs lie above all that were taken.

        Where a close came before an entry that it did not close, the books hold another life than the exchange.
        """
        if order.position_id in self._world.tainted:
            return
        for other in self._world.exchange.orders.values():
            if other.kind != "TP" or other.position_id != order.position_id or other.life != order.life:
                continue
            if other is order or not (other.live or other.filled):
                continue
            text = self._world.redis.do_hget(keys.orders(order.position_id), other.client_order_id)
            known = json.loads(text or "{}")
            taken = known.get("rung_roe")
            if known.get("life") != record["life"]:  # a close overtook an opening fill: S6 counts a life more
                continue
            if taken and Decimal(str(record["rung_roe"])) <= Decimal(str(taken)):
                raise Misconduct(f"{order.client_order_id} takes profit at {record['rung_roe']} again")

    def asked(self, body: Mapping[str, object]) -> None:
        """S6 asks S4 for a new order. What S4 says it doesn't hold is asked for after ten seconds, then each minute."""
        name = str(body["position_id"])
        missing = self._world.exchange.missing.get(name, [])
        if not missing or self._forgets() or body["kind"] == "ADD" or self._operators.get(name, 0) >= missing[-1]:
            return
        pause = AWAITED_MS if len(missing) == 1 else LONGEST_MS
        since = self._kernel.now - missing[-1]
        if since < min(pause, AWAITED_MS if missing[-1] - missing[0] < AWAITED_MS else pause) - self._world.clock.apart:
            raise Misconduct(f"{body['client_order_id']} comes {since} ms after S4 said that it holds nothing")

    def _forgets(self) -> bool:
        """Whether who has read an answer may be gone, or too late, before it is written down."""
        p = self._world.profile
        return bool(self._world.wiped or p.every_crash or p.every_loss or p.every_pause or p.crash_call)

    def looked(self) -> None:
        """What S4 goes on refusing is not asked for again and again."""
        for (name, kind), count in self._world.exchange.spells.refused.items():
            if count > MOST_REFUSALS:
                raise Misconduct(f"{name}: {count} orders of kind {kind} refused in one spell")

    # -- what is written ---------------------------------------------------------------------------------------

    def committed(self, before: Written, after: Written) -> None:
        """Note what people have said, and hold every pause to its bound."""
        name, now = after.state["position_id"], self._kernel.now
        self._people(name, before.state, after.state)
        if Decimal(after.state["qty"]) < Decimal(before.state.get("qty", "0")):  # a result has come
            self._world.exchange.missing.pop(name, None)
            self._world.exchange.exits_refused.pop(name, None)
        if not self._world.profile.set_back:
            times = {key: int(after.state[key]) for key in TIMES} | {"op": int(after.op.get("not_before", 0))}
            for what, at in times.items():
                if at > now + LONGEST_MS + self._world.clock.apart:
                    raise Misconduct(f"{name}: {what} is {at - now} ms away")

    def _people(self, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        if before.get("exit_reason", "") != "OPERATOR" == after["exit_reason"]:
            self._operators[name] = self._kernel.now
        held_up = after["status"] == "OPEN" and (after["paused"] == "true" or after["exit_reason"] == "OPERATOR")
        if not held_up or before.get("life", after["life"]) != after["life"]:
            self._stopped.pop(name, None)
        if held_up:
            self._stopped.setdefault(name, self._kernel.now)

    def failing(self, before: Mapping[str, str], after: Written) -> Iterator[tuple[str, str]]:
        """Yield severity and code of each alert that S4's last answer calls for. ``before`` is the operation."""
        op = after.op
        if not op or before.get("op_id") != op["op_id"] or int(before["attempts"]) >= int(op["attempts"]):
            return
        rests = int(op["not_before"]) - int(after.state["ts"]) > LONGEST_MS - 6_000 and self._world.profile.long_rest
        if rests and ("ERROR", "S4_RETRY_AFTER", "") not in self._world.alerts.told:  # of a question of many
            yield "ERROR", "S4_RETRY_AFTER"
        if (
            self._answers.get(op["client_order_id"]) in (403, 404)
            and int(op["attempts"]) > 2
            and op["stage"] == "PLACE"
        ):
            yield "ERROR", "S4_UNEXPECTED"

    def _answered(self, name: str, method: str, status: int, doc: Mapping[str, Any]) -> None:
        """S4 has answered, and the answer is read."""
        self._answers[name] = status if method == "POST" else 0
        if status == 422 and name in self._world.exchange.denied:
            position_id = json.loads(self._world.exchange.bodies[name])["position_id"]
            self._world.exchange.missing.setdefault(position_id, []).append(self._kernel.now)
        if "kind" not in doc:
            return
        if self._world.clock.now_ms() < self._kernel.now - LONGEST_MS:
            self._world.faults.disturb(3_000)  # to this process the answer comes from the future, and is malformed
        elif "unclear" in doc:
            self._owed.update([("ERROR", "RESULT_UNCLEAR", str(doc["position_id"]))])

    # -- at the end --------------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Nobody was alarmed without a reason, and a reason alarms once."""
        told = Counter(self._world.alerts.told)
        for (severity, code, name), count in told.items():
            if code != "STOP_MOVE_FAILED" or severity != "FATAL" or self._world.wiped:
                continue
            if name not in self._world.exchange.stops_refused:
                raise Misconduct(f"{name}: a FATAL {code} although S4 refused no stop of it")
            if count > self._owed[severity, code, name]:
                raise Misconduct(f"{name}: {count} FATAL {code}, owed {self._owed[severity, code, name]}")

    # -- what needs no stop ------------------------------------------------------------------------------------

    def ungovernable(self, position: XPosition) -> bool:
        """Whether no stop can be placed: the bundle in force never named the symbol to it, or has a larger step."""
        bundles = self._world.bundles
        spec = bundles.bundle.symbols.get(position.symbol)
        if spec is None:
            return not self._world.redis.do_hget(keys.state(position.position_id), "terms")
        with exactly():
            return spec.step > STEP and position.qty < spec.step
