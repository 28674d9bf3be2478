"""What is tried again, how often, and never: within one send, and when the same object is sent again."""

import smtplib
from typing import Any

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.submission import DeliveryOptions
from reliable_email.exceptions import (
    AuthenticationFailed,
    DeliveryError,
    OutcomeUnknown,
    TimedOut,
)
from reliable_email.smtp.driver.pool import pool
from reliable_email.smtp.stages import Stage
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import (
    ScriptedServer,
    accept_then,
    close,
    half,
    hang,
    reply,
    reset,
)
from tests.django.conftest import Configure
from tests.django.post import A, B, C, backend_for, message, received

# Django 6.1 warns whoever sets the old names, as half of these tests must.
pytestmark = pytest.mark.filterwarnings("ignore:The EMAIL_")


# Before the server has the whole message, anything may be tried again.
SAFE = {
    "greeting 421": Script(greeting="421 4.3.2 try later"),
    "greeting cut": Script(greeting=close()),
    "ehlo reset": Script(ehlo=reset()),
    "mail 451": Script(mail="451 4.3.0 try later"),
    "mail 421": Script(mail="421 4.3.2 closing"),
    "rcpt 450": Script(rcpt="450 4.2.0 busy"),
    "rcpt cut": Script(rcpt=close()),
    "data 451": Script(data="451 4.3.0 try later"),
    "data cut": Script(data=close()),
    "final 451": Script(final_reply="451 4.3.0 not now"),
    "final 421": Script(final_reply="421 4.3.2 closing"),
    "ghost reply": Script(mail=reply("250 ok\n250 ghost")),
}


class TestRetries:
    """Again where it is provably safe, within the budget, and never otherwise."""

    @pytest.mark.parametrize("name", SAFE)
    def test_what_is_safe_to_repeat_is_repeated(self, configure: Configure, name: str) -> None:
        """One failure, one success, one copy, and both in the report."""
        with ScriptedServer(SAFE[name], Script()) as server:
            configure(server.options())
            one = message(A)
            assert one.send() == 1
            report = delivery_of(one)
            assert len(report.attempts) >= 2
            assert report.recipients[A].attempts == len(report.attempts)
            assert [attempt.failure is None for attempt in report.attempts][-1]
            assert received(server) == [(A,)]

    @pytest.mark.parametrize(
        ("script", "cause"),
        [
            (Script(greeting=close()), Cause.DISCONNECTED),
            (Script(mail="451 4.3.0 try later"), Cause.SYSTEM_TEMPORARY),
        ],
    )
    def test_attempts_are_counted(self, script: Script, cause: Cause) -> None:
        """`max_attempts` are attempts in all, and what is left is deferred."""
        with ScriptedServer(script) as server:
            one = message(A)
            with pytest.raises(DeliveryError):
                backend_for(server, max_attempts=2).send_messages([one])
            assert len(delivery_of(one).attempts) == 2
            assert delivery_of(one).recipients[A].outcome is Outcome.DEFERRED
            assert delivery_of(one).recipients[A].cause is cause

    @pytest.mark.parametrize(
        "script",
        [
            Script(rcpt="550 5.1.1 no such user"),
            Script(mail="550 5.7.1 no"),
            Script(final_reply="554 5.7.1 spam"),
        ],
    )
    def test_a_final_refusal_is_not_repeated(self, script: Script) -> None:
        """The server was understood the first time."""
        with ScriptedServer(script) as server:
            one = message(A)
            with pytest.raises(DeliveryError):
                backend_for(server).send_messages([one])
            assert delivery_of(one).rejected == [A]
            assert len(delivery_of(one).attempts) == 1
            assert sum(command.startswith("MAIL") for command in server.commands) == 1

    @pytest.mark.parametrize(
        "final_reply",
        [
            accept_then(close()),
            accept_then(reset()),
            accept_then(half("250 2.0.0 queu")),
            accept_then(reply("999 what")),
            close(),
        ],
    )
    def test_an_unknown_outcome_is_never_repeated(self, configure: Configure, final_reply: Any) -> None:
        """The server may have it: a second copy is worse than a question."""
        with ScriptedServer(Script(final_reply=final_reply), Script()) as server:
            configure(server.options())
            one = message(A)
            with pytest.raises(OutcomeUnknown):
                one.send()
            assert delivery_of(one).unknown == [A]
            assert len(delivery_of(one).attempts) == 1
            assert len(server.connections) == 1

    def test_a_silent_final_reply_is_unknown_after_its_own_timeout(self) -> None:
        """`final_reply_timeout`, not the message's budget."""
        with ScriptedServer(Script(final_reply=accept_then(hang()))) as server:
            one = message(A)
            with pytest.raises(OutcomeUnknown):
                backend_for(server, final_reply_timeout=0.2).send_messages([one])
            assert delivery_of(one).unknown == [A]

    def test_a_wrong_password_is_offered_once(self) -> None:
        """Not for each message of a batch, and not again for the next one: that locks accounts."""
        with ScriptedServer(login={"user": "right"}, tls="starttls") as server:
            first, second = message(A), message(B)
            backend = backend_for(server, password="wrong")
            with pytest.raises(AuthenticationFailed):
                backend.send_messages([first, second])
            with pytest.raises(DeliveryError):
                backend.send_messages([message(C)])
            assert sum(command.startswith("AUTH") for command in server.commands) == 1
            assert delivery_of(first).deferred == [A]
            assert delivery_of(second).deferred == [B]

    def test_a_hang_ends_with_the_budget(self) -> None:
        """Every stage is bounded, and the report names the one that hung."""
        with ScriptedServer(Script(greeting=hang())) as server:
            one = message(A)
            with pytest.raises(TimedOut):
                backend_for(server, timeout=0.3).send_messages([one])
            assert delivery_of(one).attempts[0].stage is Stage.GREETING
            assert delivery_of(one).recipients[A].cause is Cause.TIMEOUT

    def test_only_deferred_recipients_are_asked_again(self) -> None:
        """Who has it, and who was refused for good, is left alone."""
        with ScriptedServer(Script(rcpt={B: "450 4.2.0 busy", C: "550 5.1.1 no such user"}), Script()) as server:
            one = message(A, B, C)
            assert backend_for(server).send_messages([one]) == 1
            assert delivery_of(one).accepted == [A, B]
            assert delivery_of(one).rejected == [C]
            assert received(server) == [(A,), (B,)]

    def test_a_connection_that_was_closed_while_idle_costs_no_attempt(self, server: ScriptedServer) -> None:
        """A site that sends one message an hour notices nothing."""
        backend = backend_for(server)
        backend.send_messages([message(A)])
        server.do(close())
        one = message(B)
        assert backend.send_messages([one]) == 1
        assert len(delivery_of(one).attempts) == 1


class TestSendingTheSameObjectAgain:
    """What a task queue does that tries again whatever raised."""

    def test_accepted_recipients_are_skipped(self, configure: Configure, server: ScriptedServer) -> None:
        """No second copy, and it still counts as sent."""
        configure(server.options())
        one = message(A)
        assert one.send() == 1
        assert one.send() == 1
        assert received(server) == [(A,)]
        assert delivery_of(one).accepted == [A]

    def test_unknown_recipients_are_skipped_and_the_error_comes_again(self) -> None:
        """A Celery task with autoretry_for=(SMTPException,) makes no duplicates."""
        with ScriptedServer(Script(final_reply=accept_then(close())), Script()) as server:
            backend, one = backend_for(server), message(A)
            for _ in range(3):
                with pytest.raises(smtplib.SMTPException) as caught:
                    backend.send_messages([one])
                assert isinstance(caught.value, OutcomeUnknown)
            assert received(server) == [(A,)]

    @pytest.mark.parametrize("where", ["the mailer", "the message"])
    def test_unknown_recipients_are_sent_again_where_that_is_wished(self, where: str) -> None:
        """With the same Message-ID, so that a reader can drop the second."""
        with ScriptedServer(Script(final_reply=accept_then(close())), Script()) as server:
            one = message(A)
            if where == "the message":
                one.delivery_options = DeliveryOptions(on_unknown="resend")  # type: ignore[attr-defined,arg-type]
            wish = {"on_unknown": "resend"} if where == "the mailer" else {}
            backend = backend_for(server, max_attempts=1, **wish)
            with pytest.raises(OutcomeUnknown):
                backend.send_messages([one])
            assert backend.send_messages([one]) == 1
            first, second = server.messages
            assert first.header("Message-ID") == second.header("Message-ID")

    def test_deferred_recipients_are_asked_again_and_the_message_id_stays(self) -> None:
        """Two sends, one copy each, one Message-ID."""
        with ScriptedServer(Script(rcpt={B: "450 4.2.0 busy"}), Script()) as server:
            backend, one = backend_for(server, max_attempts=1), message(A, B)
            assert backend.send_messages([one]) == 1
            server.behave(Script())
            pool.close_all()
            assert backend.send_messages([one]) == 1
            assert received(server) == [(A,), (B,)]
            assert len({copy_.header("Message-ID") for copy_ in server.messages}) == 1
            assert sorted(delivery_of(one).accepted) == [A, B]

    def test_a_recipient_that_is_added_gets_it_alone(self, server: ScriptedServer) -> None:
        """The report of the first send is kept for the others."""
        backend, one = backend_for(server), message(A)
        backend.send_messages([one])
        one.to.append(B)
        backend.send_messages([one])
        assert received(server) == [(A,), (B,)]
        assert sorted(delivery_of(one).accepted) == [A, B]

    def test_all_attempts_of_a_send_carry_one_message_id(self) -> None:
        """Also those that the server may have kept in part."""
        with ScriptedServer(Script(final_reply=["451 4.3.0 not now"]), Script()) as server:
            one = message(A)
            backend_for(server).send_messages([one])
            ids = {copy_.header("Message-ID") for copy_ in (*server.refused, *server.messages)}
            assert ids == {delivery_of(one).message_id}
