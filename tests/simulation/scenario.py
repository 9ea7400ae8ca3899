"""What happens in one seed: a stretch of trouble, a stretch of calm, then everything is closed and settled."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from random import Random
from typing import Final

from s6 import keys
from s6.model.bundle import ActiveBundle
from s6.rules.exact import exactly
from tests.simulation.judge import Judge, Violation
from tests.simulation.kernel import START_MS
from tests.simulation.ledger import STEP, XPosition
from tests.simulation.losses import Losses
from tests.simulation.parts import BUNDLES, CHANGED
from tests.simulation.profile import Profile, drawn
from tests.simulation.world import SYMBOL, Task, World

TROUBLE_MS: Final = 14_000
CALM_MS: Final = 17_000
CLOSING_MS: Final = 8_000
#: A close can make room for an add to another position: that one is closed once more.
CLOSINGS: Final = 2
STILL_MS: Final = 4_000
SWEEP_MS: Final = 10_000
RELAYS: Final = 5
FINISHING_S: Final = 5
#: So long after a clock is right again, or a bundle has returned, calm may end: a sweep looks at all by then.
SET_RIGHT_MS: Final = 14_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
LONGEST_MS: Final = 60_000
QTYS: Final = tuple(map(Decimal, ("0.006", "0.012", "0.05", "0.3", "1.111", "2")))


class Scenario:
    def __init__(self, seed: int, profile: Profile | None = None) -> None:
        self.seed = seed
        rng = Random(seed)
        self.profile = profile or drawn(rng)
        self.world = World(rng, self.profile)
        self.rng = rng
        self.judge = Judge(self.world)
        self._drift = self.profile.trend or rng.choice([-1, 0, 1])
        self._signals = 0
        self._calm_from = START_MS + 10 * TROUBLE_MS
        self._calm_ms = CALM_MS

    def run(self) -> Scenario:
        """Play it to its end. Raises ``Violation``, with the history, at the first thing that must not be."""
        try:
            self._play()
        except Exception as error:
            raise Violation(self._told(error)) from error
        return self

    def _told(self, error: Exception) -> str:
        history = "\n".join(self.world.kernel.log)
        return f"\n{history}\n\nseed {self.seed}: {type(error).__name__}: {error}\n{self.profile}"

    def _play(self) -> None:
        world, kernel = self.world, self.world.kernel
        kernel.after_step = self.judge.look
        world.exchange.on_accept = self.judge.accepted
        self._lay_out()
        kernel.run_until(START_MS + TROUBLE_MS)
        world.faults.calm()
        kernel.note("---- calm")
        self._calm_from = kernel.now  # later than planned, when somebody was held up for long
        if self.profile.spell or self.profile.long_rest:  # what S4 refused may rest for a minute
            self._calm_ms += max(0, world.faults.disturbed - kernel.now)
        kernel.run_until(self._calm_from + self._calm_ms)
        self._finish()
        self._relay()
        self.judge.at_rest()
        kernel.note("---- closing")
        for _ in range(CLOSINGS):
            for position_id in list(world.exchange.positions):
                world.exchange.stop_entries(position_id)
                world.close_by_hand(position_id, Decimal(1))
            kernel.run_until(kernel.now + CLOSING_MS)
            self._relay()
            if not any(position.qty for position in world.exchange.positions.values()):
                break
        self.judge.at_the_end()

    def _finish(self) -> None:
        """Let what a pause that has just ended, or the last sweep, has begun come to its end, for up to 5 s."""
        for _ in range(FINISHING_S):
            if not self.world.redis.scan("pos:op:*"):
                return
            self.world.kernel.run_until(self.world.kernel.now + 1_000)

    def _relay(self) -> None:
        """What the relay would do within its period, now, also with what is written down while it runs."""
        for _ in range(RELAYS):
            self.world.as_worker("", lambda: self.world.services.relay.run())
            self.world.kernel.run_until(self.world.kernel.now + 1)
            if not self.world.redis.scan("pos:outbox:*"):
                break

    # -- who does what, when -----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        world, rng = self.world, self.rng
        world.exchange.tick(SYMBOL, world.mark)
        self._every(400, self._tick)
        self._every(rng.choice([1_500, 4_000]), self._features)
        self._every(SWEEP_MS, lambda: world.as_worker("sweep", world.services.sweep.run_once))
        self._every(SWEEP_MS, lambda: world.as_worker("treasury sweep", lambda: world.services.treasury.sweep()))
        self._every(1_500, lambda: world.as_worker("", lambda: world.services.relay.run()))
        self._every(1_000, self._listen)
        self._every(5_000, lambda: world.as_listener("", lambda: world.listener.keeper._refresh()))
        self._every(3_000, self._acknowledge)
        for number in range(self.profile.crowd or rng.choice([1, 1, 2, 3])):
            self._entries(f"p{number + 1}")
        self._operators()
        self._treasury()
        self._outages()
        self._oddities()

    def _every(self, ms: int, act: object) -> None:
        assert callable(act)

        def again() -> None:
            act()
            self.world.kernel.at(ms, "", again)

        self.world.kernel.at(self.rng.randint(1, ms), "", again)

    def _listen(self) -> None:
        world = self.world
        world.as_listener("", lambda: world.listener.rest._look())
        world.as_listener("", lambda: world.listener.reconciliation.look())
        world.as_listener("", lambda: world.services.results.give_up_overdue())

    def _tick(self) -> None:
        rng, world = self.rng, self.world
        if self._still() or (world.kernel.now > self._calm_from and rng.random() < 0.5):
            world.tick(world.mark)  # so that what was begun comes to its end
            return
        if rng.random() < 0.05 and not self.profile.trend:
            self._drift = rng.choice([-1, 0, 1])
        move = Decimal(rng.randint(-15, 15) + 6 * self._drift) / 10
        if rng.random() < 0.04 and not self.profile.trend:
            move = Decimal(rng.choice([-180, -60, -30, 30, 60])) / 10
        world.tick(max(world.mark + move, Decimal(100)))

    def _still(self) -> bool:
        return self.world.kernel.now > self._calm_from + self._calm_ms - STILL_MS

    def _features(self) -> None:
        rng = self.rng
        if self._still():
            return
        fields = {"atr": rng.choice(["2", "4", "9"]), "regime": rng.choice(["LOW", "NORMAL", "NORMAL", "HIGH"])}
        if self.profile.trend < 0:  # the stops far away, so that there is something to reduce
            fields = {"atr": "15", "regime": "HIGH"}
        if rng.random() < 0.6:
            self._signals += 1
            fields |= {"signal": rng.choice(["LONG", "SHORT"]), "signal_id": f"s{self._signals}"}
            if rng.random() < self.world.faults.profile.old_signal:
                fields["ts"] = str(self.world.kernel.now - rng.randint(1, 6_000))
        self.world.features(fields)

    def _acknowledge(self) -> None:
        self.world.alerts.standing = 0

    def _entries(self, name: str) -> None:
        rng, world = self.rng, self.world
        market = "SPOT" if rng.random() < 0.2 and not self.profile.trend else "FUT"
        side = "LONG" if market == "SPOT" or self.profile.trend else rng.choice(["LONG", "SHORT"])
        leverage = Decimal(1) if market == "SPOT" else rng.choice([Decimal(5), Decimal(10)])
        position = XPosition(name, SYMBOL, market, side, leverage)
        begin = rng.randint(0, 4_000)
        world.kernel.at(begin, "", lambda: world.enter(position, rng.choice(QTYS), rng.choice([1, 1, 2, 3])))
        if rng.random() < 0.4:
            world.kernel.at(begin + rng.randint(300, 9_000), "", partial(self._enter_more, position))
        if rng.random() < 0.5:
            self._every(2_000, partial(self._enter_anew, position))
        if rng.random() < 0.4:
            share = rng.choice([Decimal("0.3"), Decimal("0.9"), Decimal(1)])
            world.kernel.at(begin + rng.randint(500, 12_000), "", partial(world.close_by_hand, name, share))

    def _enter_more(self, position: XPosition) -> None:
        if position.qty:
            with exactly():
                qty = max(position.qty // (2 * STEP) * STEP, STEP)
            self.world.enter(position, qty, self.rng.choice([1, 2]))

    def _enter_anew(self, position: XPosition) -> None:
        """The next life, as soon as S6 shows the last one closed."""
        world = self.world
        name = position.position_id
        known = world.redis.do_hget(keys.state(name), "status")
        if known is None and world.redis.do_zscore(keys.GONE, name) is not None:
            known = "CLOSED"
        waits = position.position_id in world.waiting.values()
        idle = not world.exchange.live_orders(position.position_id)
        over = world.kernel.now > self._calm_from + 4_000
        if known == "CLOSED" and not position.qty and not waits and idle and not over and self.rng.random() < 0.5:
            world.enter(position, self.rng.choice(QTYS), self.rng.choice([1, 2]))

    def _operators(self) -> None:
        rng, world = self.rng, self.world
        if rng.random() < 0.5:
            for _ in range(rng.randint(1, 4)):
                word = rng.choice(["PAUSE", "RESUME", "EVAL", "PLAN", "EXIT"])
                world.kernel.at(rng.randint(1_000, TROUBLE_MS), "", partial(self._say, word, "p1"))
        if rng.random() < 0.3:
            bundle = rng.choice(BUNDLES)
            world.kernel.at(rng.randint(0, TROUBLE_MS), "", lambda: world.bundles.put(bundle, world.kernel.now))

    def _say(self, word: str, position_id: str) -> None:
        world = self.world
        position = world.exchange.positions.get(position_id)
        market = position.market if position else "FUT"
        commands = world.services.commands
        if word == "EXIT":  # people need not wait
            world.exchange.exits_refused.pop(position_id, None)
        world.as_worker(
            f"operator: {word} {position_id}",
            lambda: commands.execute(position_id, SYMBOL, market, word, "op", "test"),
        )

    def _treasury(self) -> None:
        rng, world = self.rng, self.world
        if rng.random() < 0.5:
            return
        treasury = world.services.treasury
        self._every(2_500, lambda: world.as_worker("treasury check", lambda: treasury.check()))
        for number in range(2):
            name, amount = rng.choice([None, f"t{number}"]), rng.choice([None, Decimal(50)])
            mode = rng.choice(["AUTO", "SEMI", None])
            where = {"src": "SPOT", "dst": "FUT", "asset": "USDT"}
            ask: Task = partial(treasury.trigger, transfer_id=name, amount=amount, mode=mode, **where)
            for _ in range(rng.choice([1, 2])):
                world.kernel.at(rng.randint(0, 9_000), "", partial(world.as_worker, "treasury trigger", ask))
        self._every(2_500, self._decide)

    def _decide(self) -> None:
        world, rng = self.world, self.rng
        for name in world.approvers.asked:
            record = world.store.moved.get(name)
            if record is not None and record["status"] == "PENDING" and rng.random() < 0.6:
                verdict = world.services.treasury.approve if rng.random() < 0.7 else world.services.treasury.reject
                world.as_worker(f"{verdict.__name__} {name}", partial(verdict, name, "ann"))

    def _outages(self) -> None:
        profile, rng = self.profile, self.rng
        if profile.s4_down or profile.long_rest:
            self._down("s4", rng.choice([800, 4_000]))
        if profile.redis_down:
            self._down("redis", rng.choice([300, 2_000]))
        if profile.store_down:
            self._down("store", rng.choice([2_000, 9_000]))
        if profile.stale:
            self._down("feed", 7_000)
        losses = Losses(self.world, START_MS + TROUBLE_MS - 2_000)
        if profile.wipe:
            self._every(500, losses.wipe)
        if profile.failover:
            self._every(500, losses.fail_over)

    def _oddities(self) -> None:
        profile, rng, world = self.profile, self.rng, self.world
        kernel = world.kernel
        if profile.foreign:
            for _ in range(rng.randint(1, 4)):
                name, share = f"p{rng.choice([1, 1, 2])}", rng.choice([Decimal("0.2"), Decimal("0.5"), Decimal(1)])
                kernel.at(rng.randint(2_000, TROUBLE_MS), "", partial(world.close_by_hand, name, share))
        if profile.spell:
            begin = START_MS + rng.randint(500, 7_000)
            world.exchange.spells.begin, world.exchange.spells.end = begin, begin + rng.choice([3_000, 7_000, 12_000])
        if profile.terms:
            former, at = world.bundles.bundle, rng.randint(1_500, 7_000)
            back = at + rng.choice([1_500, 6_000, 20_000])
            kernel.at(at, "", partial(self._change_terms, CHANGED[profile.terms]))
            kernel.at(back, "", partial(self._change_terms, former))
            self._calm_ms = max(self._calm_ms, back + SET_RIGHT_MS - TROUBLE_MS)
        if profile.set_back:
            at = rng.randint(2_000, 8_000)
            kernel.at(at, "", partial(self._set_back, HOUR_MS))
            kernel.at(at + rng.choice([1_500, 5_000, 20_000]), "", partial(self._set_back, -HOUR_MS))
            self._calm_ms += SET_RIGHT_MS
        if profile.meddling:
            self._every(200, self._meddle)

    def _change_terms(self, bundle: ActiveBundle) -> None:
        self.world.kernel.note(f"---- bundle {bundle.version}")
        self.world.faults.disturb(0)
        self.world.bundles.put(bundle, self.world.kernel.now)

    def _set_back(self, ms: int) -> None:
        self.world.kernel.note(f"---- the workers' clock is set back by {ms} ms")
        self.world.faults.disturb(1_000)
        self.world.clock.set_back("worker", ms)

    def _meddle(self) -> None:
        """People act while an add waits, and write off what the exchange has closed and S6 has not heard of.

        They do so when S6 has heard of all that was opened: what comes later would begin a life that never was.
        """
        world, rng = self.world, self.rng
        for name, theirs in world.exchange.positions.items():
            op = world.redis.do_hgetall(keys.operation(name))
            if op.get("kind") == "ADD" and op["attempts"] != "0" and rng.random() < 0.5:
                self._say(rng.choice(["EXIT", "PAUSE"]), name)
            known = world.redis.do_hgetall(keys.state(name))
            heard = known and Decimal(known["q0"]) + Decimal(known["added_qty"]) == theirs.q0 + theirs.added
            if heard and known["status"] == "OPEN" and not theirs.qty and rng.random() < 0.3:
                world.written_off.add(name)
                self._say("WRITE_OFF", name)

    def _down(self, name: str, ms: int) -> None:
        world, rng = self.world, self.rng

        def go() -> None:
            world.kernel.note(f"---- {name} is away for {ms} ms")
            world.faults.down[name] = world.kernel.now + ms
            rest = DAY_MS if self.profile.long_rest else rng.choice([None, 1_000])
            world.faults.retry_after[name] = rest  # type: ignore[assignment]
            world.faults.disturb(ms + 1_000 + (LONGEST_MS if self.profile.long_rest else 0))

        world.kernel.at(rng.randint(1_000, TROUBLE_MS - 4_000), "", go)


def run(seed: int, profile: Profile | None = None) -> Scenario:
    """Play one seed."""
    return Scenario(seed, profile).run()
