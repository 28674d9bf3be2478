"""When a route is asked and when it is left alone, state by state."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.delivery.breaker import (
    LEARNED_SECONDS,
    MAX_OPEN_SECONDS,
    BreakerState,
    Permission,
    Phase,
    after_failure,
    after_success,
    begin_probe,
    max_message_bytes,
    max_recipients,
    pause,
    permission,
    resume,
    with_configuration,
)
from reliable_email.delivery.policy import Effect

NOW = 1_800_000_000.0


def failure(
    cause: Cause = Cause.CONNECT_FAILED, *, retry_after: float | None = None, retry_at: datetime | None = None
) -> Failure:
    """A failure of the route."""
    return Failure(
        cause=cause,
        scope=Scope.ROUTE,
        permanent=False,
        certain=True,
        retry_after=retry_after,
        retry_at=retry_at,
        detail="in its own words",
    )


def opened(times: int = 1, state: BreakerState | None = None, *, now: float = NOW) -> tuple[BreakerState, float]:
    """The state after so many openings in a row, and when the last one happened."""
    state = state or BreakerState()
    for _ in range(3):
        state = after_failure(state, Effect.COUNT, failure(), now=now)
    for _ in range(times - 1):
        now = state.until
        state = after_failure(begin_probe(state, now=now), Effect.COUNT, failure(), now=now)
    return state, now


def test_two_failures_in_a_row_are_nothing_and_the_third_opens() -> None:
    """With its evidence."""
    state = BreakerState()
    for _ in range(2):
        state = after_failure(state, Effect.COUNT, failure(), now=NOW)
        assert permission(state, now=NOW) is Permission.YES
    state = after_failure(state, Effect.COUNT, failure(), now=NOW)
    assert permission(state, now=NOW) is Permission.NO
    assert (state.reason, state.opened_at) == (Cause.CONNECT_FAILED, NOW)
    assert "in its own words" in state.evidence


def test_a_success_makes_the_count_start_again() -> None:
    """Three failures with a success between them are no reason."""
    state = after_failure(BreakerState(), Effect.COUNT, failure(), now=NOW)
    state = after_failure(state, Effect.COUNT, failure(), now=NOW)
    state = after_failure(after_success(state), Effect.COUNT, failure(), now=NOW)
    assert state.phase is Phase.CLOSED


def test_each_failed_probe_doubles_the_time_from_15_seconds_to_15_minutes() -> None:
    """And never more."""
    waits = []
    for times in range(1, 10):
        state, now = opened(times)
        waits.append(state.until - now)
    assert waits == [15, 30, 60, 120, 240, 480, 900, 900, 900]


def test_one_probe_is_let_through_when_the_time_is_over_and_nobody_beside_it() -> None:
    """A probe that never comes back frees its place after a minute."""
    state, _ = opened()
    assert permission(state, now=state.until - 0.001) is Permission.NO
    assert permission(state, now=state.until) is Permission.PROBE
    probing = begin_probe(state, now=state.until)
    assert permission(probing, now=state.until + 59) is Permission.NO
    assert permission(probing, now=state.until + 60) is Permission.PROBE


def test_a_probe_that_comes_through_closes_it_with_a_clean_record() -> None:
    """The next opening is short again."""
    state, now = opened(5)
    closed = after_success(begin_probe(state, now=now))
    assert closed.phase is Phase.CLOSED
    state, now = opened(1, closed)
    assert state.until - now == 15


def test_what_needs_a_person_opens_at_once_and_is_probed_slowly() -> None:
    """One refused login is enough."""
    state = after_failure(BreakerState(), Effect.OPEN, failure(Cause.AUTH_FAILED), now=NOW)
    assert state.needs_person
    assert permission(state, now=NOW + 899) is Permission.NO
    assert permission(state, now=NOW + 900) is Permission.PROBE


@pytest.mark.parametrize("effect", [Effect.EXHAUSTED, Effect.BLOCKED])
def test_the_time_that_the_provider_names_is_kept(effect: Effect) -> None:
    """As a number of seconds or as a moment; without one it is an hour or more."""
    named = after_failure(BreakerState(), effect, failure(retry_after=600.0), now=NOW)
    at = after_failure(BreakerState(), effect, failure(retry_at=datetime.fromtimestamp(NOW + 1200, UTC)), now=NOW)
    unnamed = after_failure(BreakerState(), effect, failure(), now=NOW)
    assert (named.until - NOW, at.until - NOW) == (600, 1200)
    assert unnamed.until - NOW >= 3600


def test_another_configuration_asks_the_question_anew_but_a_pause_holds() -> None:
    """A new password has failed nowhere yet; a person's decision is not about a password."""
    state = after_failure(BreakerState(fingerprint="old"), Effect.OPEN, failure(Cause.AUTH_FAILED), now=NOW)
    assert permission(with_configuration(state, "old"), now=NOW) is Permission.NO
    assert permission(with_configuration(state, "new"), now=NOW) is Permission.YES
    paused = pause(state, by="ann", now=NOW)
    assert permission(with_configuration(paused, "new"), now=NOW + 1e6) is Permission.NO


def test_a_pause_outlasts_successes_and_failures_until_it_is_lifted() -> None:
    """Answers to what was under way when it began change nothing."""
    state = pause(BreakerState(), by="ann", now=NOW)
    state = after_success(state)
    state = after_failure(state, Effect.OPEN, failure(Cause.AUTH_FAILED), now=NOW)
    assert (state.phase, state.paused_by) == (Phase.PAUSED, "ann")
    assert permission(resume(state), now=NOW) is Permission.YES


def test_a_sender_domain_is_closed_alone_and_opened_by_its_own_success() -> None:
    """Or by time."""
    state = after_failure(
        BreakerState(), Effect.CLOSE_SENDER, failure(Cause.SENDER_NOT_VERIFIED), now=NOW, sender_domain="one.example"
    )
    assert permission(state, now=NOW, sender_domain="one.example") is Permission.NO
    assert permission(state, now=NOW, sender_domain="two.example") is Permission.YES
    assert permission(after_success(state, sender_domain="two.example"), now=NOW, sender_domain="one.example") is (
        Permission.NO
    )
    assert permission(after_success(state, sender_domain="one.example"), now=NOW, sender_domain="one.example") is (
        Permission.YES
    )
    assert permission(state, now=NOW + 3601, sender_domain="one.example") is Permission.YES


def test_learned_limits_survive_success_and_reopening_and_are_forgotten_after_a_week() -> None:
    """The smallest size that was refused is the one that counts."""
    state = BreakerState()
    for size in (1000, 3000):
        state = after_failure(state, Effect.LEARN_SIZE, failure(Cause.MESSAGE_TOO_LARGE), now=NOW, message_bytes=size)
    state = after_failure(state, Effect.LEARN_RECIPIENTS, failure(Cause.TOO_MANY_RECIPIENTS), now=NOW, recipients=50)
    state = resume(after_success(state))
    assert (max_message_bytes(state, now=NOW), max_recipients(state, now=NOW)) == (999, 50)
    later = NOW + LEARNED_SECONDS
    assert (max_message_bytes(state, now=later), max_recipients(state, now=later)) == (None, None)


def test_complaints_about_speed_rest_the_route_ever_longer_and_successes_shorten_that() -> None:
    """A second, two, four, up to a minute; and back."""
    state, rests = BreakerState(), []
    now = NOW
    for _ in range(8):
        state = after_failure(state, Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=now)
        rests.append(state.slow_until - now)
        assert permission(state, now=now) is Permission.NO
        now = state.slow_until
        assert permission(state, now=now) is Permission.YES
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    for _ in range(6):
        state = after_success(state)
    state = after_failure(state, Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=now)
    assert state.slow_until - now == 1


def test_a_rest_that_the_server_asked_for_is_kept_to() -> None:
    """Not cut short by a lesser complaint."""
    state = after_failure(BreakerState(), Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED, retry_after=300.0), now=NOW)
    state = after_failure(state, Effect.FEWER_CONNECTIONS, failure(Cause.CONNECTION_LIMIT), now=NOW + 1)
    assert state.slow_until == NOW + 300


def test_too_many_logins_rest_the_route_for_a_minute_at_least() -> None:
    """Seconds would only make it worse."""
    state = after_failure(BreakerState(), Effect.FEWER_CONNECTIONS, failure(Cause.AUTH_THROTTLED), now=NOW)
    assert state.slow_until - NOW == 60


effects = st.sampled_from(Effect)
steps = st.one_of(st.just("success"), effects)


def test_complaints_of_one_moment_slow_down_once() -> None:
    """Eight connections with twenty messages under way hear of one limit twenty times; it is still one limit."""
    state = BreakerState()
    for number in range(20):
        state = after_failure(state, Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=NOW + number * 0.01)
    assert state.slow_until == NOW + 1
    # Whoever is refused after the rest speaks of a limit that still holds.
    state = after_failure(state, Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=NOW + 1)
    assert state.slow_until == NOW + 3


def test_a_complaint_that_names_a_later_time_lengthens_the_rest() -> None:
    """Also while the route rests; and so does one about logins, which pass in minutes alone."""
    state = after_failure(BreakerState(), Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=NOW)
    logins = after_failure(state, Effect.FEWER_CONNECTIONS, failure(Cause.AUTH_THROTTLED), now=NOW + 0.5)
    assert logins.slow_until == NOW + 60.5
    named = failure(Cause.RATE_LIMITED, retry_after=300.0)
    state = after_failure(state, Effect.SLOW_DOWN, named, now=NOW + 0.5)
    assert state.slow_until == NOW + 300.5
    assert after_failure(state, Effect.SLOW_DOWN, failure(Cause.RATE_LIMITED), now=NOW + 1) == state


@given(st.lists(st.tuples(steps, st.floats(0.0, 5000.0)), max_size=30))
def test_no_history_leaves_a_route_closed_to_probes_for_ever(history: list[tuple[str | Effect, float]]) -> None:
    """Whatever happened, without a pause it is asked again within two hours and a rest."""
    state, now = BreakerState(), NOW
    for step, passed in history:
        now += passed
        if permission(state, now=now) is Permission.PROBE:
            state = begin_probe(state, now=now)
        if isinstance(step, Effect):
            state = after_failure(state, step, failure(), now=now, sender_domain="x.example", recipients=2)
        else:
            state = after_success(state)
        assert state.until - now <= max(7200.0, MAX_OPEN_SECONDS)
    assert permission(replace(state), now=now + 7200.0, sender_domain="x.example") is not Permission.NO
