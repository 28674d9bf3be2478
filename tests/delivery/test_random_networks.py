"""What holds for every network of routes and every sequence of faults, judged by a referee of the test's own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliable_email.delivery import registry
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.submission import Submission
from tests.delivery.world import Fault, Referee, Server, send, submission
from tests.thoroughness import examples

_ADDRESSES = [f"{kind}{number}@example.com" for kind in ("ok", "nouser", "full", "grey") for number in (1, 2, 3)]


@dataclass(frozen=True)
class Plan:
    """One server: its faults, its paces, the envelopes it takes."""

    faults: tuple[Fault, ...]
    paces: tuple[float, ...]
    envelope: int
    max_attempts: int


plans = st.builds(
    Plan,
    faults=st.lists(st.sampled_from(Fault), max_size=8).map(tuple),
    paces=st.lists(st.sampled_from([0.1, 1.0, 7.0, 40.0]), max_size=8).map(tuple),
    envelope=st.sampled_from([0, 0, 1, 2]),
    max_attempts=st.integers(1, 4),
)
recipients = st.lists(st.sampled_from(_ADDRESSES), min_size=1, max_size=5, unique=True)
batches = st.lists(st.tuples(recipients, st.sampled_from(["site@example.org", "shop@example.net"])), min_size=1)


@pytest.fixture(autouse=True, scope="module")
def no_suppressions() -> Iterator[None]:
    """The world has no database to ask."""
    lookup = registry.suppression_lookup
    registry.register_suppressions(None)
    yield
    registry.register_suppressions(lookup)


def _confirm(referee: Referee, one: Submission, report: DeliveryReport) -> None:
    assert set(report.recipients) == set(one.recipients), "every recipient has an outcome, and nobody else"
    for address, told in report.recipients.items():
        key = one.message_id, address
        assert told.outcome in (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.DEFERRED, Outcome.UNKNOWN)
        assert (told.outcome is Outcome.ACCEPTED) == (key in referee.confirmed), (address, told)
        assert (told.outcome is Outcome.UNKNOWN) == (key in referee.doubts), (address, told)
        assert (told.outcome is Outcome.ACCEPTED) or told.cause is not None, "every failure has its cause"
        if key in referee.dead:
            assert told.outcome is Outcome.REJECTED
    assert sum(one.attempts for one in report.recipients.values()) == sum(
        len(asked.recipients) for asked in referee.asked if asked.message_id == one.message_id
    ), "every attempt is told, and none is made up"


@settings(max_examples=examples(400), deadline=None)
@given(
    plans=st.lists(plans, min_size=1, max_size=4),
    batch=batches.filter(lambda one: len(one) <= 4),
    timeout=st.sampled_from([None, 5.0, 30.0]),
    jitter=st.floats(0.0, 0.99),
    sends=st.integers(1, 3),
)
def test_no_copy_too_many_no_recipient_lost_and_time_kept(
    plans: list[Plan],
    batch: list[tuple[list[str], str]],
    timeout: float | None,
    jitter: float,
    sends: int,
) -> None:
    """Nobody twice, nobody without a report, no closed route asked, no route after a doubt, and no more time."""
    referee = Referee(is_lone=len(plans) == 1)
    servers = [
        Server(f"route{number}", referee, list(plan.faults), list(plan.paces), plan.envelope)
        for number, plan in enumerate(plans)
    ]
    routes = [server.route(max_attempts=plan.max_attempts) for server, plan in zip(servers, plans, strict=True)]
    store = MemoryRouteStateStore(clock=lambda: referee.now)
    budget = timeout if timeout is not None else sum(route.timeout for route in routes)
    for turn in range(sends):
        messages = [submission(turn * 10 + number, to, sender=sender) for number, (to, sender) in enumerate(batch)]
        reports = send(referee, routes, messages, timeout=timeout, jitter=jitter, store=store)
        assert referee.broken == []
        for one, report in zip(messages, reports, strict=True):
            _confirm(referee, one, report)
            assert referee.seconds[one.message_id] <= budget + 1e-6, "a message's time is bounded"
        assert all(count == 1 for count in referee.copies.values())


@settings(max_examples=examples(200), deadline=None)
@given(broken=st.lists(st.booleans(), min_size=2, max_size=5).filter(lambda one: not all(one)))
def test_the_first_healthy_route_is_the_one_that_is_used(broken: list[bool]) -> None:
    """Those in front of it were asked once each, those behind it never."""
    referee = Referee(is_lone=False)
    servers = [
        Server(f"route{number}", referee, [Fault.DOWN] * 50 if is_down else []) for number, is_down in enumerate(broken)
    ]
    store = MemoryRouteStateStore(clock=lambda: referee.now)
    first = broken.index(False)
    for number in range(5):
        [report] = send(
            referee, [one.route() for one in servers], [submission(number, ["ok1@example.com"])], store=store
        )
        assert report.recipients["ok1@example.com"].route == f"route{first}"
    assert referee.broken == []
    assert {one.route for one in referee.asked} == {f"route{number}" for number in range(first + 1)}
    # Three failures in a row, then they are left alone.
    assert all(sum(1 for one in referee.asked if one.route == f"route{number}") == 3 for number in range(first))
