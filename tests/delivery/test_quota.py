"""How much goes into a rolling window, against a ledger that remembers every single message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.delivery.quota import (
    Ledger,
    left,
    lowered,
    refund,
    reserve,
    room_at,
    runs_out_at,
    used,
    without_learned_limits,
)
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


@given(st.lists(st.tuples(st.floats(0.0, 900.0), st.integers(1, 40), st.integers(0, 40)), max_size=40))
def test_what_is_given_back_late_makes_no_window_larger(messages: list[tuple[float, int, int]]) -> None:
    """A reservation of an earlier bucket leaves that bucket: else its end would free what was used since."""
    hour = Quota(window_seconds=3600, limit=100)
    ledger, now = Ledger(), NOW
    sent: list[tuple[float, int]] = []
    before = (NOW, 0)  # what the message before is found not to have used, while the next one is under way
    for passed, count, refused in messages:
        now += passed
        after = reserve(ledger, [hour], count, now=now, priority=Priority.HIGH)
        if after is None:
            continue
        ledger = refund(after, [hour], before[1], now=now, at=before[0])
        before = now, min(refused, count)
        sent.append((now, count - before[1]))
        for end in (now, now + 1800.0, now + 3590.0):
            assert used(ledger, hour, now=end) >= sum(number for moment, number in sent if moment > end - 3600)


@pytest.mark.parametrize("window", [1, 60, 3600, 86_400, 30 * 86_400])
@pytest.mark.parametrize("offset", [0.0, 0.001, -0.001])
def test_at_the_boundary_of_a_window_nothing_is_free_too_early_and_nothing_is_kept_for_long(
    window: int, offset: float
) -> None:
    """Whatever moment of its bucket it was used at: after the window, and at most one bucket later."""
    quota = Quota(window_seconds=window, limit=1)
    bucket = window / 24
    for part in (0.0, 0.25, 0.5, 0.999):
        at = NOW + bucket * part + offset
        ledger = taken(Ledger(), 1, now=at, quotas=(quota,))
        assert left(ledger, quota, now=at + window - 0.01 * bucket) == 0
        assert left(ledger, quota, now=at + window + 1.01 * bucket) == 1
        free_at = room_at(ledger, [quota], now=at)
        assert free_at is not None
        assert at + window - 0.001 <= free_at <= at + window + bucket + 0.01
        assert reserve(ledger, [quota], 1, now=free_at) is not None


def test_a_limit_that_is_raised_or_lowered_holds_from_the_next_message_on() -> None:
    """What was used stays; a limit below it leaves nothing, and not less than that."""
    ledger = taken(Ledger(), 50)
    for limit, rest in ((100, 50), (200, 150), (60, 10), (50, 0), (20, 0), (0, 0), (100, 50)):
        assert left(ledger, Quota(window_seconds=86_400, limit=limit), now=NOW, priority=Priority.HIGH) == rest


def test_a_provider_that_contradicts_the_configured_limit_is_believed_until_it_is_asked_again() -> None:
    """It says enough at 40 of 100; when it was to be asked again it takes what was configured; the last word holds."""
    ledger = lowered(taken(Ledger(), 40), [DAY], now=NOW, until=NOW + 600)
    assert left(ledger, DAY, now=NOW + 599, priority=Priority.HIGH) == 0
    assert left(ledger, DAY, now=NOW + 601, priority=Priority.HIGH) == 60
    again = lowered(taken(ledger, 5, now=NOW + 601), [DAY], now=NOW + 602, until=NOW + 1202)
    assert left(again, DAY, now=NOW + 603, priority=Priority.HIGH) == 0
    assert left(without_learned_limits(again), DAY, now=NOW + 603, priority=Priority.HIGH) == 55


@given(st.lists(st.tuples(st.floats(0.0, 400.0), st.sampled_from([-1.0, 0.0, 1.0]), st.integers(1, 20)), max_size=60))
def test_hosts_whose_clocks_are_apart_exceed_a_limit_by_no_more_than_that_time(
    messages: list[tuple[float, float, int]],
) -> None:
    """A second ahead and a second behind, on one ledger: the window is two seconds shorter at worst."""
    hour = Quota(window_seconds=3600, limit=100)
    ledger, now = Ledger(), NOW
    sent: list[tuple[float, int]] = []
    for passed, skew, count in messages:
        now += passed
        after = reserve(ledger, [hour], count, now=now + skew, priority=Priority.HIGH)
        if after is not None:
            ledger = after
            sent.append((now, count))
            assert sum(number for at, number in sent if at > now - 3598) <= 100


@given(
    st.lists(st.tuples(st.sampled_from(list(Priority)), st.integers(1, 10)), max_size=60), st.sampled_from([1, 9, 100])
)
def test_what_is_urgent_finds_its_reserve_whatever_else_was_sent(
    wishes: list[tuple[Priority, int]], limit: int
) -> None:
    """Normal and bulk mail alone never use more than their shares."""
    quota = Quota(window_seconds=86_400, limit=limit)
    ledger, urgent = Ledger(), 0
    for priority, count in wishes:
        after = reserve(ledger, [quota], count, now=NOW, priority=priority)
        if after is not None:
            ledger, urgent = after, urgent + count * (priority is Priority.HIGH)
        assert used(ledger, quota, now=NOW) - urgent <= max(int(limit * 0.95), 1)
        assert used(ledger, quota, now=NOW) <= limit
