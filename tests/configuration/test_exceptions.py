"""What callers catch is the class that they already catch, with its attributes, and it says what happened."""

import copy
import pickle
import smtplib
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.exceptions import (
    AuthenticationFailed,
    ConnectFailed,
    ContentRefused,
    DeliveryError,
    Disconnected,
    HostNotFound,
    InvalidMailer,
    MailerDoesNotExist,
    OutcomeUnknown,
    RecipientsRefused,
    ReplyTimedOut,
    SenderRefused,
    TLSFailed,
    error_for,
)
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, parse_reply


def failure(cause: Cause, stage: Stage, reply: str = "", detail: str = "", help_text: str = "Do this.") -> Failure:
    """A failure of a route, with its text for people."""
    return Failure(
        cause=cause,
        scope=Scope.ROUTE,
        permanent=True,
        certain=True,
        stage=stage,
        reply=parse_reply(reply) if reply else None,
        detail=detail,
        help=help_text,
    )


def one(outcome: Outcome, why: Failure | None = None, route: str = "gmail") -> RecipientOutcome:
    """What became of one recipient."""
    return RecipientOutcome(
        outcome=outcome,
        cause=why.cause if why else None,
        reply=why.reply if why else None,
        route=route,
        attempts=1,
        failure=why,
    )


def report(**outcomes: RecipientOutcome) -> DeliveryReport:
    """A report on addresses at example.com."""
    recipients = Recipients({f"{name}@example.com": outcome for name, outcome in outcomes.items()})
    return DeliveryReport(recipients=recipients, message_id="<1@x>")


UNKNOWN_MAILBOX = failure(Cause.MAILBOX_UNKNOWN, Stage.RCPT, "550 5.1.1 No such user")
BAD_LOGIN = failure(Cause.AUTH_FAILED, Stage.AUTH, "535 5.7.8 Username and Password not accepted")


@pytest.mark.parametrize(
    ("why", "expected", "also"),
    [
        (UNKNOWN_MAILBOX, RecipientsRefused, smtplib.SMTPRecipientsRefused),
        (BAD_LOGIN, AuthenticationFailed, smtplib.SMTPAuthenticationError),
        (failure(Cause.SENDER_REJECTED, Stage.MAIL, "550 no"), SenderRefused, smtplib.SMTPSenderRefused),
        (failure(Cause.CONTENT_REJECTED, Stage.FINAL_REPLY, "554 no"), ContentRefused, smtplib.SMTPDataError),
        (failure(Cause.QUOTA_EXCEEDED, Stage.DATA, "452 no"), ContentRefused, smtplib.SMTPResponseException),
        (failure(Cause.DISCONNECTED, Stage.MAIL, detail="closed"), Disconnected, smtplib.SMTPServerDisconnected),
        (failure(Cause.CONNECT_FAILED, Stage.CONNECT, detail="refused"), ConnectFailed, ConnectionRefusedError),
        (failure(Cause.HOST_NOT_FOUND, Stage.RESOLVE, detail="no name"), HostNotFound, socket.gaierror),
        (failure(Cause.TIMEOUT, Stage.GREETING, detail="10 s"), ReplyTimedOut, TimeoutError),
        (failure(Cause.TLS_FAILED, Stage.TLS, detail="expired"), TLSFailed, ssl.SSLError),
        (failure(Cause.ROUTE_CLOSED, Stage.CONNECT, detail="closed"), DeliveryError, OSError),
    ],
)
def test_the_class_follows_from_what_happened(
    why: Failure, expected: type[DeliveryError], also: type[Exception]
) -> None:
    """Existing `except` lines go on working."""
    error = error_for([report(a=one(Outcome.DEFERRED, why))])
    assert type(error) is expected
    assert isinstance(error, also)
    assert isinstance(error, smtplib.SMTPException)


@pytest.mark.parametrize(
    "why",
    [
        UNKNOWN_MAILBOX,
        BAD_LOGIN,
        failure(Cause.SENDER_REJECTED, Stage.MAIL, "550 no"),
        failure(Cause.CONNECT_FAILED, Stage.CONNECT, detail="refused"),
        failure(Cause.HOST_NOT_FOUND, Stage.RESOLVE, detail="no name"),
        failure(Cause.TIMEOUT, Stage.GREETING, detail="10 s"),
    ],
)
def test_an_error_survives_pickle_and_copy(why: Failure) -> None:
    """Task queues pickle what a task raised."""
    error = error_for([report(a=one(Outcome.DEFERRED, why))], sender="me@example.com")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other).keys() == vars(error).keys()
        assert [one.deferred for one in other.reports] == [["a@example.com"]]


def test_smtplib_s_attributes_are_filled() -> None:
    """Code that reads them finds what smtplib would have put there."""
    refused = error_for([report(a=one(Outcome.REJECTED, UNKNOWN_MAILBOX), b=one(Outcome.REJECTED, UNKNOWN_MAILBOX))])
    assert isinstance(refused, RecipientsRefused)
    assert refused.recipients == {
        "a@example.com": (550, b"5.1.1 No such user"),
        "b@example.com": (550, b"5.1.1 No such user"),
    }
    login = error_for([report(a=one(Outcome.DEFERRED, BAD_LOGIN))])
    assert isinstance(login, AuthenticationFailed)
    assert (login.smtp_code, login.smtp_error) == (535, b"5.7.8 Username and Password not accepted")
    sender = error_for(
        [report(a=one(Outcome.REJECTED, failure(Cause.SENDER_REJECTED, Stage.MAIL, "550 no")))], sender="me@x"
    )
    assert isinstance(sender, SenderRefused)
    assert (sender.smtp_code, sender.smtp_error, sender.sender) == (550, b"no", "me@x")


def test_the_text_says_who_what_where_and_what_to_do() -> None:
    """In one line where there is one thing to say."""
    text = str(error_for([report(a=one(Outcome.REJECTED, UNKNOWN_MAILBOX))]))
    assert text == (
        "message <1@x> was not delivered: a@example.com: rejected by gmail, "
        'mailbox_unknown at rcpt: "550 5.1.1 No such user". Do this.'
    )


def test_recipients_with_the_same_fate_share_a_line() -> None:
    """A thousand refused addresses are not a thousand lines, nor all of them one."""
    outcomes = {f"u{number}": one(Outcome.REJECTED, UNKNOWN_MAILBOX) for number in range(1000)}
    text = str(error_for([report(**outcomes)]))
    assert "and 990 more" in text
    assert len(text) < 600


def test_each_route_s_failure_is_told() -> None:
    """All routes failing names each and its cause."""
    started = datetime(2026, 1, 1, tzinfo=UTC)
    attempts = [
        Attempt(route=route, stage=Stage.AUTH, started_at=started, seconds=0.1, outcomes={}, failure=why)
        for route, why in (
            ("gmail", BAD_LOGIN),
            ("sendgrid", failure(Cause.CONNECT_FAILED, Stage.CONNECT, detail="nothing listens")),
        )
    ]
    why = attempts[1].failure
    text = str(error_for([replace(report(a=one(Outcome.DEFERRED, why, route="sendgrid")), attempts=tuple(attempts))]))
    assert "deferred by sendgrid, connect_failed at connect: nothing listens" in text
    assert 'before, by gmail: auth_failed at auth: "535 5.7.8' in text


def test_unknown_wins_over_everything() -> None:
    """Whoever catches it must not send again blindly."""
    vanished = failure(Cause.OUTCOME_UNKNOWN, Stage.FINAL_REPLY, detail="no final reply within 60 s")
    error = error_for([report(a=one(Outcome.REJECTED, UNKNOWN_MAILBOX)), report(b=one(Outcome.UNKNOWN, vanished))])
    assert type(error) is OutcomeUnknown
    assert len(error.reports) == 2
    assert error.report is error.reports[0]


def test_mixed_failures_are_the_base_class() -> None:
    """No narrower one would be true of all."""
    error = error_for([report(a=one(Outcome.REJECTED, UNKNOWN_MAILBOX), b=one(Outcome.DEFERRED, BAD_LOGIN))])
    assert type(error) is DeliveryError
    assert str(error).count("\n") == 2


def test_accepted_recipients_are_not_complained_of() -> None:
    """A report may hold both."""
    text = str(error_for([report(a=one(Outcome.ACCEPTED), b=one(Outcome.REJECTED, UNKNOWN_MAILBOX))]))
    assert "a@example.com" not in text


def test_a_batch_is_cut_short_in_words_but_not_in_reports() -> None:
    """An error is read by people."""
    reports = [report(a=one(Outcome.REJECTED, UNKNOWN_MAILBOX))] * 50
    error = error_for(reports)
    assert "and 40 more messages" in str(error)
    assert len(error.reports) == 50


def test_a_server_cannot_forge_lines() -> None:
    """Control and bidi characters of a reply are escaped."""
    reply = Reply(550, ("a\rb\x1b[2J\u202ec",))
    evil = replace(failure(Cause.CONTENT_REJECTED, Stage.DATA), reply=reply)
    text = str(error_for([report(a=one(Outcome.REJECTED, evil))]))
    assert text.isprintable()
    assert "\\u202e" in text


def test_an_error_made_by_hand_works_too() -> None:
    """As any exception."""
    error = DeliveryError("nothing")
    assert (str(error), error.report, error.reports) == ("nothing", None, ())


def test_configuration_errors_are_django_s() -> None:
    """`except ImproperlyConfigured` and `except KeyError` catch them on every version."""
    assert str(InvalidMailer("no.", alias="x")) == "MAILERS['x']: no."
    assert str(InvalidMailer("no.")) == "no."
    missing = MailerDoesNotExist(alias="x")
    assert isinstance(missing, (InvalidMailer, ImproperlyConfigured))
    assert isinstance(missing, KeyError)
    assert "The mailer 'x' is not configured." in str(missing)
