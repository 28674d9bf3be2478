"""Logins against Postfix, Dovecot and Exim that offer one mechanism alone, and DSN as Postfix takes it."""

from collections.abc import Iterator

import pytest
from django.core.mail import EmailMessage

from reliable_email import DeliveryOptions
from reliable_email.backends import ReliableSMTPBackend
from reliable_email.exceptions import AuthenticationFailed, DeliveryError
from reliable_email.testing.reset import reset
from tests.servers.exim import EximLogin
from tests.servers.ground import public_folder
from tests.servers.postfix import PostfixSubmission, postfix_submission_server
from tests.services import require


@pytest.fixture(params=["cram-md5", "login", "plain"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[PostfixSubmission]:
    """A server that offers this mechanism and no other."""
    require("postfix")
    with postfix_submission_server(mechanisms=request.param) as one:
        yield one


def backend(server: PostfixSubmission, **options: object) -> ReliableSMTPBackend:
    """A mailer for it."""
    reset()
    given = {
        "host": "localhost",
        "port": server.tls_port,
        "use_ssl": True,
        "username": server.username,
        "password": server.password,
        "ssl_cafile": str(server.certificates.ca),
        "max_attempts": 1,
    }
    return ReliableSMTPBackend(alias="postfix", **given | options)  # type: ignore[arg-type]


def test_the_one_mechanism_that_is_offered_is_taken(server: PostfixSubmission) -> None:
    """Whichever it is; with notices asked for, which Postfix announces."""
    server.forget_delivered()
    message = EmailMessage("hello", "text", "shop@example.com", ["a+b@example.com"])
    message.delivery_options = DeliveryOptions(  # type: ignore[attr-defined]
        dsn={"notify": "failure", "ret": "hdrs", "envid": "a b+c", "orcpt": True}
    )
    assert backend(server).send_messages([message]) == 1
    (copy,) = server.delivered(1)
    assert copy.recipient == "a+b@example.com"


def test_a_wrong_password_is_a_verdict_and_offered_once(server: PostfixSubmission) -> None:
    """By the same mechanism, without the password in the text."""
    with pytest.raises(AuthenticationFailed) as caught:
        backend(server, password="not-the-password").send_messages(
            [EmailMessage("s", "b", "shop@example.com", ["a@example.com"])]
        )
    assert caught.value.smtp_code == 535
    assert "not-the-password" not in str(caught.value)


def test_another_mechanism_by_hand_is_named_as_wrong(server: PostfixSubmission) -> None:
    """With the one that is offered."""
    other = "login" if server.mechanisms != "login" else "plain"
    with pytest.raises(DeliveryError, match=f'auth="{server.mechanisms}"'):
        backend(server, auth=other).send_messages([EmailMessage("s", "b", "shop@example.com", ["a@example.com"])])


def test_exims_login_is_taken_whatever_it_asks_with() -> None:
    """Its prompts are whatever somebody wrote into the configuration; a wrong password is a verdict."""
    require("exim")
    with public_folder("re-login-") as folder:
        server = EximLogin(folder)
        try:
            server.start()
            options = {"host": "127.0.0.1", "port": server.port, "max_attempts": 1, "username": server.username}
            message = EmailMessage("hello", "text", "shop@example.com", ["taken@example.com"])
            with pytest.raises(AuthenticationFailed) as caught:
                reset()
                ReliableSMTPBackend(alias="exim", **options, password="wrong-one").send_messages([message])
            assert caught.value.smtp_code == 535
            reset()
            assert ReliableSMTPBackend(alias="exim", **options, password=server.password).send_messages([message]) == 1
            assert sum(server.books().copies.values()) == 1
        finally:
            server.kill()
            reset()
