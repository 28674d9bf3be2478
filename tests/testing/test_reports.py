"""delivery_of() is safe on every message."""

from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients
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
