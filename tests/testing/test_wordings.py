"""What the simulated providers say is understood by the classification as what it simulates."""

import pytest

from reliable_email.classification import Cause, classify
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import ReplyParser
from reliable_email.testing.actions import wire
from reliable_email.testing.wordings import HABITS, Refusal

# Zoho's limit is one of reputation: a person has to unblock the account.
EXPECTED = {("zoho", "quota"): Cause.REPUTATION_BLOCKED}
BY_KIND = {
    "quota": Cause.QUOTA_EXCEEDED,
    "rate": Cause.RATE_LIMITED,
    "over_connections": Cause.CONNECTION_LIMIT,
    "unverified": Cause.SENDER_NOT_VERIFIED,
}


def refusals() -> list[tuple[str, str, Refusal]]:
    """Those of which the words are known."""
    found = []
    for provider, habits in HABITS.items():
        kinds = [("rate", habits.rate), ("over_connections", habits.over_connections)]
        kinds += [("quota", refusal) for refusal in habits.quota]
        kinds += [("unverified", habits.unverified)] if habits.unverified else []
        found += [(provider, kind, refusal) for kind, refusal in kinds if not refusal.is_guess]
    return found


@pytest.mark.parametrize(
    ("provider", "kind", "refusal"),
    refusals(),
    ids=[f"{provider}-{kind}-{one.stage}" for provider, kind, one in refusals()],
)
def test_simulated_trouble_is_understood_as_that_trouble(provider: str, kind: str, refusal: Refusal) -> None:
    """Two independent readings of the same facts agree."""
    text = refusal.text.format(sender="a@z.test", domain="z.test", user="u@x.test", recipients="b@y.test")
    parser = ReplyParser()
    parser.feed(wire(text))
    reply = parser.next_reply()
    assert reply is not None
    failure = classify(reply, stage=Stage(refusal.stage), provider=provider, sender_domain="z.test")
    assert failure.cause is EXPECTED.get((provider, kind), BY_KIND[kind])
