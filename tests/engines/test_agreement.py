"""What holds for any routes that stay as they are: both doors end alike, nothing without proof, health is asked."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliable_email import models
from tests.engines import table
from tests.engines.doors import World, by_queue, directly
from tests.thoroughness import examples

# Two hundred networks by two doors: on a busy machine that takes more than the minute that any test may hang.
pytestmark = [pytest.mark.usefixtures("no_suppressions"), pytest.mark.timeout(300)]

FINAL = ("accepted", "rejected", "unknown")
HEALTHY = "250"
# What ends a message, or a recipient, by one server's word alone (P7 a and b).
PROOFS = {
    **table.AT_RCPT_FOR_GOOD,
    **table.MESSAGE_FOR_GOOD,
    "names one at the end": "final:550 5.1.1 <bob@example.com> user unknown",
}
ANSWERS = {
    **table.ROUTE_ONLY,
    **table.TROUBLE,
    **table.RECIPIENT_LATER,
    **table.ONE_OTHER,
    **table.CONVERSATION,
    **table.UNKNOWN,
    **PROOFS,
    "healthy": HEALTHY,
    "not built": "unbuilt",
    "too large": "size=10; 250",
    "no utf8": "rcpt:utf8",
    "one of several": "rcpt bob:550 5.1.1 user unknown",
}
ENOUGH_ROUNDS = 4
networks = st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=3)
envelopes = st.sampled_from([("ann",), ("ann", "bob"), ("ann", "bob", "cid")])


def _empty(using: str) -> None:
    for model in (models.Attempt, models.OutboxRecipient, models.OutboxMessage):
        model._base_manager.using(using).all().delete()


@settings(
    max_examples=examples(200),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=networks, to=envelopes)
def test_both_doors_end_alike_and_nothing_ends_without_proof(names: list[str], to: tuple[str, ...], using: str) -> None:
    """Where one door says accepted, rejected or unknown, the other ends the same."""
    scripts = [ANSWERS[name] for name in names]
    addresses = [f"{one}@example.com" for one in to]
    _empty(using)
    direct = directly(World(scripts), addresses)
    queue = by_queue(World(scripts), addresses, using=using, rounds=ENOUGH_ROUNDS)
    for one in to:
        if direct.ends[one] in FINAL:
            assert queue.ends[one] == direct.ends[one], (direct.order, queue.order)
        if queue.ends[one] in FINAL and not _only_says_later(names):
            assert direct.ends[one] == queue.ends[one], (direct.order, queue.order)
    for told in (direct, queue):
        for one, end in told.ends.items():
            if end == "rejected":
                _assert_proven(names, one, told.order)


def _only_says_later(names: list[str]) -> bool:
    """A route that only says "later" keeps a direct send open, and the queue waits longer than the test."""
    return any(name in table.RECIPIENT_LATER or name in table.TROUBLE for name in names)


def _assert_proven(names: list[str], one: str, order: str) -> None:
    asked = [names["abc".index(letter)] for letter in order]
    if any(name in PROOFS for name in asked):
        return
    if one == "bob" and "one of several" in asked:
        return
    for letter, name in zip("abc", names, strict=False):
        if name == "healthy":
            refusals = {other for other in asked if other in table.ONE_OTHER}
            assert letter in order or len(refusals) > 1, f"{names}: a healthy route was not asked, {order}"
    cannot = {"too large", "no utf8"}
    assert any(name in table.ONE_OTHER for name in asked) or all(name in cannot for name in names), (names, order)
