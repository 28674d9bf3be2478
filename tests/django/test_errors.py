"""What is raised: the classes that existing code catches, the words that help, and no secret."""

import copy
import logging
import pickle
import smtplib
import socket

import pytest

from reliable_email.backends import ReliableSMTPBackend
from reliable_email.delivery.report import Outcome
from reliable_email.exceptions import (
    AuthenticationFailed,
    ConnectFailed,
    ContentRefused,
    DeliveryError,
    Disconnected,
    HostNotFound,
    OutcomeUnknown,
    RecipientsRefused,
    ReplyTimedOut,
    SenderRefused,
)
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import (
    Conversation,
    ScriptedServer,
    close,
    hang,
)
from tests.django.conftest import Configure
from tests.django.post import A, B, backend_for, closed_port, message

# Django 6.1 warns whoever sets the old names, as half of these tests must.
pytestmark = pytest.mark.filterwarnings("ignore:The EMAIL_")


ERRORS: dict[str, tuple[Script, type[DeliveryError], type[Exception]]] = {
    "greeting": (Script(greeting=close()), Disconnected, smtplib.SMTPServerDisconnected),
    "mail": (Script(mail="550 5.7.1 not from you"), SenderRefused, smtplib.SMTPSenderRefused),
    "rcpt": (Script(rcpt="550 5.1.1 no such user"), RecipientsRefused, smtplib.SMTPRecipientsRefused),
    "data": (Script(data="554 5.7.1 no"), ContentRefused, smtplib.SMTPDataError),
    "final": (Script(final_reply="554 5.7.1 spam"), ContentRefused, smtplib.SMTPDataError),
    "unknown": (Script(final_reply=close()), OutcomeUnknown, smtplib.SMTPException),
    "silence": (Script(greeting=hang()), ReplyTimedOut, TimeoutError),
}


class TestErrors:
    """Existing `except` lines go on working, and there is more to read in what they catch."""

    @pytest.mark.parametrize("name", ERRORS)
    def test_each_failure_has_django_s_class_and_ours(self, configure: Configure, name: str) -> None:
        """smtplib's class where one applies, and always SMTPException and OSError."""
        script, ours, theirs = ERRORS[name]
        with ScriptedServer(script) as server:
            configure(server.options(timeout=1, max_attempts=1))
            one = message(A)
            with pytest.raises(theirs) as caught:
                one.send()
            assert type(caught.value) is ours
            assert isinstance(caught.value, smtplib.SMTPException)
            assert caught.value.report is delivery_of(one)

    @pytest.mark.parametrize("name", ERRORS)
    def test_silence_is_zero_and_a_report(self, name: str) -> None:
        """fail_silently hides the exception, never what happened."""
        script, _, _ = ERRORS[name]
        with ScriptedServer(script) as server:
            one = message(A)
            assert backend_for(server, timeout=1, max_attempts=1, fail_silently=True).send_messages([one]) == 0
            result = delivery_of(one).recipients[A]
            assert result.outcome is not Outcome.ACCEPTED
            assert result.failure is not None
            assert result.failure.help

    def test_attributes_are_those_of_smtplib(self) -> None:
        """`smtp_code`, `smtp_error`, `sender`, `recipients`."""
        with ScriptedServer(Script(mail="550 5.7.1 not from you")) as server:
            with pytest.raises(smtplib.SMTPSenderRefused) as sender:
                backend_for(server).send_messages([message(A)])
            assert (sender.value.smtp_code, sender.value.smtp_error) == (550, b"5.7.1 not from you")
            assert sender.value.sender == "me@example.org"
        with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as server:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as recipients:
                backend_for(server).send_messages([message(A, B)])
            assert recipients.value.recipients == {
                A: (550, b"5.1.1 no such user"),
                B: (550, b"5.1.1 no such user"),
            }

    def test_a_refused_connection_and_an_unknown_host_are_told_apart(self) -> None:
        """ConnectionRefusedError and socket.gaierror, as with Django's backend."""
        with pytest.raises(ConnectionRefusedError) as refused:
            ReliableSMTPBackend(alias="x", host="127.0.0.1", port=closed_port(), max_attempts=1).send_messages(
                [message()]
            )
        assert isinstance(refused.value, ConnectFailed)
        with pytest.raises(socket.gaierror) as unknown:
            ReliableSMTPBackend(alias="y", host="mail.invalid", port=25).send_messages([message()])
        assert isinstance(unknown.value, HostNotFound)

    def test_an_error_goes_through_pickle_and_copy(self) -> None:
        """A task queue sends it to another process."""
        with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as server:
            with pytest.raises(RecipientsRefused) as caught:
                backend_for(server).send_messages([message(A)])
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(again), str(again), again.recipients) == (
                RecipientsRefused,
                str(caught.value),
                caught.value.recipients,
            )
            assert copy.copy(caught.value).report is caught.value.report

    def test_the_text_says_who_where_and_what_to_do(self) -> None:
        """An operator has nothing but a line of a log."""
        with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as server:
            with pytest.raises(DeliveryError) as caught:
                backend_for(server).send_messages([message(A)])
            text = str(caught.value)
            for words in (A, "rejected", "main", "rcpt", "no such user", "Correct the address"):
                assert words in text


class TestSecrets:
    """A password is in no log, repr, error or report, not even where the server says it."""

    PASSWORD = "corr3ct-horse-battery"

    def test_nothing_shows_the_password(self, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
        """The server echoes it in clear, in base64, and as AUTH PLAIN has it."""
        import base64

        plain = base64.b64encode(f"\0user\0{self.PASSWORD}".encode()).decode()
        alone = base64.b64encode(self.PASSWORD.encode()).decode()

        def echo(conversation: Conversation) -> None:
            conversation.say(f"535 5.7.8 bad credentials {self.PASSWORD} {alone} {plain}")

        with (
            ScriptedServer(Script(auth=echo), tls="starttls", login={"user": "right"}) as server,
            caplog.at_level(logging.DEBUG),
        ):
            backend = configure(server.options(username="user", password=self.PASSWORD))
            one = message(A)
            with pytest.raises(AuthenticationFailed) as caught:
                one.send()
        seen = "\n".join(
            [
                repr(backend),
                repr(vars(backend)),
                repr(caught.value),
                str(caught.value),
                repr(vars(caught.value)),
                repr(delivery_of(one)),
                caplog.text,
            ]
        )
        for secret in (self.PASSWORD, alone, plain):
            assert secret not in seen
        assert "bad credentials" in seen
