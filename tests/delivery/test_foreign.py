"""Backends of somebody else's as routes: who gets a copy, and what their answers mean."""

import smtplib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends import locmem
from django.core.mail.backends.base import BaseEmailBackend

from reliable_email.classification import Cause
from reliable_email.delivery.content import build_submission
from reliable_email.delivery.deliver import Delivery
from reliable_email.delivery.foreign import ForeignTransport
from reliable_email.delivery.memory import MemoryRouteStateStore
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.delivery.route import Route
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.transaction import Grant, Job, Transaction, Verdict
from tests.delivery.model import TAKEN, World

A, B, C = "a@example.net", "b@example.net", "c@example.net"


class Backend(BaseEmailBackend):
    """Does what the test says with each message."""

    def __init__(self, act: Callable[[EmailMessage], Any]) -> None:
        super().__init__()
        self._act = act
        self.seen: list[EmailMessage] = []

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """See Django."""
        count = 0
        for message in email_messages:
            self.seen.append(message)
            count += 0 if self._act(message) is False else 1
        return count


class Status:
    """What django-anymail hangs on a message."""

    def __init__(self, **statuses: str) -> None:
        self.message_id = "id-of-the-provider"
        one = type("RecipientStatus", (), {})
        self.recipients = {}
        for name, word in statuses.items():
            self.recipients[f"{name}@Example.net"] = one()
            self.recipients[f"{name}@Example.net"].status = word


def message() -> EmailMessage:
    """To, Cc and Bcc have one recipient each."""
    return EmailMessage("Subject", "Text", "site@example.org", [f"Ann <{A}>"], cc=[B], bcc=[C])


def deliver(one: EmailMessage, *routes: Route) -> DeliveryReport:
    """Over these routes, alone."""
    delivery = Delivery(routes, store=MemoryRouteStateStore(), sleep=lambda seconds: None)
    return delivery.deliver([build_submission(one)])[0]


def route(backend: BaseEmailBackend, alias: str = "foreign") -> Route:
    """To this backend."""
    return Route(alias=alias, transport=ForeignTransport(lambda: backend, alias=alias), max_attempts=1, is_foreign=True)


def fails_with(error: Exception) -> Backend:
    """Raises it."""

    def act(message: EmailMessage) -> None:
        raise error

    return Backend(act)


def test_djangos_own_backend_takes_the_message_once() -> None:
    """A count of one, with nothing else said, is an acceptance for every recipient."""
    mail.outbox = []
    report = deliver(message(), route(locmem.EmailBackend()))
    assert sorted(report.accepted) == [A, B, C]
    assert len(mail.outbox) == 1


def test_the_callers_message_is_not_written_to() -> None:
    """The backend gets a copy."""
    one = message()
    before = dict(vars(one)), list(one.to), dict(one.extra_headers)
    backend = Backend(lambda copy: copy.to.clear() or copy.extra_headers.update({"X-Was": "here"}))
    deliver(one, route(backend))
    assert (dict(vars(one)), list(one.to), dict(one.extra_headers)) == before
    assert backend.seen[0] is not one


def test_only_those_who_are_left_get_the_copy_and_the_header_still_shows_everybody() -> None:
    """A first route took one of three."""
    world = World()
    first = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="failed", c="failed")))
    second = Backend(lambda message: None)
    report = deliver(message(), route(first, "first"), route(second, "second"))
    assert world.asked == []
    (copy,) = second.seen
    assert copy.recipients() == [B, C]
    assert copy.message()["To"] == f"Ann <{A}>"
    assert sorted(report.accepted) == [A, B, C]
    assert report.recipients[A].route == "first"


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("sent", Outcome.ACCEPTED),
        ("queued", Outcome.ACCEPTED),
        ("rejected", Outcome.REJECTED),
        ("invalid", Outcome.REJECTED),
        ("failed", Outcome.DEFERRED),
    ],
)
def test_anymails_word_for_each_recipient_is_that_recipients_outcome(word: str, outcome: Outcome) -> None:
    """Addresses are found whatever the case of their domain."""
    backend = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b=word, c="sent")))
    report = deliver(message(), route(backend))
    assert report.recipients[B].outcome is outcome


def test_the_providers_id_is_kept() -> None:
    """For its events, which name it."""
    backend = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="sent", c="sent")))
    one = build_submission(message())
    job = Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one)
    transport = ForeignTransport(lambda: backend, alias="foreign")
    (transaction,) = transport.transact(
        [job], deadline=Deadline(5.0), authorize=lambda grants, settled: [grant.job for grant in grants]
    )
    assert transaction.provider_message_id == "id-of-the-provider"


class ReadTimeout(OSError):
    """As requests names it."""


class ConnectTimeout(OSError):
    """As requests names it."""


@pytest.mark.parametrize("error", [TimeoutError("read"), ReadTimeout("read"), ConnectionResetError(), ValueError("?")])
def test_silence_and_surprises_are_unknown_and_no_other_route_is_asked(error: Exception) -> None:
    """The provider may have it."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(fails_with(error), "first"), route(second, "second"))
    assert sorted(report.unknown) == [A, B, C]
    assert second.seen == []


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectTimeout("connect"),
        smtplib.SMTPAuthenticationError(535, b"5.7.8 no"),
        smtplib.SMTPConnectError(421, b"4.3.2 later"),
    ],
)
def test_what_surely_was_not_sent_goes_by_the_next_route(error: Exception) -> None:
    """A connection or a login that never was took nothing."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(fails_with(error), "first"), route(second, "second"))
    assert sorted(report.accepted) == [A, B, C]


def test_a_backend_that_counts_nothing_has_taken_nothing() -> None:
    """It swallowed its failure; the next route is asked."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(Backend(lambda message: False), "first"), route(second, "second"))
    assert sorted(report.accepted) == [A, B, C]


def test_smtplibs_refusal_of_the_message_is_read_like_a_reply() -> None:
    """The same words mean the same, whoever heard them."""
    report = deliver(message(), route(fails_with(smtplib.SMTPDataError(550, b"5.4.5 Daily sending quota exceeded"))))
    assert {one.cause for one in report.recipients.values()} == {Cause.QUOTA_EXCEEDED}


def test_a_backend_that_cannot_be_built_takes_nothing_and_raises_nothing() -> None:
    """A wrong setting of the first route does not keep the second from its work."""

    def broken() -> BaseEmailBackend:
        raise ConnectionRefusedError("no such service")

    first = Route(alias="first", transport=ForeignTransport(broken, alias="first"), max_attempts=1)
    report = deliver(message(), first, route(Backend(lambda message: None), "second"))
    assert sorted(report.accepted) == [A, B, C]


def test_without_permission_nothing_is_handed_over() -> None:
    """The journal's word comes before the backend."""
    backend = Backend(lambda message: None)
    one = build_submission(message())
    job = Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one)

    def refuse(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        return []

    transport = ForeignTransport(lambda: backend, alias="foreign")
    (transaction,) = transport.transact([job], deadline=Deadline(5.0), authorize=refuse)
    assert transaction.with_verdict(Verdict.NOT_SENT) == one.recipients
    assert backend.seen == []


def test_an_smtp_route_goes_on_with_what_a_foreign_one_left() -> None:
    """Both kinds stand in one list."""
    world = World()
    world.add(TAKEN, alias="smtp")
    foreign = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="failed", c="sent")))
    report = deliver(message(), route(foreign), *world.routes)
    assert [one.recipients for one in world.log] == [(B,)]
    assert sorted(report.accepted) == [A, B, C]
