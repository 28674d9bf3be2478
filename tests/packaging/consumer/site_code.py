"""Code of a site that uses this package, for type checkers alone: what they must see, and what they must refuse."""

from typing import Any, assert_type

from django.core.mail import EmailMessage

import reliable_email
from reliable_email import DeliveryOptions, DeliveryReport, Outcome, asend, delivery_of, submit
from reliable_email.backends import ReliableSMTPBackend

message = EmailMessage("Subject", "Text.", "me@example.org", ["you@example.net"])
report = delivery_of(message)
assert_type(report, DeliveryReport)
assert_type(report.accepted, list[str])
assert_type(report.recipients["you@example.net"].outcome, Outcome)
row = submit(message, using="default")
options = DeliveryOptions(idempotency_key="order-1")
mailers = reliable_email.env.mailers()


class OwnRoute(ReliableSMTPBackend):
    """Derived, with an option of its own."""

    def __init__(self, *, tenant: str = "", **given: Any) -> None:
        super().__init__(**given)
        self.host = tenant


async def view() -> int:
    """An asynchronous one."""
    sent = await asend(message)
    assert_type(sent, int)
    return sent


DeliveryOptions(idempotency_keys="order-1")  # wrong: a misspelt option
misspelt = report.acepted  # wrong: a misspelt attribute
