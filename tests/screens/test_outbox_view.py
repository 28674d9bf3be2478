"""What the views say, computed from values."""

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.management.screens.outbox_view import RouteView, route_view
from reliable_email.management.screens.pace import Pace

NOW = 1000.0


@pytest.mark.parametrize(
    ("state", "is_in_use", "use"),
    [
        (BreakerState(), True, "in use"),
        (BreakerState(slow_until=NOW + 30), False, "slowed down for 30 s"),
        (BreakerState(phase=Phase.PAUSED, paused_by="ada"), False, "paused by ada"),
        (BreakerState(phase=Phase.HALF_OPEN), False, "on trial"),
        (BreakerState(phase=Phase.OPEN, until=NOW + 90), False, "closed, tried again in 1.5 min"),
        (BreakerState(phase=Phase.OPEN, until=NOW - 1), False, "on trial, to be tried again now"),
    ],
)
def test_a_route_is_in_use_or_says_why_not(state: BreakerState, is_in_use: bool, use: str) -> None:
    """In words that need no knowledge of breakers."""
    assert route_view("gmail", state, now=NOW) == RouteView(alias="gmail", is_in_use=is_in_use, use=use)


def test_a_route_that_is_out_of_use_shows_the_evidence() -> None:
    """The cause, and the server's own words."""
    state = BreakerState(phase=Phase.OPEN, reason=Cause.QUOTA_EXCEEDED, evidence="at mail: 550 5.4.5 Daily limit")
    assert route_view("gmail", state, now=NOW).evidence == "quota_exceeded at mail: 550 5.4.5 Daily limit"


def test_the_pace_is_the_growth_in_the_last_minute() -> None:
    """What is older does not count, and pruning is no negative growth."""
    pace = Pace()
    assert pace.in_the_last_minute == 0
    for now, count in ((0.0, 5), (10.0, 8), (65.0, 20)):
        pace.see(count, now=now)
    assert pace.in_the_last_minute == 12
    pace.see(1, now=66.0)
    assert pace.in_the_last_minute == 0
