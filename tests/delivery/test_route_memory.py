"""What several processes remember of one route together, whatever their clocks say and whatever its server answers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliable_email.classification import Cause, classify
from reliable_email.delivery import breaker
from reliable_email.delivery.breaker import LONGEST_SECONDS, BreakerState, Permission, Phase, permission
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect, decide
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent, apply_event
from reliable_email.delivery.submission import Priority
from reliable_email.outbox.upkeep.standby import probe_standby
from reliable_email.providers import Quota
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from tests.outbox.network import Network
from tests.thoroughness import examples

NOW = 1_800_000_000.0
TROUBLE = RouteEvent(failure=local_failure(Cause.DISCONNECTED, "gone"), effect=Effect.COUNT)


def told(*events: RouteEvent, state: BreakerState | None = None, now: float = NOW) -> BreakerState:
    """The state after these events."""
    state = state or BreakerState()
    for event in events:
        state = apply_event(state, event, now=now)
    return state


def at(event: RouteEvent, opening: int) -> RouteEvent:
    """The event of a transaction that began at this opening."""
    return replace(event, opening=opening)


def said(stage: Stage, words: str, *, now: float = NOW, opening: int | None = None) -> RouteEvent:
    """What a server's words tell of the route."""
    wire = WireFailure(stage=stage, kind=FailureKind.REFUSED, detail="", reply=parse_reply(words))
    failure = classify(wire, now=datetime.fromtimestamp(now, UTC))
    return RouteEvent(failure=failure, effect=decide(failure).effect, opening=opening)


def test_many_connections_that_fail_together_are_one_opening() -> None:
    """Three open the route; what else was under way then neither opens it again nor doubles the time."""
    state = told(*[at(TROUBLE, 0)] * 10)
    assert (state.number, state.failed_probes, state.until - NOW) == (1, 0, 15.0)
    late = told(*[at(TROUBLE, 0)] * 5, state=breaker.begin_probe(state, now=NOW + 15), now=NOW + 16)
    assert (late.phase, late.number) == (Phase.HALF_OPEN, 1), "the probe alone says whether it is back"


def test_failures_without_a_number_do_not_double_an_open_route_either() -> None:
    """Somebody who had no other way asked a route that was open, and was no probe."""
    state = told(*[TROUBLE] * 10)
    assert (state.number, state.until - NOW) == (1, 15.0)


def test_a_success_that_began_before_the_opening_does_not_close_it() -> None:
    """Its connection was accepted before the server went."""
    state = told(*[at(TROUBLE, 0)] * 3)
    assert told(RouteEvent(failure=None, opening=0), state=state) == state
    assert told(RouteEvent(failure=None, opening=1), state=state).phase is Phase.CLOSED


def test_an_older_failure_counts_nothing_after_the_route_came_back() -> None:
    """It is about the outage that is over."""
    back = told(*[TROUBLE] * 3, RouteEvent(failure=None))
    assert told(*[at(TROUBLE, 0)] * 5, state=back) == back
    assert told(*[at(TROUBLE, 1)] * 3, state=back).number == 2


def test_an_older_failure_may_name_a_time_that_is_kept() -> None:
    """Quota and block are known from whoever heard of them."""
    state = told(*[at(TROUBLE, 0)] * 3)
    words = "550 5.4.5 Daily sending quota exceeded, try again in 3600 seconds"
    longer = told(said(Stage.MAIL, words, opening=0), state=state)
    assert (longer.until - NOW, longer.reason) == (3600.0, Cause.DISCONNECTED)
    assert told(said(Stage.MAIL, "554 5.7.1 your IP is listed at a blocklist", opening=0), state=state) == state
    assert breaker.hurried(longer) == longer


def test_waiting_mail_shortens_the_pause_to_a_minute_and_no_further_than_was_asked() -> None:
    """After some failed probes of a long outage."""
    state, now = told(*[TROUBLE] * 3), NOW
    for _ in range(8):
        now = state.until
        state = told(TROUBLE, state=breaker.begin_probe(state, now=now), now=now)
    assert (state.until - now, state.number) == (900.0, 1)
    assert breaker.hurried(state).until - now == 60.0
    probing = breaker.begin_probe(state, now=now)
    asked = told(said(Stage.GREETING, "421 4.3.2 try again in 300 seconds", now=now), state=probing, now=now)
    assert breaker.hurried(asked).until - now == 300.0


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage.AUTH, "535 5.7.8 bad password"),
        (Stage.MAIL, "550 5.4.5 Daily user sending quota exceeded"),
        (Stage.GREETING, "554 5.7.1 your IP is listed at a blocklist, service refused"),
    ],
)
def test_waiting_mail_hurries_no_login_no_quota_and_no_block(stage: Stage, words: str) -> None:
    """Asking more often would make those worse."""
    state = told(said(stage, words))
    assert state.phase is Phase.OPEN
    assert breaker.hurried(state) == state


def test_a_refused_login_is_tried_after_a_quarter_of_an_hour_and_then_once_an_hour() -> None:
    """Also where a probe does not come as far as the login."""
    refused = said(Stage.AUTH, "535 5.7.8 bad password")
    state, now, waits = told(refused), NOW, []
    for event in (refused, TROUBLE, refused, said(Stage.AUTH, "454 4.7.0 too many login attempts")):
        waits.append(state.until - now)
        now = state.until
        state = told(event, state=breaker.begin_probe(state, now=now), now=now)
    assert [*waits, state.until - now] == [900.0, 3600.0, 3600.0, 3600.0, 3600.0]
    assert state.reason is Cause.AUTH_FAILED
    assert permission(breaker.with_configuration(state, "another"), now=now) is Permission.YES


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage.GREETING, "421 4.3.0 temporary system problem"),
        (Stage.GREETING, "451 4.3.0 temporary system problem"),
        (Stage.EHLO, "421 4.3.0 temporary system problem"),
        (Stage.AUTH, "451 Authentication failed: Maximum credits exceeded"),
        (Stage.GREETING, "554 5.7.1 your IP is listed at a blocklist, service refused"),
        (Stage.MAIL, "421 4.3.2 service shutting down"),
    ],
)
def test_a_standby_probe_looks_for_every_reason_that_a_login_can_see_gone(stage: Stage, words: str) -> None:
    """Whatever was said before the envelope, or by a server that went away."""
    now = [NOW]
    store = MemoryRouteStateStore(clock=lambda: now[0])
    looks: list[object] = []

    def look(deadline: object) -> None:
        looks.append(deadline)

    route = Network("standby").route(probe=look)
    for _ in range(3):
        store.tell(route, said(stage, words))
    assert store.read(route).phase is Phase.OPEN
    now[0] = store.read(route).until
    assert probe_standby([route], store=store, every_seconds=900.0) == 1
    assert store.read(route).phase is Phase.CLOSED


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_no_reply_to_a_standby_probe_closes_a_route_for_more_than_seven_days(moment: str) -> None:
    """Whatever it names."""
    store = MemoryRouteStateStore(clock=lambda: NOW)
    reply = parse_reply(f"550 5.7.1 your IP is blocked, try again after {moment}")
    wire = WireFailure(stage=Stage.GREETING, kind=FailureKind.REFUSED, detail="", reply=reply)
    route = Network("standby").route(probe=lambda deadline: wire)
    for _ in range(3):
        probe_standby([route], store=store, every_seconds=0.0)
    assert 0 < store.read(route).until - NOW <= LONGEST_SECONDS


def test_a_state_that_a_wrong_clock_wrote_closes_nothing_for_ever() -> None:
    """An instant further away than any can be was written by somebody who had the year wrong."""
    state = told(*[TROUBLE] * 3, now=NOW + 20 * 365 * 86400.0)
    assert permission(state, now=NOW) is Permission.PROBE
    slow = told(RouteEvent(failure=local_failure(Cause.RATE_LIMITED, ""), effect=Effect.SLOW_DOWN), now=NOW + 1e9)
    assert permission(slow, now=NOW) is Permission.YES


def test_a_quota_that_the_provider_calls_used_up_is_asked_again_when_it_says() -> None:
    """Its word lowers the limit until then, and no longer: the ledger must not outlast the breaker."""
    now = [NOW]
    store = MemoryRouteStateStore(clock=lambda: now[0])
    route = Network().route(quotas=(Quota(window_seconds=86400, limit=100),))
    assert store.reserve(route, 5, priority=Priority.HIGH)
    store.tell(route, said(Stage.MAIL, "550 5.4.5 Daily sending quota exceeded, try again in 600 seconds"))
    assert store.room(route, priority=Priority.HIGH) == 0
    now[0] += 601.0
    assert store.room(route, priority=Priority.HIGH) == 95


_TIMES = ["", ", try again in {n} seconds", ", retry in {n} days", ", try again after 2399-01-01T00:00:00Z"]
_SAYINGS = [
    "421 4.3.2 service not available",
    "451 4.3.0 temporary system problem",
    "535 5.7.8 bad password",
    "454 4.7.0 too many login attempts",
    "550 5.4.5 Daily user sending quota exceeded",
    "554 5.7.1 your IP is listed at a blocklist",
    "450 4.7.1 rate limit exceeded, slow down",
    "550 5.1.1 user unknown",
    "552 5.3.4 message too large",
]
replies = st.builds(
    lambda words, time, n: words + time.format(n=n),
    st.sampled_from(_SAYINGS),
    st.sampled_from(_TIMES),
    st.integers(0, 999_999),
)


@given(st.lists(st.tuples(st.sampled_from(Stage), replies, st.floats(0, 4000)), max_size=20))
@settings(max_examples=examples(200), deadline=None)
def test_random_replies_never_close_a_route_for_more_than_seven_days(told_: list[tuple[Stage, str, float]]) -> None:
    """Nor is it closed to probes at any moment after that."""
    state, now = BreakerState(), NOW
    for stage, words, passed in told_:
        now += passed
        if permission(state, now=now) is Permission.PROBE:
            state = breaker.begin_probe(state, now=now)
        state = told(said(stage, words, now=now), state=state, now=now)
        assert max(state.until, state.slow_until, *state.closed_senders.values(), 0.0) - now <= LONGEST_SECONDS
    assert permission(state, now=now + LONGEST_SECONDS) is not Permission.NO


_NAMES_A_TIME = st.sampled_from(
    [
        "550 5.4.5 Daily user sending quota exceeded, try again in {n} seconds",
        "554 5.7.1 your IP is listed at a blocklist, try again in {n} seconds",
        "421 4.3.2 service not available, try again in {n} seconds",
        "450 4.7.1 rate limit exceeded, retry in {n} seconds",
        "454 4.7.0 too many login attempts, wait {n} seconds",
    ]
)


@given(st.sampled_from(Stage), _NAMES_A_TIME, st.integers(0, 999_999), st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_a_reply_that_names_a_time_closes_a_route_for_no_longer(
    stage: Stage, words: str, seconds: int, is_used: bool
) -> None:
    """Neither its breaker nor what its quota's ledger has learned outlasts that time, or the pause of its own kind."""
    now = [NOW]
    store = MemoryRouteStateStore(clock=lambda: now[0])
    route = Network().route(quotas=(Quota(window_seconds=86400, limit=100),))
    if is_used:
        assert store.reserve(route, 5, priority=Priority.HIGH)
    event = said(stage, words.format(n=seconds))
    for _ in range(3 if event.effect is Effect.COUNT else 1):
        store.tell(route, event)
    named = event.failure is not None and event.failure.retry_after is not None
    own = {Effect.COUNT: 15.0, Effect.OPEN: 900.0, Effect.SLOW_DOWN: 1.0, Effect.FEWER_CONNECTIONS: 60.0}
    pause = 0.0 if named and event.effect not in own else own.get(event.effect, 0.0)
    longest = max(min(seconds, LONGEST_SECONDS), pause)
    now[0] += longest + 1.0
    assert permission(store.read(route), now=now[0]) is not Permission.NO
    assert (store.room(route, priority=Priority.HIGH) or 0) >= 95, "what was used, and nothing that was learned"
