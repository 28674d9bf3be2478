"""What the table says where the same words mean something else."""

import pytest

from reliable_email.classification import Cause, classify
from reliable_email.delivery.policy import Effect, Step, decide
from reliable_email.smtp.replies import parse_reply
from reliable_email.smtp.stages import Stage


@pytest.mark.parametrize("words", ["421 Service not available", "421 4.3.2 closing transmission channel", "421 oops"])
def test_a_server_that_hangs_up_at_a_recipient_is_in_trouble_itself(words: str) -> None:
    """421 closes the connection whatever command it answers (RFC 5321 section 3.8): the next route is asked."""
    decision = decide(classify(parse_reply(words), stage=Stage.RCPT))
    assert (decision.step, decision.effect) == (Step.ANY_ROUTE, Effect.COUNT)


def test_a_recipient_that_is_put_off_does_not_speak_against_the_route() -> None:
    """451 to one recipient leaves the others, and the route, alone."""
    decision = decide(classify(parse_reply("451 4.3.0 Temporary failure"), stage=Stage.RCPT))
    assert (decision.step, decision.effect) == (Step.SAME_ROUTE_LATER, Effect.NONE)


@pytest.mark.parametrize(
    "words",
    ["450 4.1.1 Recipient address rejected: unverified address: User unknown", "450 4.2.1 The mailbox is disabled"],
)
def test_a_recipient_that_is_unknown_for_now_is_tried_again(words: str) -> None:
    """A 4yz may be a user database that is down: a later try costs nothing, a lost message does."""
    failure = classify(parse_reply(words), stage=Stage.RCPT)
    assert failure.cause in (Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE)
    assert decide(failure).step is Step.SAME_ROUTE_LATER
