"""What becomes of a message over ordered routes, told route by route."""

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery import registry
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.submission import DeliveryOptions, OnUnknown
from reliable_email.providers import Quota
from reliable_email.smtp.transaction import Job
from tests.delivery.model import (
    BUSY,
    DOWN,
    GREYLISTED,
    LOGIN_REFUSED,
    LOST,
    NO_QUOTA,
    NO_SUCH_USER,
    NOT_YOURS,
    SPAM,
    STRANGE,
    TAKEN,
    TOO_FAST,
    TOO_LARGE,
    TOO_MANY,
    Answer,
    World,
    submission,
)

A, B, C = "a@example.net", "b@example.net", "c@example.net"


@pytest.mark.parametrize("first", [DOWN, BUSY, LOGIN_REFUSED, NO_QUOTA, NOT_YOURS, STRANGE, TOO_LARGE, TOO_FAST])
def test_what_one_route_cannot_do_the_next_one_does(first: Answer) -> None:
    """The message arrives by the second route in the same send, without a pause."""
    world = World()
    world.add(first)
    world.add(TAKEN)
    (report,) = world.deliver(submission(A))
    assert report.accepted == [A]
    assert world.asked == ["a", "b"]
    assert world.clock.slept == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(NO_SUCH_USER, Outcome.REJECTED), (SPAM, Outcome.REJECTED), (LOST, Outcome.UNKNOWN)],
)
def test_some_answers_end_it_wherever_they_are_given(answer: Answer, outcome: Outcome) -> None:
    """A dead mailbox, refused content and an unknown outcome are no other route's business."""
    world = World()
    world.add(answer)
    world.add(TAKEN)
    (report,) = world.deliver(submission(A))
    assert report.recipients[A].outcome is outcome
    assert world.asked == ["a"]


def test_only_those_who_have_not_got_it_go_on_to_the_next_route() -> None:
    """One accepted, one refused for good, one for the next route."""

    def first(job: Job) -> dict[str, Answer]:
        return {address: {A: TAKEN, B: NO_SUCH_USER, C: LOGIN_REFUSED}[address] for address in job.recipients}

    world = World()
    world.add_server(first)
    world.add(TAKEN)
    (report,) = world.deliver(submission(A, B, C))
    assert [one.recipients for one in world.log] == [(A, B, C), (C,)]
    assert (report.accepted, report.rejected) == ([A, C], [B])
    assert report.recipients[C].route == "b"


def test_greylisting_stays_with_the_route_that_began_the_wait() -> None:
    """Another route would start it anew."""
    world = World()
    world.add(GREYLISTED, TAKEN)
    world.add(TAKEN)
    (report,) = world.deliver(submission(A))
    assert report.accepted == [A]
    assert world.asked == ["a", "a"]


def test_two_routes_that_say_an_unknown_no_are_believed() -> None:
    """One other route is asked, not every one there is."""
    world = World()
    for _ in range(3):
        world.add(STRANGE)
    (report,) = world.deliver(submission(A))
    assert report.rejected == [A]
    assert world.asked == ["a", "b"]


def test_a_refused_resend_leaves_the_unknown_copy_unknown() -> None:
    """The first copy may be there, whatever the server says of the second."""
    world = World()
    world.add(LOST, SPAM, idempotency_header="Idempotency-Key")
    (report,) = world.deliver(submission(A))
    assert report.unknown == [A]
    assert world.asked == ["a", "a"]


@pytest.mark.parametrize("how", ["header", "message", "route"])
def test_an_unknown_outcome_is_asked_again_on_the_same_route_where_that_is_allowed(how: str) -> None:
    """By the provider's header, or by the wish of the message or of its mailer."""
    world = World()
    header = "Idempotency-Key" if how == "header" else None
    world.add(LOST, TAKEN, idempotency_header=header, on_unknown=OnUnknown.RESEND if how == "route" else None)
    world.add(TAKEN)
    options = DeliveryOptions(on_unknown=OnUnknown.RESEND if how == "message" else None)
    (report,) = world.deliver(submission(A, options=options))
    assert report.accepted == [A]
    assert world.asked == ["a", "a"]
    assert world.log[0].content == world.log[1].content
    assert world.log[0].content.startswith(b"Idempotency-Key: 0@example.org\r\n") is (how == "header")


def test_the_messages_own_wish_beats_the_routes() -> None:
    """A message that must not be doubled is not."""
    world = World()
    world.add(LOST, TAKEN, on_unknown=OnUnknown.RESEND)
    (report,) = world.deliver(submission(A, options=DeliveryOptions(on_unknown=OnUnknown.HOLD)))
    assert report.unknown == [A]
    assert world.asked == ["a"]


def test_a_lone_route_is_tried_again_with_pauses_of_at_most_a_second() -> None:
    """As often as `max_attempts` says."""
    world = World()
    world.add(DOWN, DOWN, TAKEN, max_attempts=3)
    (report,) = world.deliver(submission(A))
    assert report.accepted == [A]
    assert len(world.clock.slept) == 2
    assert max(world.clock.slept) <= 1.0


def test_a_lone_route_that_failed_often_is_asked_all_the_same() -> None:
    """Its breaker has no other way to offer."""
    world = World()
    world.add(DOWN, max_attempts=1)
    for number in range(5):
        world.deliver(submission(A, number=number))
    assert world.asked == ["a"] * 5


def test_a_lone_route_whose_login_is_refused_is_left_alone() -> None:
    """More logins with the same password would lock the account."""
    world = World()
    world.add(LOGIN_REFUSED)
    world.deliver(submission(A))
    (report,) = world.deliver(submission(A, number=1))
    assert world.asked == ["a"]
    assert report.recipients[A].cause is Cause.ROUTE_CLOSED
    assert report.deferred == [A]


def test_three_dead_messages_of_a_batch_spare_the_others_the_dead_route() -> None:
    """What the first ones learned, the rest of the same stream need not."""
    world = World()
    world.add(DOWN)
    world.add(TAKEN)
    reports = world.deliver(*(submission(A, number=number) for number in range(10)))
    assert world.asked.count("a") == 3
    assert all(report.accepted == [A] for report in reports)


def test_a_closed_route_is_not_waited_for() -> None:
    """Where nobody is left to ask, a pause would only cost the caller's time."""
    world = World()
    world.add(NO_QUOTA)
    world.add(LOGIN_REFUSED)
    world.deliver(submission(A))
    (report,) = world.deliver(submission(A, number=1))
    assert report.deferred == [A]
    assert world.asked == ["a", "b"]
    assert world.clock.slept == []


def test_the_first_route_is_preferred_again_as_soon_as_it_is_well() -> None:
    """There is no stickiness."""
    world = World()
    world.add(DOWN, DOWN, DOWN, TAKEN)
    world.add(TAKEN)
    for number in range(4):
        world.deliver(submission(A, number=number))
    assert world.asked == ["a", "b", "a", "b", "a", "b", "b"]
    world.clock.at += 16
    world.deliver(submission(A, number=4))
    assert world.asked[-1] == "a"


def test_a_message_that_no_route_has_room_for_is_rejected_unsent() -> None:
    """Known before sending, by the documented limits."""
    world = World()
    world.add(TAKEN, max_message_bytes=100)
    world.add(TAKEN, max_message_bytes=200)
    (report,) = world.deliver(submission(A, size=300))
    assert report.recipients[A].outcome is Outcome.REJECTED
    assert report.recipients[A].cause is Cause.MESSAGE_TOO_LARGE
    assert world.asked == []


def test_a_message_that_the_roomy_route_cannot_take_now_is_not_rejected() -> None:
    """It is too large for one alone, and the other may open again."""
    world = World()
    world.add(TAKEN, max_message_bytes=100)
    world.add(LOGIN_REFUSED)
    (report,) = world.deliver(submission(A, size=300))
    assert report.deferred == [A]


def test_a_size_that_was_refused_is_not_offered_again() -> None:
    """What the route said of one message holds for the next of that size, and not for smaller ones."""
    world = World()
    world.add(TOO_LARGE, TAKEN)
    world.add(TAKEN)
    world.deliver(submission(A, size=300))
    world.deliver(submission(A, size=300, number=1))
    world.deliver(submission(A, size=200, number=2))
    assert world.asked == ["a", "b", "b", "a"]


def test_too_many_recipients_are_split_at_once_and_the_limit_is_learned() -> None:
    """Those left out go again by the same route, and the next message is split beforehand."""

    def two_at_a_time(job: Job) -> dict[str, Answer]:
        return {address: TAKEN if number < 2 else TOO_MANY for number, address in enumerate(job.recipients)}

    world = World()
    world.add_server(two_at_a_time, max_attempts=1)
    (report,) = world.deliver(submission(A, B, C))
    assert sorted(report.accepted) == [A, B, C]
    world.deliver(submission(A, B, C, number=1))
    assert [one.recipients for one in world.log] == [(A, B, C), (C,), (A, B), (C,)]
    assert world.clock.slept == []


def test_envelopes_are_split_to_the_documented_size() -> None:
    """No server has to refuse first."""
    world = World()
    world.add(TAKEN, max_recipients=2)
    (report,) = world.deliver(submission(A, B, C))
    assert [one.recipients for one in world.log] == [(A, B), (C,)]
    assert sorted(report.accepted) == [A, B, C]


def test_a_sender_that_is_not_verified_closes_the_route_for_its_domain_alone() -> None:
    """Other senders go on by it."""
    world = World()
    world.add(NOT_YOURS, TAKEN)
    world.add(TAKEN)
    world.deliver(submission(A, domain="one.example"))
    world.deliver(submission(A, domain="one.example", number=1))
    world.deliver(submission(A, domain="two.example"))
    assert world.asked == ["a", "b", "b", "a"]


def test_a_quota_that_is_used_up_sends_the_next_message_elsewhere() -> None:
    """Counted here, before the provider has to say it."""
    world = World()
    world.add(TAKEN, quotas=(Quota(window_seconds=86_400, limit=2),))
    world.add(TAKEN)
    for number in range(3):
        world.deliver(submission(A, number=number))
    assert world.asked == ["a", "b", "b"]  # normal mail leaves the last one to what is urgent


def test_what_was_refused_does_not_use_up_the_quota() -> None:
    """A reservation that served nobody is given back."""
    world = World()
    world.add(NO_SUCH_USER, NO_SUCH_USER, TAKEN, quotas=(Quota(window_seconds=86_400, limit=1),))
    world.add(TAKEN)
    for number in range(3):
        world.deliver(submission(A, number=number))
    assert world.asked == ["a", "a", "a"]


def test_what_a_console_shows_is_not_delivered() -> None:
    """It is never counted, and nothing else is asked in its place."""
    world = World()
    world.add(TAKEN, delivers=False)
    (report,) = world.deliver(submission(A))
    assert report.deferred == [A]


def test_the_budget_ends_the_attempts_whatever_is_left_to_try() -> None:
    """All attempts together stay inside the message's time."""
    world = World()
    world.add(DOWN, seconds=7.0, max_attempts=9)
    (report,) = world.deliver(submission(A), timeout=15.0)
    assert report.deferred == [A]
    assert world.clock.at - 1_800_000_000.0 <= 15.0 + 0.001


def test_a_rate_limit_rests_the_route_and_passes() -> None:
    """The next message goes elsewhere; later the route is asked again."""
    world = World()
    world.add(TOO_FAST, TAKEN)
    world.add(TAKEN)
    world.deliver(submission(A))
    world.deliver(submission(A, number=1))
    world.clock.at += 3600
    world.deliver(submission(A, number=2))
    assert world.asked == ["a", "b", "b", "a"]


def test_suppressed_recipients_are_rejected_without_a_connection() -> None:
    """The others get the message."""
    world = World()
    world.add(TAKEN)
    registry.register_suppressions(lambda addresses: [one for one in addresses if one == B])
    try:
        (report,) = world.deliver(submission(A, B))
    finally:
        registry.register_suppressions(None)
    assert report.recipients[B].cause is Cause.SUPPRESSED
    assert report.rejected == [B]
    assert [one.recipients for one in world.log] == [(A,)]


@pytest.mark.parametrize(
    ("second", "outcome"), [(TAKEN, Outcome.UNKNOWN), (NO_SUCH_USER, Outcome.DEFERRED)], ids=["completed", "not yet"]
)
def test_an_interrupted_batch_still_answers_for_every_message(second: Answer, outcome: Outcome) -> None:
    """A task's time limit or Ctrl-C: what was taken is known, what may have been is unknown, the rest was not sent."""
    world = World()
    world.interrupt_after = 2  # when the second transaction is over at the server, and nobody was told
    answers = iter([TAKEN, second, TAKEN])
    world.add_server(lambda job: dict.fromkeys(job.recipients, next(answers)))
    delivery = world.delivery()
    with pytest.raises(KeyboardInterrupt):
        delivery.deliver([submission(A, number=1), submission(A, number=2), submission(A, number=3)])
    assert [one.recipients[A].outcome for one in delivery.reports] == [Outcome.ACCEPTED, outcome, Outcome.DEFERRED]
    assert "interrupted" in delivery.reports[1].recipients[A].failure.detail
    assert "interrupted" in delivery.reports[2].recipients[A].failure.detail
