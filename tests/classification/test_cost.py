"""How much of a hostile text is read; what reading costs is measured by `make fuzz` (`tests.fuzz.hostile_text`)."""

from reliable_email.classification import classify
from reliable_email.smtp.syntax.replies import Reply


def test_a_reply_is_cut_before_it_is_read_and_kept() -> None:
    """Two KiB of a refusal are read, shown and stored, however much a server says."""
    said = ("x" * 100,) * 600
    failure = classify(Reply(550, (*said, "user unknown")))
    assert failure.reply is not None
    assert len(failure.reply.text) <= 2048
    assert failure.cause.value == "unclassified"
