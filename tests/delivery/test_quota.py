"""How much goes into a rolling window, against a ledger that remembers every single message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.delivery.quota import Ledger, left, lowered, refund, reserve, runs_out_at, used
from reliable_email.delivery.submission import Priority
from reliable_email.providers import Quota

NOW = 1_800_000_000.0
DAY = Quota(window_seconds=86_400, limit=100)
MINUTE = Quota(window_seconds=60, limit=10, unit="messages")


def taken(ledger: Ledger, count: int, *, now: float = NOW, quotas: tuple[Quota, ...] = (DAY,)) -> Ledger:
    """The ledger after an urgent message to so many."""
    after = reserve(ledger, quotas, count, now=now, priority=Priority.HIGH)
    assert after is not None
    return after


@pytest.mark.parametrize(("priority", "share"), [(Priority.HIGH, 100), (Priority.NORMAL, 95), (Priority.BULK, 80)])
def test_what_is_urgent_has_the_whole_limit_and_bulk_leaves_a_reserve(priority: Priority, share: int) -> None:
    """A newsletter must not use up what a password reset needs."""
    assert left(Ledger(), DAY, now=NOW, priority=priority) == share
    assert reserve(Ledger(), [DAY], share, now=NOW, priority=priority) is not None
    assert reserve(Ledger(), [DAY], share + 1, now=NOW, priority=priority) is None


def test_a_limit_of_one_is_one_for_everybody() -> None:
    """A share of it would be none."""
    one = Quota(window_seconds=60, limit=1)
    assert left(Ledger(), one, now=NOW, priority=Priority.BULK) == 1


def test_recipients_and_messages_are_counted_each_where_the_provider_counts_them() -> None:
    """One message to seven is seven and one."""
    ledger = taken(Ledger(), 7, quotas=(DAY, MINUTE))
    assert (used(ledger, DAY, now=NOW), used(ledger, MINUTE, now=NOW)) == (7, 1)


def test_one_window_without_room_takes_from_none() -> None:
    """A refused reservation costs nothing."""
    tight = Quota(window_seconds=60, limit=3)
    assert reserve(Ledger(), [DAY, tight], 5, now=NOW, priority=Priority.HIGH) is None


def test_what_was_not_used_comes_back_and_never_more() -> None:
    """Recipients that were refused do not count."""
    ledger = refund(taken(Ledger(), 7), [DAY], 5, now=NOW)
    assert used(ledger, DAY, now=NOW) == 2
    assert used(refund(ledger, [DAY], 50, now=NOW), DAY, now=NOW) == 0


def test_the_window_rolls() -> None:
    """What was sent a day ago is free again a day later, and not at midnight."""
    ledger = taken(Ledger(), 100)
    assert left(ledger, DAY, now=NOW + 80_000, priority=Priority.HIGH) == 0
    assert left(ledger, DAY, now=NOW + 90_001, priority=Priority.HIGH) == 100


def test_the_providers_own_word_lowers_the_limit_of_the_longest_window_until_it_has_passed() -> None:
    """It counts what is not seen here."""
    ledger = lowered(taken(Ledger(), 40, quotas=(DAY, MINUTE)), [MINUTE, DAY], now=NOW)
    assert left(ledger, DAY, now=NOW + 1, priority=Priority.HIGH) == 0
    assert left(ledger, MINUTE, now=NOW + 1, priority=Priority.HIGH) == 9
    assert left(ledger, DAY, now=NOW + 90_001, priority=Priority.HIGH) == 100


def test_the_moment_at_which_it_runs_out_is_foretold_by_the_pace() -> None:
    """Ten in the last quarter of a day leave ninety for nine quarters; no traffic foretells nothing."""
    assert runs_out_at(Ledger(), DAY, now=NOW) is None
    assert runs_out_at(taken(Ledger(), 10), DAY, now=NOW) == pytest.approx(NOW + 9 * 21_600)


@given(st.lists(st.tuples(st.floats(0.0, 4000.0), st.integers(1, 40)), max_size=60))
def test_no_window_of_real_time_ever_has_more_than_the_limit(messages: list[tuple[float, int]]) -> None:
    """Judged by a list of every recipient with its moment, for the window that ends at each message."""
    hour = Quota(window_seconds=3600, limit=100)
    ledger, now = Ledger(), NOW
    sent: list[tuple[float, int]] = []
    for passed, count in messages:
        now += passed
        after = reserve(ledger, [hour], count, now=now, priority=Priority.HIGH)
        if after is None:
            continue
        ledger = after
        sent.append((now, count))
        full = sum(number for at, number in sent if at > now - 3600)
        assert full <= 100
        assert used(ledger, hour, now=now) >= full
