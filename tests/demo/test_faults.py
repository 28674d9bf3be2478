"""The demo's plan: who meets what."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.faults import Misfortune, Plan

COUNTS_AGAINST_ROUTE = frozenset(
    {Misfortune.BUSY, Misfortune.HANGS_UP, Misfortune.SILENT_AFTER_TAKING, Misfortune.SILENT_AFTER_LOSING}
)


@given(count=st.integers(1, 400), seed=st.integers())
def test_a_seed_tells_the_same_story(count: int, seed: int) -> None:
    """Chance comes from the seed alone."""
    assert Plan.drawn(count, seed) == Plan.drawn(count, seed)


@given(count=st.integers(1, 400), seed=st.integers())
def test_each_misfortune_comes_at_most_once_and_inside_the_run(count: int, seed: int) -> None:
    """The first message is left to the certificate."""
    plan = Plan.drawn(count, seed)
    assert all(1 < number <= count for number in plan.at)
    assert max(Counter(plan.at.values()).values(), default=0) <= 1


@given(count=st.integers(24, 400), seed=st.integers())
def test_a_run_of_two_dozen_has_all_of_them_with_the_quota_last(count: int, seed: int) -> None:
    """Behind the quota nothing would be met: the route is closed."""
    plan = Plan.drawn(count, seed)
    assert set(plan.at.values()) == set(Misfortune)
    assert list(plan.at.values())[-1] is Misfortune.QUOTA


@given(count=st.integers(1, 400), seed=st.integers())
def test_the_breaker_never_has_a_reason_of_its_own(count: int, seed: int) -> None:
    """Three failures in a row would open it."""
    plan = Plan.drawn(count, seed)
    bad = [number for number, one in plan.at.items() if one in COUNTS_AGAINST_ROUTE]
    assert not any(c - a == 2 for (a, _), (_, c) in pairwise(pairwise(bad)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_short_run_has_room_for_few(count: int) -> None:
    """It does not fail for that."""
    plan = Plan.drawn(count, seed=1)
    assert len(plan.at) <= 1
    assert plan.quota_left is None


def test_other_seeds_tell_other_stories() -> None:
    """Otherwise it were no seed."""
    assert len({tuple(Plan.drawn(50, seed).at.items()) for seed in range(10)}) == 10
