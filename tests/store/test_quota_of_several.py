"""Several processes use one quota: by commits and without, late, lost and given back, by clocks that are apart."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from django.db import connections
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reliable_email.classification import Cause
from reliable_email.delivery import quota
from reliable_email.delivery.breaker import LONGEST_SECONDS
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent, answering_from_memory
from reliable_email.delivery.submission import Priority
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows import reservations
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.journal import Intent, Request, commit_together
from reliable_email.outbox.rows.reservations import Reserve
from reliable_email.outbox.rows.transitions import Delivery
from reliable_email.providers import Quota
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.shared import RouteState
from reliable_email.store.tables.states import PriorityRank, State
from tests.outbox.network import Network
from tests.thoroughness import examples

NOW: Final = 1_800_000_000.0
SKEW: Final = 1.0  # how far each host's idea of the database's clock is from it, at most
MINUTE: Final = Quota(window_seconds=60, limit=20, unit="messages")
HOUR: Final = Quota(window_seconds=3600, limit=60)
DAY: Final = Quota(window_seconds=86_400, limit=150)
# Of the last ones some are taken ahead.
QUOTAS: Final = (
    (HOUR,),
    (MINUTE, HOUR, DAY),
    (replace(HOUR, limit=700), replace(DAY, limit=1500)),
)
HIGH: Final = Priority.HIGH
NOBODY: Final = Claimed(
    id=-1,
    message_id=-1,
    position=0,
    address="nobody@example.com",
    mailer="routes",
    priority=PriorityRank.NORMAL,
    attempts=0,
    crashes=0,
    pinned_route="",
    refused_by=[],
    is_over=False,
    delivery=Delivery(state=State.CLAIMED, claim=1),
)


class Clocked(DatabaseRouteStateStore):
    """A process whose clock is the test's."""

    def __init__(self, using: str, clock: Callable[[], float]) -> None:
        super().__init__(using)
        self._clock = clock

    def _now(self) -> float:
        return self._clock()

    def poll(self, route: Route) -> None:
        """Read the row, however new is what is known."""
        self._look(route, max_age_seconds=0.0)


Moment = float | tuple[Quota, int, float]  # seconds; or so many buckets of a window later, and an offset

processes = st.integers(0, 1)
moments: st.SearchStrategy[Moment] = st.one_of(
    st.sampled_from([0.0, 0.1, 149.0, 3600.0]),
    st.tuples(
        st.sampled_from([MINUTE, HOUR, DAY]), st.sampled_from([1, 12, 24, 25]), st.sampled_from([-0.001, 0.0, 0.001])
    ),
)
priorities = st.sampled_from([Priority.HIGH, Priority.HIGH, Priority.NORMAL, Priority.BULK])
messages = st.lists(st.integers(1, 25), min_size=1, max_size=4)


@dataclass
class Sent:
    """What was permitted."""

    at: float  # by the database's clock
    noted_at: float  # by the process's
    store: Clocked
    route: Route
    priority: Priority
    count: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.count


class Together(RuleBasedStateMachine):
    """Processes share a ledger as they share its row; a list of all that was permitted knows better.

    Attributes:
        skews: of the processes' clocks.
        limits: of each process, by window: it may have been configured anew, and the others not yet.
    """

    using = ""

    def __init__(self) -> None:
        super().__init__()
        RouteState.objects.using(self.using).all().delete()
        reservations.reset()
        self.now = NOW
        self.skews: list[float] = []
        self.stores: list[Clocked] = []
        self.routes: list[Route] = []
        self.sent: list[Sent] = []
        self.seen = 0  # of these when all was written for the last time
        self.is_exact = True  # nothing was taken ahead and lost with its process

    @initialize(
        skews=st.one_of(st.just([0.0, 0.0]), st.lists(st.floats(-SKEW, SKEW), min_size=2, max_size=2)),
        quotas=st.sampled_from(QUOTAS),
    )
    def start(self, skews: list[float], quotas: tuple[Quota, ...]) -> None:
        """Two processes."""
        self.skews = skews
        self.stores = [self._store(number) for number in range(2)]
        self.routes = [Network().route(fingerprint="one", quotas=quotas)] * 2

    def _store(self, number: int) -> Clocked:
        return Clocked(self.using, lambda: self.now + self.skews[number])

    @rule(moment=moments)
    def wait(self, moment: Moment) -> None:
        """Time passes; often until the very moment at which a bucket ends."""
        if isinstance(moment, float):
            self.now += moment
        else:
            window, buckets, offset = moment
            bucket = window.window_seconds / quota.BUCKETS
            self.now = max((self.now // bucket + buckets) * bucket + offset, self.now)

    @rule(process=processes, counts=messages, priority=priorities)
    def deliver(self, process: int, counts: list[int], priority: Priority) -> None:
        """A worker's lines charge the quota by the commit that permits, and by itself where somebody was quicker."""
        store, route = self.stores[process], self.routes[process]
        wanted = [Reserve(store=store, route=route, count=count, priority=priority) for count in counts]
        intents = [Intent(recipients=[NOBODY], route=route.alias, reserve=one) for one in wanted]
        [written] = commit_together(self.using, [Request(intents=intents)], keyring=Keyring())
        answers = list(zip(counts, written.reserved, strict=True))
        self._permitted(process, [count for count, is_taken in answers if is_taken], priority)
        self.send(process, [count for count, is_taken in answers if not is_taken], priority)

    @rule(process=processes, before=moments, after=moments)
    def use_up(self, process: int, before: Moment, after: Moment) -> None:
        """All that is left goes at one moment; then somebody wants more."""
        self.wait(before)
        store, route = self.stores[process], self.routes[process]
        store.poll(route)
        self.send(process, [store.room(route, priority=HIGH) or 1], HIGH)
        self.wait(after)
        self.send(1 - process, [1, 10], HIGH)

    @rule(process=processes, counts=messages, priority=priorities)
    def send(self, process: int, counts: list[int], priority: Priority) -> None:
        """Messages go at once, one after the other."""
        store, route = self.stores[process], self.routes[process]
        for count in counts:
            if store.reserve(route, count, priority=priority):
                self._permitted(process, [count], priority)
            else:
                self._refused(process, count, priority)

    def _permitted(self, process: int, counts: Sequence[int], priority: Priority) -> None:
        store, route = self.stores[process], self.routes[process]
        self.sent += [Sent(self.now, store.now(), store, route, priority, count) for count in counts]
        if not counts:
            return
        for one in route.quotas:
            window = one.window_seconds - (max(self.skews) - min(self.skews))
            used = self._used_since(self.now - window, one)
            assert used <= one.limit, f"{used} of {one.limit} in {one.window_seconds} s"
            # What was taken ahead, when there was room, may go after urgent mail has used what is kept for it.
            likewise = self._used_since(self.now - window, one, unless=HIGH)
            allowed = max(int(one.limit * quota.SHARES[priority]), 1)
            assert likewise <= allowed or priority is HIGH, f"{likewise} of {allowed} in {one.window_seconds} s"

    def _refused(self, process: int, count: int, priority: Priority) -> None:
        """There is no room by the row; where nothing is lost, given back or learned, neither is there by the list."""
        store, route = self.stores[process], self.routes[process]
        store.poll(route)
        ledger, now = store.ledger(route), store.now()
        rooms = {one: quota.left(ledger, one, now=now, priority=priority) for one in route.quotas}
        assert any(room < (count if one.unit == "recipients" else 1) for one, room in rooms.items())

    def _used_since(self, moment: float, of: Quota, *, unless: Priority | None = None) -> int:
        meant = (one for one in self.sent if one.at > moment and one.priority is not unless)
        return sum(one.left if of.unit == "recipients" else 1 for one in meant)

    @precondition(lambda self: any(one.left for one in self.sent))
    @rule(data=st.data(), moment=moments, is_later=st.booleans())
    def give_back(self, data: st.DataObject, moment: Moment, *, is_later: bool) -> None:
        """Some of it was not used; a process that may not write now notes it."""
        self.wait(moment)
        one = data.draw(st.sampled_from([one for one in self.sent if one.left]))
        used = data.draw(st.integers(0, one.left - 1))
        process = self.stores.index(one.store) if one.store in self.stores else None
        if process is None:
            return  # it has died with what it knew
        with answering_from_memory() if is_later else nullcontext():
            one.store.settle(one.route, reserved=one.left, used=used, reserved_at=one.noted_at)
        one.left = used

    @precondition(lambda self: self.sent)
    @rule(process=processes)
    def poll(self, process: int) -> None:
        """It looks at the row."""
        self.stores[process].poll(self.routes[process])

    @precondition(lambda self: self.sent)
    @rule(process=processes)
    def end_well(self, process: int) -> None:
        """A worker ends, and gives back what it has taken ahead; another one begins."""
        reservations.give_back(self.stores[process])
        self.stores[process].flush()
        assert not self.stores[process].is_behind
        self.stores[process] = self._store(process)

    @invariant()
    def is_never_less_than_nothing(self) -> None:
        """Whatever is given back."""
        for row in RouteState.objects.using(self.using).all():
            assert all(count > 0 for _, _, count in row.ledger.get("counts", []))

    @precondition(lambda self: len(self.sent) > self.seen)
    @rule()
    def all_see_the_same_after_a_look(self) -> None:
        """Once nobody has anything to write or to give back; and that is what was permitted, neither more nor less."""
        self.seen = len(self.sent)
        for store in self.stores:
            reservations.give_back(store)
            store.flush()
        for store, route in zip(self.stores, self.routes, strict=True):
            store.poll(route)
        assert not any(store.is_behind for store in self.stores)
        ledgers = [store.ledger(route) for store, route in zip(self.stores, self.routes, strict=True)]
        assert ledgers[1:] == ledgers[:-1]
        if self.is_exact and not any(self.skews):
            for one in self.routes[0].quotas:
                if one.unit == "recipients":
                    oldest = int(self.now * quota.BUCKETS // one.window_seconds) - quota.BUCKETS
                    counted = [
                        sent.left
                        for sent in self.sent
                        if int(sent.noted_at * quota.BUCKETS // one.window_seconds) >= oldest
                    ]
                    assert quota.used(ledgers[0], one, now=self.now) == sum(counted)

    def teardown(self) -> None:
        """In the end, too."""
        if self.stores:
            self.all_see_the_same_after_a_look()


class Operated(Together):
    """The same, and limits are changed, told otherwise by the provider, and processes die."""

    @rule(process=processes, factor=st.sampled_from([0.2, 0.5, 1.5, 3.0]), data=st.data())
    def configure(self, process: int, factor: float, data: st.DataObject) -> None:
        """A limit is raised or lowered, in this process first."""
        route = self.routes[process]
        changed = data.draw(st.sampled_from(route.quotas))
        quotas = [
            replace(one, limit=max(int(one.limit * factor), 1)) if one == changed else one for one in route.quotas
        ]
        self.routes[process] = replace(route, quotas=tuple(quotas))

    @rule(process=processes)
    def die(self, process: int) -> None:
        """What it had taken ahead, or was about to give back, counts as used."""
        self.is_exact = False
        self.stores[process] = self._store(process)

    @rule(process=processes, seconds=st.sampled_from([None, 0.0, 60.0, 7200.0, 9e9]), is_old=st.booleans())
    def contradict(self, process: int, seconds: float | None, *, is_old: bool) -> None:
        """The provider says enough before the limit is reached; or it did, to a transaction of an earlier opening."""
        store, route = self.stores[process], self.routes[process]
        store.poll(route)
        before, opening = store.ledger(route), store.read(route).number
        failure = replace(local_failure(Cause.QUOTA_EXCEEDED, "550 enough"), retry_after=seconds)
        store.tell(route, RouteEvent(failure=failure, effect=Effect.EXHAUSTED, opening=opening - is_old))
        ledger, now = store.ledger(route), store.now()
        if is_old:
            assert ledger == before, "it is of the account as it was"
            return
        window = max(one.window_seconds for one in route.quotas)
        until = ledger.limits_until[window]
        longest = min(3600.0 if seconds is None else seconds, LONGEST_SECONDS, window)
        earlier = store.read(route).until  # somebody may have been told of a later time before
        assert until <= now + window
        assert until <= max(now + longest, earlier) + 0.001
        if until > now:
            assert store.room(route, priority=HIGH) == 0
        for number, other in enumerate(self.stores):
            other.poll(self.routes[number])
            assert other.ledger(self.routes[number]).limits_until[window] == until

    @rule(process=processes)
    def resume(self, process: int) -> None:
        """Somebody knows that the provider takes mail again: what was configured holds, what was used stays used."""
        store, route = self.stores[process], self.routes[process]
        store.poll(route)
        before = store.ledger(route).counts
        store.resume(route)
        assert (store.ledger(route).counts, dict(store.ledger(route).limits)) == (before, {})


@pytest.mark.parametrize("machine", [Together, Operated])
def test_no_window_ever_has_more_than_its_limit(using: str, machine: type[Together]) -> None:
    """By the database's clock, whoever takes, gives back, ends, dies, or is told otherwise."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")  # nothing here is about a machine that dies
    here = type(machine.__name__, (machine,), {"using": using})
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        here,
        settings=settings(
            max_examples=examples(50), stateful_step_count=30, deadline=None, suppress_health_check=quiet
        ),
    )
    reservations.reset()
