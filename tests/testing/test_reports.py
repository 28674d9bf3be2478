"""delivery_of() is safe on every message, and a report that is printed can be read."""

from reliable_email.classification import Cause
from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.smtp.syntax.replies import Reply
from reliable_email.testing import delivery_of


class Message:
    """Stands for a message: whatever has attributes."""

    delivery: object


def test_report_of_a_sent_message_is_found() -> None:
    """The very object that the backend has set."""
    message = Message()
    message.delivery = DeliveryReport(recipients=Recipients({"b@x.test": RecipientOutcome(outcome=Outcome.ACCEPTED)}))
    assert delivery_of(message) is message.delivery


def test_message_that_another_backend_took_has_an_empty_report() -> None:
    """Django's locmem backend, which tests use, sets none."""
    report = delivery_of(Message())
    assert list(report.recipients) == []
    assert report.attempts == ()
    assert report.accepted == []


def test_a_printed_report_has_a_line_for_each_recipient() -> None:
    """In the words of the errors, and without what could end a line or move the cursor."""
    taken = RecipientOutcome(outcome=Outcome.ACCEPTED, route="gmail", reply=Reply(250, ("Ok",), "2.0.0"))
    refused = RecipientOutcome(
        outcome=Outcome.REJECTED,
        route="sendgrid",
        cause=Cause.MAILBOX_UNKNOWN,
        reply=Reply(550, ("No such\x1b[2J user", "here"), "5.1.1"),
    )
    waiting = RecipientOutcome(outcome=Outcome.DEFERRED)
    report = DeliveryReport(recipients=Recipients({"a@x.test": taken, "b@x.test": refused, "c@x.test": waiting}))
    assert str(report).splitlines() == [
        'a@x.test: accepted by gmail, "250 2.0.0 Ok"',
        'b@x.test: rejected by sendgrid, mailbox_unknown, "550 5.1.1 No such\\x1b[2J user here"',
        "c@x.test: deferred",
    ]
    assert str(DeliveryReport(recipients=Recipients({}))) == ""
