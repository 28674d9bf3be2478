"""What the table says where the same words mean something else."""

import pytest

from reliable_email.classification import Cause, classify
from reliable_email.delivery.policy import Effect, Step, decide
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply


@pytest.mark.parametrize("words", ["421 Service not available", "421 4.3.2 closing transmission channel", "421 oops"])
def test_a_server_that_hangs_up_at_a_recipient_is_in_trouble_itself(words: str) -> None:
    """421 closes the connection whatever command it answers (RFC 5321 section 3.8): the next route is asked."""
    decision = decide(classify(parse_reply(words), stage=Stage.RCPT))
    assert (decision.step, decision.effect) == (Step.ANY_ROUTE, Effect.COUNT)


@pytest.mark.parametrize("words", ["451 4.3.0 Temporary failure", "450 computer says later"])
def test_a_recipient_that_is_put_off_does_not_speak_against_the_route(words: str) -> None:
    """4yz to one recipient leaves the others, and the route, alone; another route may know better."""
    decision = decide(classify(parse_reply(words), stage=Stage.RCPT))
    assert (decision.step, decision.effect) == (Step.ANY_ROUTE, Effect.NONE)


@pytest.mark.parametrize(
    "words",
    ["450 4.1.1 Recipient address rejected: unverified address: User unknown", "450 4.2.1 The mailbox is disabled"],
)
def test_a_recipient_that_is_unknown_for_now_is_tried_again(words: str) -> None:
    """A 4yz may be a user database that is down: a later try costs nothing, a lost message does."""
    failure = classify(parse_reply(words), stage=Stage.RCPT)
    assert failure.cause in (Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE)
    assert decide(failure).step is Step.SAME_ROUTE_LATER


THE_DOMAINS_OWN_FAULT = """
550 5.7.1 Email rejected per DMARC policy for example.com
550 5.7.26 This mail has been blocked because the sender is unauthenticated
550 5.7.26 no SPF and no DKIM
550 5.7.27 SPF did not pass
550 5.7.29 this mail came without TLS
550 5.7.30 DKIM did not pass
550 5.7.5 DMARC could not be evaluated
550 5.7.515 the domain does not meet the required authentication level
550 5.7.509 the domain does not pass DMARC verification
550 5.7.21 xyzzy
550 5.7.23 xyzzy
550 SPF: 192.0.2.1 is not allowed to send mail from example.com
554 5.7.1 <a@example.com>: Sender address rejected: see http://www.openspf.net/Why?s=mfrom
550 DKIM signature missing for the From domain
554 5.7.9 not accepted for policy reasons (DMARC)
550 MI:SPF 163 mx3
550 Blocked: sender authentication failure
553 5.1.8 Sender's domain does not exist
554 5.1.8 <a@example.com>: Sender address rejected: Domain not found
553 could not resolve sender domain
550 your bulk mail does not meet our sender requirements: authenticate with SPF and DKIM
""".strip().splitlines()


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_REPLY, None])
@pytest.mark.parametrize("words", THE_DOMAINS_OWN_FAULT)
def test_what_a_dns_record_mends_is_final_for_nobody(words: str, stage: Stage | None) -> None:
    """Another route may be aligned; where none is left the message waits for the record that the help names."""
    failure = classify(parse_reply(words), stage=stage)
    assert failure.cause is Cause.SENDER_NOT_AUTHENTICATED
    assert decide(failure).step is Step.OTHER_ROUTE
    assert any(record in failure.help for record in ("SPF", "v=spf1", "_domainkey", "MX or A record", "TLS"))


def test_a_look_up_that_failed_for_now_is_tried_again() -> None:
    """A 4yz about the sender's domain may be the receiver's DNS: later, and by any route."""
    decision = decide(classify(parse_reply("451 4.7.26 DMARC: temporary DNS failure"), stage=Stage.FINAL_REPLY))
    assert (decision.step, decision.effect) == (Step.ANY_ROUTE, Effect.NONE)


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        ("550 5.7.26 the sender is unauthenticated", Effect.CLOSE_SENDER_THERE),
        ("550 5.7.515 the domain does not meet the required authentication level", Effect.CLOSE_SENDER_THERE),
        ("550 5.7.1 SPF check failed", Effect.CLOSE_SENDER),
    ],
)
def test_what_one_receiver_demands_closes_the_route_for_no_other(words: str, effect: Effect) -> None:
    """Gmail's and Microsoft's own rules say nothing of mail to somebody else by the same route."""
    assert decide(classify(parse_reply(words), stage=Stage.FINAL_REPLY)).effect is effect
