"""Several processes remember one route together: random events, in any order, by clocks that are apart."""

from dataclasses import dataclass, replace
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reliable_email.classification import Cause
from reliable_email.delivery import breaker
from reliable_email.delivery.breaker import (
    LEARNED_SECONDS,
    LONGEST_SECONDS,
    MAX_OPEN_SECONDS,
    SENDER_SECONDS,
    BreakerState,
    Permission,
    Phase,
    is_sender_closed,
    permission,
    sender_at,
)
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route_memory import RouteEvent, apply_event
from reliable_email.smtp.stages import Stage
from tests.delivery.test_route_memory import NOW, replies, said
from tests.thoroughness import examples

SKEW: Final = 20.0  # how far each process's clock is from the true time, at most
SENDERS: Final = ("one.example", "two.example")
RECEIVERS: Final = ("there.example", "elsewhere.example")
_OPENS: Final = frozenset({Effect.COUNT, Effect.OPEN, Effect.BLOCKED, Effect.EXHAUSTED})
# How long each kind of failure closes a route for by itself, at most: the two of a reply that names no time, too.
_PAUSES: Final = {
    Effect.COUNT: MAX_OPEN_SECONDS,
    Effect.OPEN: breaker.LOGIN_PROBE_SECONDS,
    Effect.BLOCKED: breaker.BLOCKED_SECONDS,
    Effect.EXHAUSTED: breaker.EXHAUSTED_SECONDS,
    Effect.SLOW_DOWN: breaker.MAX_SLOW_SECONDS,
    Effect.FEWER_CONNECTIONS: breaker.MAX_LOGIN_SECONDS,
}


@dataclass
class Flight:
    """A transaction under way."""

    process: int
    opening: int
    is_probe: bool
    sender: str


class Together(RuleBasedStateMachine):
    """Processes with clocks of their own share one state, as they share its row."""

    def __init__(self) -> None:
        super().__init__()
        self.state = BreakerState()
        self.now = NOW
        self.skews = [0.0]
        self.flights: list[Flight] = []
        self.logins: list[float] = []  # when a route whose login was refused was asked all the same
        self.closed_at: dict[str, float] = {}  # when a sender was refused for the last time, by the key of the state
        self.sizes: list[tuple[float, int]] = []  # when messages were too large, and how large
        self.counts: list[tuple[float, int]] = []  # when recipients were too many, and how many had been taken

    @initialize(skews=st.lists(st.floats(-SKEW, SKEW), min_size=2, max_size=4))
    def clocks(self, skews: list[float]) -> None:
        """Each process has its own."""
        self.skews = skews

    def clock(self, process: int) -> float:
        """What a process thinks that the time is."""
        return self.now + self.skews[process % len(self.skews)]

    @rule(seconds=st.sampled_from([0.1, 1.0, 14.0, 61.0, 901.0, 3700.0, 86400.0, LEARNED_SECONDS]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(process=st.integers(0, 3), sender=st.sampled_from(SENDERS))
    def begin(self, process: int, sender: str) -> None:
        """A message wants to go."""
        now = self.clock(process)
        answer = permission(self.state, now=now, sender_domain=sender)
        if answer is Permission.NO:
            return
        if answer is Permission.PROBE:
            others = [one for one in self.flights if one.is_probe and self.state.probe_until > self.now + 2 * SKEW]
            assert not others, "two probes at once"
            if self.state.reason is Cause.AUTH_FAILED:
                self.logins.append(self.now)
            self.state = breaker.begin_probe(self.state, now=now)
        self.flights.append(Flight(process, self.state.number, answer is Permission.PROBE, sender))

    @rule(process=st.integers(0, 3))
    def hurry(self, process: int) -> None:
        """Mail waits."""
        hurried = breaker.hurried(self.state)
        assert hurried.until <= self.state.until
        assert hurried.until >= min(self.state.until, self.state.asked_until), "sooner than the server asked for"
        self.state = hurried

    @rule(by=st.sampled_from(["ann", ""]))
    def operate(self, by: str) -> None:
        """Somebody pauses the route, or puts it back."""
        self.state = breaker.pause(self.state, by=by, now=self.now) if by else breaker.resume(self.state)
        if not by:
            self.closed_at.clear()
            self.logins.clear()

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), stage=st.sampled_from(Stage), words=st.one_of(st.none(), replies))
    def end(self, data: st.DataObject, stage: Stage, words: str | None) -> None:
        """One of those under way is answered: in a server's words, or by its having taken the message."""
        flight = self._landed(data)
        now = self.clock(flight.process)
        event = RouteEvent(failure=None, sender_domain=flight.sender)
        if words is not None:
            event = replace(said(stage, words, now=now), sender_domain=flight.sender)
        self._tell(flight, replace(event, opening=flight.opening))

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), receivers=st.frozensets(st.sampled_from(RECEIVERS)))
    def refuse_the_sender(self, data: st.DataObject, receivers: frozenset[str]) -> None:
        """The route takes no mail of this sender, or some receivers behind it take none."""
        flight = self._landed(data)
        effect = Effect.CLOSE_SENDER_THERE if receivers else Effect.CLOSE_SENDER
        failure = local_failure(Cause.SENDER_NOT_AUTHENTICATED, "no")
        is_new = flight.opening >= self.state.number
        self._tell(
            flight,
            RouteEvent(
                failure=failure,
                effect=effect,
                sender_domain=flight.sender,
                receivers=receivers,
                opening=flight.opening,
            ),
        )
        if is_new:
            keys = [sender_at(flight.sender, one) for one in receivers] or [flight.sender]
            self.closed_at |= dict.fromkeys(keys, self.clock(flight.process))

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), size=st.integers(0, 50), taken=st.integers(0, 50), is_size=st.booleans())
    def learn(self, data: st.DataObject, size: int, taken: int, *, is_size: bool) -> None:
        """A message was too large, or had too many recipients."""
        flight = self._landed(data)
        cause, effect = (
            (Cause.MESSAGE_TOO_LARGE, Effect.LEARN_SIZE)
            if is_size
            else (Cause.TOO_MANY_RECIPIENTS, Effect.LEARN_RECIPIENTS)
        )
        is_new = flight.opening >= self.state.number
        self._tell(
            flight,
            RouteEvent(
                failure=local_failure(cause, "too much"),
                effect=effect,
                sender_domain=flight.sender,
                recipients=taken,
                message_bytes=size,
                opening=flight.opening,
            ),
        )
        if is_new and is_size and size > 1:
            self.sizes.append((self.clock(flight.process), size))
        if is_new and not is_size and taken:
            self.counts.append((self.clock(flight.process), taken))

    def _landed(self, data: st.DataObject) -> Flight:
        return self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))

    def _tell(self, flight: Flight, event: RouteEvent) -> None:
        """The event's process writes it, and whatever it says holds for all of them."""
        now, before = self.clock(flight.process), self.state
        after = self.state = apply_event(before, event, now=now)
        if after.phase is Phase.CLOSED:
            self.logins.clear()
        if event.failure is None and flight.opening >= before.number:
            self.closed_at.pop(flight.sender, None)
        opened = before.phase is Phase.CLOSED and after.phase is Phase.OPEN
        assert after.number == before.number + opened
        if flight.opening < before.number:
            assert replace(after, until=before.until, asked_until=before.asked_until) == before
            assert after.until >= before.until
        has_failed = before.phase is Phase.HALF_OPEN and event.effect in _OPENS and flight.opening >= before.number
        stands = before.reason is Cause.AUTH_FAILED and event.effect is Effect.COUNT  # it did not come to the login
        if after.phase is not Phase.CLOSED:
            assert after.failed_probes == before.failed_probes + (has_failed and not stands)
        if before.phase is Phase.PAUSED:
            assert (after.phase, after.paused_by) == (Phase.PAUSED, before.paused_by)
        self._check_times(before, after, event, now)

    def _check_times(self, before: BreakerState, after: BreakerState, event: RouteEvent, now: float) -> None:
        """Nothing is closed for longer than was said, or than its own kind of failure closes it."""
        named = 0.0 if event.failure is None else (event.failure.retry_after or 0.0)
        if event.failure is not None and event.failure.retry_at is not None:
            named = max(named, event.failure.retry_at.timestamp() - now, 1.0)
        own = _PAUSES.get(event.effect, 0.0)
        if before.reason is Cause.AUTH_FAILED:
            own = max(own, breaker.LOGIN_PROBE_SECONDS)
        longest = now + max(min(named, LONGEST_SECONDS), own) + 0.001
        assert after.until <= max(before.until, before.asked_until, longest)
        assert after.slow_until <= max(before.slow_until, longest)
        assert all(
            until <= now + SENDER_SECONDS for key, until in after.closed_senders.items() if key not in self.closed_at
        )
        touched = {Effect.CLOSE_SENDER, Effect.CLOSE_SENDER_THERE, Effect.LEARN_SIZE, Effect.LEARN_RECIPIENTS}
        if event.effect in touched and before.phase in (Phase.CLOSED, Phase.OPEN):
            assert (after.phase, after.until, after.failures) == (before.phase, before.until, before.failures)

    @invariant()
    def comes_back(self) -> None:
        """Without a person it is asked again, in seven days at the latest, and for every sender."""
        later = self.now + LONGEST_SECONDS + 2 * SKEW
        if self.state.phase is not Phase.PAUSED:
            assert all(permission(self.state, now=later, sender_domain=one) is not Permission.NO for one in SENDERS)

    @invariant()
    def does_not_lock_the_account_out(self) -> None:
        """Between two tries of a refused login there is a quarter of an hour, give or take the clocks."""
        for first, second in zip(self.logins, self.logins[1:], strict=False):
            assert second - first >= 900.0 - 2 * SKEW

    @invariant()
    def keeps_senders_away_for_an_hour(self) -> None:
        """Those that were refused, there where they were refused, and nobody else."""
        for sender in SENDERS:
            for receiver in ("", *RECEIVERS):
                key = sender_at(sender, receiver) if receiver else sender
                is_closed = is_sender_closed(self.state, sender, now=self.now, receiver=receiver)
                at = self.closed_at.get(key, float("-inf"))
                if is_closed:
                    assert self.now < at + SENDER_SECONDS
                elif self.state.phase is not Phase.HALF_OPEN:
                    assert self.now >= at + SENDER_SECONDS - SKEW

    @invariant()
    def remembers_limits_for_a_week(self) -> None:
        """The smallest size that was refused, the last count that was taken: whatever opened and closed meanwhile."""
        size = breaker.max_message_bytes(self.state, now=self.now)
        # A later refusal may have been noted by a clock that is behind.
        recent = [one for at, one in self.sizes if at > self.now - LEARNED_SECONDS + 4 * SKEW]
        assert size is None or size == min(one - 1 for _, one in self.sizes if one - 1 >= size)
        if recent:
            assert size is not None
            assert 1 <= size < min(recent)
        count = breaker.max_recipients(self.state, now=self.now)
        if self.counts:
            at, last = self.counts[-1]
            assert count == (last if at > self.now - LEARNED_SECONDS else None)
        else:
            assert count is None


Together.TestCase.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)
TestTogether = Together.TestCase
