"""What was said on the wire is kept of what failed, as long as the content is; no secret is in it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet

from reliable_email.delivery.route import Route
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.operations.prune import prune
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, Credentials, TLSMode, TLSPolicy
from reliable_email.smtp.said import MOST_LINES
from reliable_email.store.questions.filters import Filter
from reliable_email.store.tables.attempts import Attempt
from reliable_email.testing.server import Script, ScriptedServer, accept_then, close, reset
from tests.outbox.acts import cancel
from tests.outbox.desk import let_time_pass, queue, smtp_route, submission, worker

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """No connection and nothing learned is left from another test."""
    yield
    pool.reset()
    learned_limits.reset()


def said(using: str) -> list[str | None]:
    """What each attempt has kept."""
    return [one.dialogue for one in Attempt.objects.using(using).order_by("pk")]


def test_a_refusal_is_kept_as_it_was_said(using: str) -> None:
    """Its own commands and replies, and none of the message before it on the same connection."""
    queue(using, "other@example.com")
    queue(using, "ann@example.com")
    with ScriptedServer(Script(rcpt={"ann@example.com": "550 5.1.1 no such user"})) as server:
        worker(using, smtp_route(server)).run()
    first, second = said(using)
    assert first is None
    assert second is not None
    lines = second.splitlines()
    assert "C: RCPT TO:<ann@example.com>" in lines
    assert "S: 550 5.1.1 no such user" in lines
    assert "other@" not in second


def test_a_connection_that_is_lost_shows_how_far_it_came(using: str) -> None:
    """The content itself is not repeated."""
    queue(using, "ann@example.com", body="The secret of the letter.")
    with ScriptedServer(Script(final_reply=accept_then(reset()))) as server:
        worker(using, smtp_route(server)).run()
    [kept] = said(using)
    assert kept is not None
    assert kept.splitlines()[-2:] == ["(the content)", "C: ."]
    assert "secret" not in kept


def test_a_login_that_is_refused_shows_no_password(using: str) -> None:
    """Neither ours nor where the server gives it back."""
    queue(using, "ann@example.com")
    with ScriptedServer(Script(auth=f"535 5.7.8 bad password: {PASSWORD}"), login={"ann": "other"}) as server:
        options = ConnectionOptions(
            host="127.0.0.1",
            port=server.port,
            tls=TLSPolicy(mode=TLSMode.NONE),
            credentials=Credentials(username="ann", password=PASSWORD),
        )
        worker(using, Route(alias="route", transport=SMTPTransport(options))).run()
    kept = said(using)[0]
    assert kept is not None
    assert "C: EHLO" in kept
    assert "S: 535 5.7.8 bad password: ****" in kept
    assert PASSWORD not in kept


def test_a_long_one_keeps_its_beginning_and_its_end(using: str) -> None:
    """A row stays small, however many recipients there are."""
    queue(using, *(f"user{n}@example.com" for n in range(300)))
    with ScriptedServer(Script(final_reply="554 5.7.1 no")) as server:
        worker(using, smtp_route(server)).run()
    kept = said(using)[0]
    assert kept is not None
    lines = kept.splitlines()
    assert len(lines) == MOST_LINES + 1
    assert (lines[0][:7], lines[-1]) == ("C: MAIL", "S: 554 5.7.1 no")


def test_it_is_sealed_with_the_content_and_goes_with_it(using: str) -> None:
    """Pruning leaves the journal alone."""
    keyring = Keyring([Fernet.generate_key().decode()])
    options = QueueOptions(mailer="routes", using=using, keyring=keyring)
    [message] = enqueue([submission(to=["ann@example.com"])], options)
    with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as server:
        worker(using, smtp_route(server), keyring=keyring).run()
    [kept] = said(using)
    assert kept is not None
    assert "ann@" not in kept
    assert "ann@example.com" in keyring.open_text(kept, message.encryption_key)
    prune(content_after=timedelta(0), journal_after=timedelta(days=30), using=using)
    assert said(using) == [None]


def test_what_no_connection_could_say_is_not_made_up(using: str) -> None:
    """Nothing was said where nobody listens."""
    queue(using, "ann@example.com")
    with ScriptedServer(Script(greeting=close())) as server:
        route = smtp_route(server)
        worker(using, route).run()
    let_time_pass(using)
    cancel(Filter(), actor="ada", using=using)
    assert said(using) == [None]
