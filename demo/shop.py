"""The application of the demo: it calls `send_mail` and knows nothing of routes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.mail import send_mail

from reliable_email import signals
from reliable_email.delivery.report import DeliveryReport
from reliable_email.exceptions import DeliveryError


def confirm_order(number: int, recipient: str) -> DeliveryReport:
    """Send one message, and say what became of it."""
    with _reports() as reports, suppress(DeliveryError):  # the report says all that the error does
        send_mail(f"Your order no. {number}", "Thank you, your order is on its way.\n", None, [recipient])
    return reports[-1]


@contextmanager
def _reports() -> Iterator[list[DeliveryReport]]:
    """The reports of what is sent meanwhile: `send_mail` hands out no message that one could look at."""
    reports: list[DeliveryReport] = []

    def note(report: DeliveryReport, **kwargs: Any) -> None:
        reports.append(report)

    told = (signals.message_delivered, signals.message_failed)
    for signal in told:
        signal.connect(note)
    try:
        yield reports
    finally:
        for signal in told:
            signal.disconnect(note)
