"""What a route remembers of a failure names nobody: its state is kept in clear, long after the message is gone."""

from reliable_email.classification import classify
from reliable_email.delivery.evidence import evidence_of
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply


def test_no_address_stays_in_the_evidence() -> None:
    """The words that tell what is wrong do, and so does the domain."""
    reply = parse_reply("550 5.7.26 <ann.smith@example.com>: unauthenticated email from bob@example.org is refused")
    told = evidence_of(classify(reply, stage=Stage.MAIL))
    assert "ann.smith@" not in told
    assert "bob@" not in told
    for words in ("at mail: 550 5.7.26", "a…@example.com", "unauthenticated email"):
        assert words in told
