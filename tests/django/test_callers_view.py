"""`ReliableSMTPBackend` as Django documents a backend, configured in either way, and what it tells."""

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.dispatch import Signal

from reliable_email import signals
from reliable_email.backends import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.report import DeliveryReport
from reliable_email.delivery.submission import DeliveryOptions
from reliable_email.exceptions import (
    ConnectFailed,
    DeliveryError,
)
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import (
    ScriptedServer,
    accept_then,
    close,
    hang,
)
from tests.django.conftest import Configure, use_email_settings
from tests.django.post import A, B, C, backend_for, closed_port, message, received

# Django 6.1 warns whoever sets the old names, as half of these tests must.
pytestmark = pytest.mark.filterwarnings("ignore:The EMAIL_")


class TestAsDjangoDocumentsIt:
    """What every caller of a backend relies on."""

    def test_a_message_is_sent_and_counted(self, configure: Configure, server: ScriptedServer) -> None:
        """By `send()`, with the report on the message."""
        configure(server.options())
        one = message(A, B)
        assert one.send() == 1
        assert delivery_of(one).accepted == [A, B]
        assert received(server) == [(A, B)]

    def test_send_mail_and_its_kin_work(
        self, configure: Configure, server: ScriptedServer, settings: Any, capsys: Any
    ) -> None:
        """`send_mail`, `send_mass_mail`, `mail_admins` and `mail_managers` are Django's own, unchanged."""
        configure(server.options())
        people = ["ops@example.net"] if mail_takes_plain_addresses() else [("Ops", "ops@example.net")]
        settings.ADMINS = settings.MANAGERS = people
        assert mail.send_mail("s", "b", "me@example.org", [A], html_message="<p>b</p>") == 1
        assert mail.send_mass_mail([("s", "b", "me@example.org", [one]) for one in (A, B)]) == 2
        mail.mail_admins("s", "b")
        mail.mail_managers("s", "b")
        assert received(server) == [(A,), (A,), (B,), ("ops@example.net",), ("ops@example.net",)]

    @pytest.mark.parametrize("nothing", [[], (), None])
    def test_nothing_to_send_is_zero_and_no_connection(
        self, configure: Configure, server: ScriptedServer, nothing: Any
    ) -> None:
        """As Django's own backend answers."""
        assert configure(server.options()).send_messages(nothing) == 0
        assert server.connections == []

    def test_messages_without_recipients_are_skipped(self, configure: Configure, server: ScriptedServer) -> None:
        """They count as nothing, and the others go."""
        empty, full = EmailMessage("s", "b", "me@example.org", []), message(B)
        assert configure(server.options()).send_messages([empty, full]) == 1
        assert not hasattr(empty, "delivery")
        assert received(server) == [(B,)]

    def test_a_generator_of_messages_is_as_good_as_a_list(self, server: ScriptedServer) -> None:
        """Each is looked at once."""
        assert backend_for(server).send_messages(message(one) for one in (A, B)) == 2  # type: ignore[arg-type]

    def test_open_says_whether_a_connection_was_made(self, configure: Configure, server: ScriptedServer) -> None:
        """True the first time, False where there is one; close() may be called at any time."""
        backend = configure(server.options())
        backend.close()
        assert backend.open() is True
        assert backend.open() is False
        backend.close()
        backend.close()

    def test_a_context_manager_sends_over_one_connection(self, configure: Configure, server: ScriptedServer) -> None:
        """`with connection:` as in Django's documentation."""
        with configure(server.options()) as backend:
            assert [backend.send_messages([message(one)]) for one in (A, B)] == [1, 1]
        assert len(server.connections) == 1

    def test_open_raises_what_a_send_would(self, configure: Configure) -> None:
        """A caller that opens first learns of a dead server there."""
        backend = configure({"host": "127.0.0.1", "port": closed_port()})
        with pytest.raises(ConnectFailed):
            backend.open()

    def test_open_is_silent_where_it_was_asked_to_be(self) -> None:
        """None, as of Django's own."""
        backend = ReliableSMTPBackend(alias="main", host="127.0.0.1", port=closed_port(), fail_silently=True)
        assert backend.open() is None

    def test_features_of_messages_arrive_intact(self, configure: Configure, server: ScriptedServer) -> None:
        """Alternatives, attachments of three kinds, copies, reply addresses, own headers, and every script."""
        configure(server.options())
        one = EmailMultiAlternatives(
            "Grüße – 你好",
            "Zażółć gęślą jaźń\n.\n..\nFrom here\n" + "x" * 2000,
            "Zoë <zoe@example.org>",
            ["Ann <a@example.net>"],
            bcc=[C],
            cc=[B],
            reply_to=["answers@example.org"],
            headers={"X-Ticket": "42", "Message-ID": "<mine@example.org>"},
        )
        one.attach_alternative("<p>Zażółć</p>", "text/html")
        one.attach("table.csv", "name,qty\nöl,12\n", "text/csv")
        one.attach("raw.bin", bytes(range(256)), "application/octet-stream")
        assert one.send() == 1
        (copy_,) = server.messages
        arrived = parsed(copy_.content)
        assert copy_.recipients == ("a@example.net", B, C)
        assert copy_.sender == "zoe@example.org"
        assert str(arrived["Subject"]) == "Grüße – 你好"
        assert str(arrived["From"]) == "Zoë <zoe@example.org>"
        assert (str(arrived["Cc"]), str(arrived["Reply-To"]), arrived["Bcc"]) == (B, "answers@example.org", None)
        assert (arrived["X-Ticket"], arrived["Message-ID"]) == ("42", "<mine@example.org>")
        assert arrived["Date"]
        text = arrived.get_body(("plain",)).get_content().replace("\r\n", "\n")
        assert text.rstrip("\n") == one.body
        assert arrived.get_body(("html",)).get_content().strip() == "<p>Zażółć</p>"
        files = {part.get_filename(): part for part in arrived.iter_attachments()}
        assert files["table.csv"].get_content().replace("\r\n", "\n") == "name,qty\nöl,12\n"
        assert files["raw.bin"].get_content() == bytes(range(256))

    def test_nothing_but_the_report_is_written_on_the_message(self, server: ScriptedServer) -> None:
        """Not a header, not a connection, not a Message-ID."""
        one = message(A, headers={"X-A": "1"}, cc=[B])
        one.attach("a.txt", "text", "text/plain")
        before = {name: copy.copy(value) for name, value in vars(one).items()}
        backend_for(server).send_messages([one])
        after_ = dict(vars(one))
        assert isinstance(after_.pop("delivery"), DeliveryReport)
        assert after_ == before

    def test_many_threads_share_one_backend(self, server: ScriptedServer) -> None:
        """Every message arrives once, with its own recipient and its own report."""
        backend = backend_for(server)
        batches = [[message(f"t{n}-{k}@example.net", subject=f"t{n}-{k}") for k in range(10)] for n in range(8)]
        counts: list[int] = []
        threads = [
            threading.Thread(target=lambda batch=batch: counts.append(backend.send_messages(batch)))
            for batch in batches
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [10] * 8
        assert sorted(server_subjects(server)) == sorted(one.subject for batch in batches for one in batch)
        assert all(f"{one.header('Subject')}@example.net" == one.recipients[0] for one in server.messages)
        assert all(delivery_of(one).accepted == one.to for batch in batches for one in batch)
        assert len(server.connections) <= 8


def mail_takes_plain_addresses() -> bool:
    """ADMINS hold plain addresses since Django 6.0."""
    import django

    return django.VERSION >= (6, 0)


def parsed(content: bytes) -> Any:
    """What a reader of the message sees."""
    import email
    import email.policy

    return email.message_from_bytes(content, policy=email.policy.default)


def server_subjects(server: ScriptedServer) -> list[str]:
    """The subjects that arrived."""
    return [one.header("Subject") or "" for one in server.messages]


class TestBatches:
    """Several messages in one call."""

    def test_all_are_tried_before_one_error_names_those_that_nobody_took(self) -> None:
        """Rejected, unknown: both are in the error; the two others were delivered."""
        script = Script(
            rcpt={A: "550 5.1.1 no such user"},
            final_reply=[None, accept_then(close())],
        )
        with ScriptedServer(script, Script()) as server:
            refused, fine, lost, last = message(A), message(B), message(C), message("d@example.net")
            with pytest.raises(DeliveryError) as caught:
                backend_for(server).send_messages([refused, fine, lost, last])
            assert [delivery_of(one).accepted for one in (fine, last)] == [[B], ["d@example.net"]]
            assert caught.value.reports == (delivery_of(refused), delivery_of(lost))
            assert caught.value.report is delivery_of(refused)
            assert A in str(caught.value)
            assert C in str(caught.value)
            assert B not in str(caught.value)

    def test_the_count_is_of_messages_that_somebody_took(self) -> None:
        """A partly accepted message counts; a WARNING and the report tell the rest."""
        with ScriptedServer(Script(rcpt={B: "550 5.1.1 no such user"})) as server:
            batch = [message(A, B), message(B), message(C)]
            assert backend_for(server, fail_silently=True).send_messages(batch) == 2

    def test_each_message_has_a_budget_of_its_own(self) -> None:
        """A message that hangs does not starve the next one."""
        with ScriptedServer(Script(mail=hang()), Script(mail=hang()), Script(mail=hang()), Script()) as server:
            first, second = message(A), message(B)
            with pytest.raises(DeliveryError):
                backend_for(server, timeout=0.3, max_attempts=1).send_messages([first, second])
            assert delivery_of(first).recipients[A].cause is Cause.TIMEOUT
            assert delivery_of(second).recipients[B].attempts == 1


class TestInvalidMessages:
    """What cannot be sent by anybody is found before anybody is asked."""

    @pytest.mark.parametrize(
        "broken",
        [
            {"to": ["a@example.net>\r\nRCPT TO:<evil@example.net"]},
            {"to": ["b@example.net> NOTIFY=NEVER"]},
            {"to": ["no at sign"]},
            {"subject": "a\nBcc: evil@example.net"},
            {"subject": "a\x0bb"},
            {"headers": {"X-A": "1\r\nX-B: 2"}},
            {"headers": {"Bcc": B}},
            {"body": "half \ud800"},
            {"from_email": "a@example.org\x00"},
        ],
    )
    def test_value_error_and_no_connection(
        self, configure: Configure, server: ScriptedServer, broken: dict[str, Any]
    ) -> None:
        """The caller's mistake is a ValueError, on every Django."""
        configure(server.options())
        fields = {"subject": "s", "body": "b", "from_email": "me@example.org", "to": [A]} | broken
        with pytest.raises(ValueError):
            EmailMessage(**fields).send()
        assert server.connections == []

    def test_the_others_of_a_batch_are_sent_first(self, server: ScriptedServer) -> None:
        """A poisoned message stops nobody but itself."""
        with pytest.raises(ValueError, match="control character"):
            backend_for(server).send_messages([message(A), message(B, subject="a\nb"), message(C)])
        assert received(server) == [(A,), (C,)]

    @pytest.mark.parametrize("fail_silently", [True, False])
    def test_a_mistake_of_the_caller_is_never_silent(self, server: ScriptedServer, fail_silently: bool) -> None:
        """fail_silently is about the network."""
        with pytest.raises(ValueError):
            backend_for(server, fail_silently=fail_silently).send_messages([message(A, subject="a\nb")])

    @pytest.mark.parametrize("name", ["send_at", "idempotency_key"])
    def test_wishes_that_need_the_outbox_are_errors(self, server: ScriptedServer, name: str) -> None:
        """Ignored, they would make mail too early or twice."""
        from datetime import UTC, datetime

        value: Any = datetime(2100, 1, 1, tzinfo=UTC) if name == "send_at" else "key"
        one = message(A)
        one.delivery_options = DeliveryOptions(**{name: value})  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=f"{name} needs the outbox"):
            backend_for(server).send_messages([one])
        assert server.connections == []

    def test_options_of_a_wrong_type_are_told(self, server: ScriptedServer) -> None:
        """A dict would be ignored otherwise."""
        one = message(A)
        one.delivery_options = {"send_at": None}  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="DeliveryOptions"):
            backend_for(server).send_messages([one])


class TestFallbackOfTheSettings:
    """`EMAIL_FALLBACK_*`, for a project without MAILERS."""

    def test_the_second_provider_takes_what_the_first_cannot(self, server: ScriptedServer) -> None:
        """Named "fallback" in the report."""
        with use_email_settings(
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=closed_port(),
            EMAIL_FALLBACK_HOST="127.0.0.1",
            EMAIL_FALLBACK_PORT=server.port,
        ):
            one = message(A)
            assert one.send() == 1
        assert delivery_of(one).recipients[A].route == "fallback"
        assert received(server) == [(A,)]

    @pytest.mark.parametrize("debug", [True, False])
    def test_without_a_second_provider_the_console_shows_it_to_a_developer(self, capsys: Any, debug: bool) -> None:
        """It is not delivered for that, and on a site in use nothing is printed."""
        with use_email_settings(
            EMAIL_HOST="127.0.0.1", EMAIL_PORT=closed_port(), EMAIL_FALLBACK_ENABLED=True, DEBUG=debug
        ):
            one = message(A)
            with pytest.raises(DeliveryError):
                one.send()
        assert delivery_of(one).deferred == [A]
        assert ("Subject: hello" in capsys.readouterr().out) is debug


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every signal that was sent, by name."""
    got: list[tuple[str, dict[str, Any]]] = []
    connected: list[tuple[Signal, Any]] = []
    for name in ("attempt_finished", "message_delivered", "message_failed", "recipient_rejected"):

        def receive(sender: type, signal: Signal, name: str = name, **values: Any) -> None:
            got.append((name, values))

        one: Signal = getattr(signals, name)
        one.connect(receive, weak=False)
        connected.append((one, receive))
    yield got
    for signal, receiver in connected:
        signal.disconnect(receiver)


class TestTelling:
    """Signals and the log, at once, for those who do not look at reports."""

    def test_a_delivery_is_announced(self, server: ScriptedServer, heard: list[tuple[str, dict[str, Any]]]) -> None:
        """With the mailer's alias and the report."""
        one = message(A)
        backend_for(server).send_messages([one])
        assert [name for name, _ in heard] == ["attempt_finished", "message_delivered"]
        assert heard[-1][1]["report"] == delivery_of(one)
        assert heard[-1][1]["mailer"] == "main"

    def test_a_part_that_failed_is_announced_and_warned_of(
        self, heard: list[tuple[str, dict[str, Any]]], caplog: pytest.LogCaptureFixture
    ) -> None:
        """No exception tells of it, so the signals and a WARNING do."""
        with ScriptedServer(Script(rcpt={B: "550 5.1.1 no such user"})) as server, caplog.at_level("WARNING"):
            assert backend_for(server).send_messages([message(A, B)]) == 1
        assert [name for name, _ in heard] == ["attempt_finished", "recipient_rejected", "message_failed"]
        assert heard[1][1]["address"] == B
        assert "1 accepted, 1 rejected (mailbox_unknown)" in caplog.text

    def test_a_receiver_that_fails_changes_nothing(self, server: ScriptedServer) -> None:
        """It is logged, and the message was sent."""

        def fail(**values: Any) -> None:
            raise RuntimeError("not my day")

        signals.message_delivered.connect(fail)
        try:
            assert backend_for(server).send_messages([message(A)]) == 1
        finally:
            signals.message_delivered.disconnect(fail)


def test_a_batch_that_is_interrupted_reports_and_is_not_sent_twice() -> None:
    """A task's time limit strikes behind the first message, and the queue runs the task again."""

    def time_is_over(**kwargs: object) -> None:
        raise KeyboardInterrupt

    batch = [message(A, subject="one"), message(B, subject="two")]
    with ScriptedServer() as server:
        signals.attempt_finished.connect(time_is_over)
        try:
            with pytest.raises(KeyboardInterrupt):
                backend_for(server).send_messages(batch)
        finally:
            signals.attempt_finished.disconnect(time_is_over)
        assert [delivery_of(one).accepted for one in batch] == [[A], []]
        backend_for(server).send_messages(batch)
        taken = sorted(recipient for one in server.messages for recipient in one.recipients)
        assert taken == [A, B]
