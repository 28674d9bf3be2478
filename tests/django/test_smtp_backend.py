"""`ReliableSMTPBackend` as a Django backend: what callers see, and what they are promised."""

import copy
import logging
import pickle
import smtplib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection, send_mail
from django.test import override_settings

from reliable_email import DeliveryOptions, OnUnknown, Outcome, OutcomeUnknown, signals
from reliable_email.classification import Cause
from reliable_email.exceptions import AuthenticationFailed, DeliveryError, InvalidMailer, RecipientsRefused
from reliable_email.smtp.driver import pool
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, accept_then, close, hang, reset
from tests.django.conftest import backend_for, message

Serve = Callable[..., ScriptedServer]


# What is returned, and what is on the message.


def test_send_messages_counts_messages_and_hangs_a_report_on_each(serve: Serve) -> None:
    """Two messages, three recipients, all accepted."""
    server = serve()
    one, two = message("b@example.net", "c@example.net"), message()
    assert backend_for(server).send_messages([one, two]) == 2
    report = delivery_of(one)
    assert report.accepted == ["b@example.net", "c@example.net"]
    result = report.recipients["b@example.net"]
    assert result.outcome is Outcome.ACCEPTED
    assert (result.route, result.attempts) == ("scripted", 1)
    assert result.reply is not None
    assert result.reply.code == 250
    assert delivery_of(two).attempts[0].peer == f"127.0.0.1:{server.port}"


def test_nothing_to_send_is_zero_and_opens_nothing(serve: Serve) -> None:
    """An empty batch, None, and messages without recipients."""
    server = serve()
    backend = backend_for(server)
    assert backend.send_messages([]) == 0
    assert backend.send_messages([EmailMessage("s", "b", "a@example.org", [])]) == 0
    assert server.connections == []


def test_the_report_finds_every_spelling_of_a_recipient(serve: Serve) -> None:
    """With a name, and whatever the case of its domain."""
    one = message("Maria <Maria@Example.NET>")
    backend_for(serve()).send_messages([one])
    assert delivery_of(one).accepted == ["Maria@example.net"]
    assert delivery_of(one).recipients["Maria <Maria@Example.NET>"].outcome is Outcome.ACCEPTED


def test_nothing_but_delivery_is_written_on_the_message(serve: Serve) -> None:
    """Not a header, not a list."""
    one = EmailMultiAlternatives("s", "b", "a@example.org", ["b@example.net"], headers={"X-Own": "1"})
    one.attach("a.txt", "x", "text/plain")
    before = copy.deepcopy(vars(one))
    backend_for(serve()).send_messages([one])
    after = dict(vars(one))
    after.pop("delivery")
    assert after == before


def test_blind_copies_are_in_the_envelope_alone(serve: Serve) -> None:
    """Nobody reads of them."""
    server = serve()
    backend_for(server).send_messages([message(bcc=["secret@example.net"], cc=["c@example.net"])])
    (received,) = server.messages
    assert received.recipients == ("b@example.net", "c@example.net", "secret@example.net")
    assert b"secret" not in received.content


# Attempts.


@pytest.mark.parametrize(
    "script",
    [
        Script(greeting="421 4.3.0 try later"),
        Script(greeting=close()),
        Script(ehlo=reset()),
        Script(mail=["451 4.3.0 later", None]),
        Script(rcpt=["450 4.2.1 busy", None]),
        Script(data=["451 4.3.0 later", None]),
        Script(data=close()),
        Script(final_reply=["451 4.3.0 not now", None]),
    ],
    ids=["421", "closed", "reset", "mail 451", "rcpt 450", "data 451", "closed at data", "final 451"],
)
def test_what_is_surely_not_sent_is_tried_again(serve: Serve, script: Script) -> None:
    """Inside one call, and the message is there once."""
    server = serve(script, Script())
    one = message()
    assert backend_for(server).send_messages([one]) == 1
    assert len(delivery_of(one).attempts) == 2
    assert len(server.messages) == 1


def test_attempts_are_bounded_by_the_option(serve: Serve) -> None:
    """Two and no more; what is left is deferred, with the last reply as evidence."""
    server = serve(Script(mail="451 4.3.0 later"))
    one = message()
    with pytest.raises(DeliveryError):
        backend_for(server, max_attempts=2).send_messages([one])
    assert len(delivery_of(one).attempts) == 2
    assert delivery_of(one).deferred == ["b@example.net"]


def test_only_the_deferred_recipients_are_tried_again(serve: Serve) -> None:
    """The one that was accepted is not asked for twice, the one that was refused neither."""
    server = serve(Script(rcpt={"busy@example.net": "450 4.2.1 busy", "bad@example.net": "550 5.1.1 no"}), Script())
    one = message("good@example.net", "busy@example.net", "bad@example.net")
    assert backend_for(server).send_messages([one]) == 1
    assert [received.recipients for received in server.messages] == [("good@example.net",), ("busy@example.net",)]
    report = delivery_of(one)
    assert (report.accepted, report.rejected) == (["good@example.net", "busy@example.net"], ["bad@example.net"])
    assert report.recipients["busy@example.net"].attempts == 2


@pytest.mark.parametrize("end", [close(), reset(), hang()], ids=["close", "reset", "hang"])
@pytest.mark.parametrize("is_taken", [True, False])
def test_after_the_final_dot_nothing_is_tried_again(serve: Serve, end: Any, is_taken: bool) -> None:
    """Unknown: at most one copy, and an error that says so."""
    server = serve(Script(final_reply=accept_then(end) if is_taken else end), Script())
    one = message()
    with pytest.raises(OutcomeUnknown) as caught:
        backend_for(server).send_messages([one])
    assert delivery_of(one).unknown == ["b@example.net"]
    assert caught.value.report is delivery_of(one)
    assert len(server.messages) == (1 if is_taken else 0)
    assert len(server.connections) == 1


def test_sending_the_same_object_again_makes_no_second_copy(serve: Serve) -> None:
    """A task that retries on SMTPException: accepted and unknown recipients are left out, the Message-ID stays."""
    server = serve(Script(rcpt={"busy@example.net": ["450 later", None]}))
    one = message("good@example.net", "busy@example.net")
    backend = backend_for(server, max_attempts=2)
    backend.send_messages([one])
    assert delivery_of(one).deferred == ["busy@example.net"]
    backend.send_messages([one])
    assert delivery_of(one).accepted == ["good@example.net", "busy@example.net"]
    assert [received.recipients for received in server.messages] == [("good@example.net",), ("busy@example.net",)]
    assert len({received.header("Message-ID") for received in server.messages}) == 1


def test_an_unknown_message_is_sent_again_only_where_its_policy_says_so(serve: Serve) -> None:
    """on_unknown="resend"."""
    server = serve(Script(final_reply=accept_then(close())), Script())
    one = message()
    backend = backend_for(server)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            backend.send_messages([one])
    assert len(server.messages) == 1
    one.delivery_options = DeliveryOptions(on_unknown=OnUnknown.RESEND)  # type: ignore[attr-defined]
    assert backend.send_messages([one]) == 1
    assert len(server.messages) == 2
    assert len({received.header("Message-ID") for received in server.messages}) == 1


def test_a_wrong_password_costs_one_attempt(serve: Serve) -> None:
    """Accounts get locked by more."""
    server = serve(login={"user": "right"})
    one = message()
    with pytest.raises(AuthenticationFailed) as caught:
        backend_for(server, password="wrong").send_messages([one])
    assert isinstance(caught.value, smtplib.SMTPAuthenticationError)
    assert sum("AUTH" in record.verbs for record in server.connections) == 1


# Errors.


def test_a_batch_is_tried_to_its_end_and_then_one_error_names_the_failed(serve: Serve) -> None:
    """The good ones are delivered."""
    server = serve(Script(rcpt={"bad@example.net": "550 5.1.1 no such user"}))
    batch = [message(), message("bad@example.net"), message("c@example.net")]
    with pytest.raises(RecipientsRefused) as caught:
        backend_for(server).send_messages(batch)
    assert isinstance(caught.value, smtplib.SMTPRecipientsRefused)
    assert len(server.messages) == 2
    assert "bad@example.net" in str(caught.value)
    assert [delivery_of(one).rejected for one in batch] == [[], ["bad@example.net"], []]


def test_a_message_that_some_recipients_took_is_no_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The report, a signal and a warning tell."""
    told: list[str] = []

    def hear(*, address: str, **kwargs: Any) -> None:
        told.append(address)

    signals.recipient_rejected.connect(hear)
    try:
        server = serve(Script(rcpt={"bad@example.net": "550 5.1.1 no"}))
        with caplog.at_level(logging.WARNING, "reliable_email"):
            assert backend_for(server).send_messages([message("bad@example.net", "good@example.net")]) == 1
    finally:
        signals.recipient_rejected.disconnect(hear)
    assert told == ["bad@example.net"]
    assert "mailbox_unknown" in caplog.text


def test_fail_silently_keeps_the_report(serve: Serve) -> None:
    """Nothing is raised, everything is known."""
    server = serve(Script(mail="550 5.7.1 no"))
    one = message()
    assert backend_for(server, fail_silently=True).send_messages([one]) == 0
    assert not delivery_of(one).accepted
    assert delivery_of(one).attempts


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a\nBcc: x@example.org"},
        {"subject": "a\x0bb"},
        {"headers": {"X-Own": "a\r\nb"}},
        {"headers": {"Bcc": "x@example.org"}},
        {"body": "a\x00b"},
        {"body": "\ud800"},
        {"from_email": "a@example.org> SIZE=1"},
    ],
)
def test_an_invalid_message_is_a_value_error_before_any_connection(serve: Serve, fields: dict[str, Any]) -> None:
    """The other message of the batch is sent."""
    server = serve()
    with pytest.raises(ValueError, match=r".+"):
        backend_for(server).send_messages([message(**fields)])
    assert server.connections == []
    with pytest.raises(ValueError, match=r".+"):
        backend_for(server).send_messages([message(**fields), message()])
    assert len(server.messages) == 1


@pytest.mark.parametrize("option", [{"idempotency_key": "k"}, {"send_at": datetime(2030, 1, 1, tzinfo=UTC)}])
def test_wishes_that_need_the_outbox_are_errors_at_this_door(serve: Serve, option: dict[str, Any]) -> None:
    """Never ignored."""
    one = message()
    one.delivery_options = DeliveryOptions(**option)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="outbox"):
        backend_for(serve()).send_messages([one])


def test_errors_can_be_pickled_and_copied(serve: Serve) -> None:
    """A task queue does both."""
    server = serve(Script(mail="550 5.7.1 no"))
    with pytest.raises(DeliveryError) as caught:
        backend_for(server).send_messages([message()])
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.report is not None
    assert str(copy.copy(caught.value)) == str(caught.value)


def test_no_secret_is_anywhere(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Not in logs, errors, reports or reprs, also where the server repeats it."""
    secret = "s3cret-passw0rd"
    server = serve(Script(auth=f"535 5.7.8 {secret} is wrong"), login={"user": "other"})
    backend = backend_for(server, password=secret)
    one = message()
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationFailed) as caught:
        backend.send_messages([one])
    said = caplog.text + str(caught.value) + repr(caught.value) + repr(delivery_of(one)) + repr(backend.options)
    said += repr(vars(backend)) + repr(backend.routes())
    assert secret not in said


# The backend's own life.


def test_open_connects_and_says_whether_it_had_to(serve: Serve) -> None:
    """As Django documents: True for a new connection, False where there was one; close changes nothing that matters."""
    server = serve()
    with backend_for(server) as backend:
        assert len(server.connections) == 1
        assert backend.open() is False
        backend.send_messages([message(), message()])
    backend_for(server).send_messages([message()])
    assert len(server.connections) == 1
    assert len(server.messages) == 3


def test_open_raises_what_health_checks_catch(serve: Serve) -> None:
    """SMTPException, or ConnectionRefusedError."""
    server = serve(login={"user": "right"})
    with pytest.raises(smtplib.SMTPException):
        backend_for(server, password="wrong").open()
    assert backend_for(server, password="wrong", fail_silently=True).open() is None
    server.close()
    pool.reset()
    with pytest.raises(ConnectionRefusedError):
        backend_for(server).open()


def test_a_time_budget_bounds_all_attempts_together(serve: Serve) -> None:
    """A server that is silent at every connection gets no more than the budget."""
    server = serve(Script(greeting=hang()))
    one = message()
    with pytest.raises(TimeoutError):
        backend_for(server, timeout=0.5).send_messages([one])
    spent = sum(attempt.seconds for attempt in delivery_of(one).attempts)
    assert spent <= 0.5 * 1.5
    assert delivery_of(one).recipients["b@example.net"].cause is Cause.TIMEOUT


def test_threads_share_connections_without_mixing_messages(serve: Serve) -> None:
    """Eight threads, ten messages each: all there, each once."""
    server = serve(tls="starttls", login={"user": "secret"})
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(10):
                backend_for(server).send_messages([message(f"t{thread}n{n}@example.net", subject=f"t{thread}n{n}")])
        except BaseException as error:  # noqa: BLE001 - told to the test below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(received.recipients[0] for received in server.messages) == sorted(
        f"t{thread}n{n}@example.net" for thread in range(8) for n in range(10)
    )
    assert all(received.header("Subject") == received.recipients[0][:-12] for received in server.messages)
    assert len(server.connections) <= 8


# As a setting.


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_send_mail_goes_by_mailers(serve: Serve) -> None:
    """The ordinary way."""
    server = serve()
    entry = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": server.options()}
    with override_settings(MAILERS={"default": entry, "other": entry}):
        assert send_mail("s", "b", "a@example.org", ["b@example.net"]) == 1
        assert send_mail("s", "b", "a@example.org", ["b@example.net"], using="other") == 1
    assert len(server.messages) == 2


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")
def test_send_mail_goes_by_email_settings(serve: Serve) -> None:
    """Without MAILERS the `EMAIL_*` names count, Django's and this package's."""
    server = serve()
    with override_settings(
        EMAIL_BACKEND="reliable_email.backends.ReliableSMTPBackend",
        EMAIL_HOST=server.host,
        EMAIL_PORT=server.port,
        EMAIL_MAX_RETRIES=2,
    ):
        assert send_mail("s", "b", "a@example.org", ["b@example.net"]) == 1
        assert get_connection().options.max_attempts == 2  # type: ignore[attr-defined]


def test_an_unknown_option_is_reported_with_the_right_one(serve: Serve) -> None:
    """On every version of Django."""
    with pytest.raises(InvalidMailer, match="max_attempts"):
        backend_for(serve(), max_attemps=2)
