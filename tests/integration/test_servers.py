"""The real servers do what the other tests take for granted, seen with the standard library's client."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from tests.servers.nodemailer import NodemailerSubmission
from tests.servers.postfix import REFUSED, PostfixSubmission

SENDER = "sender@example.com"
CONTENT = b"Subject: hello\r\nFrom: sender@example.com\r\n\r\nText.\r\n"


def _context(server: PostfixSubmission | NodemailerSubmission) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.certificates.ca))


def _by_starttls(server: PostfixSubmission) -> smtplib.SMTP:
    client = smtplib.SMTP(server.host, server.starttls_port, timeout=10)
    client.starttls(context=_context(server))
    return client


@pytest.fixture
def empty_maildir(postfix_submission: PostfixSubmission) -> Iterator[PostfixSubmission]:
    """The server, with nothing delivered yet."""
    postfix_submission.forget_delivered()
    yield postfix_submission
    postfix_submission.forget_delivered()


class TestPostfix:
    """Postfix and Dovecot."""

    def test_mail_is_delivered_to_each_recipient_that_is_taken(self, empty_maildir: PostfixSubmission) -> None:
        """Two are taken, three are refused with their own codes."""
        server = empty_maildir
        good = {"a@example.com", "b@example.com"}
        with _by_starttls(server) as client:
            client.login(server.username, server.password)
            refused = client.sendmail(SENDER, [*good, *REFUSED], CONTENT)
        assert {who: f"{code} {text.decode()[:5]}" for who, (code, text) in refused.items()} == {
            who: reply[:9] for who, reply in REFUSED.items()
        }
        copies = server.delivered(2)
        assert {copy.recipient for copy in copies} == good
        assert {copy.sender for copy in copies} == {SENDER}
        assert {copy.message["Subject"] for copy in copies} == {"hello"}

    def test_implicit_tls_is_spoken_on_its_port(self, empty_maildir: PostfixSubmission) -> None:
        """The second port begins with the handshake."""
        server = empty_maildir
        with smtplib.SMTP_SSL(server.host, server.tls_port, timeout=10, context=_context(server)) as client:
            client.login(server.username, server.password)
            client.sendmail(SENDER, ["c@example.com"], CONTENT)
        assert [copy.recipient for copy in server.delivered(1)] == ["c@example.com"]

    def test_wrong_password_is_refused(self, postfix_submission: PostfixSubmission) -> None:
        """And by 535, at once."""
        with _by_starttls(postfix_submission) as client, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login(postfix_submission.username, "wrong")
        assert caught.value.smtp_code == 535

    def test_nobody_sends_without_login(self, postfix_submission: PostfixSubmission) -> None:
        """It is no open relay."""
        with _by_starttls(postfix_submission) as client, pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, ["d@example.com"], CONTENT)

    def test_restart_cuts_the_session_and_takes_the_next(self, empty_maildir: PostfixSubmission) -> None:
        """On the same port."""
        server = empty_maildir
        with contextlib.closing(_by_starttls(server)) as client:
            server.restart()
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.login(server.username, server.password)
        with _by_starttls(server) as client:
            client.login(server.username, server.password)
            client.sendmail(SENDER, ["e@example.com"], CONTENT)
        assert [copy.recipient for copy in server.delivered(1)] == ["e@example.com"]

    def test_size_limit_is_announced(
        self, postfix_submission: PostfixSubmission, small_postfix_submission: PostfixSubmission
    ) -> None:
        """Each server has its own."""
        for server in (postfix_submission, small_postfix_submission):
            with _by_starttls(server) as client:
                client.ehlo()
                assert int(client.esmtp_features["size"]) == server.message_size_limit


class TestNodemailer:
    """nodemailer's smtp-server."""

    def _login(self, server: NodemailerSubmission, client: smtplib.SMTP, token: str) -> None:
        client.starttls(context=_context(server))
        client.ehlo()
        words = f"user={server.username}\x01auth=Bearer {token}\x01\x01"
        client.auth("XOAUTH2", lambda challenge=None: words if challenge is None else "")

    def test_access_token_is_taken_while_it_is_valid(self, nodemailer_submission: NodemailerSubmission) -> None:
        """XOAUTH2: 235 with a valid token, 535 after it expired."""
        server = nodemailer_submission
        server.let_tokens_be_valid(["first"])
        with smtplib.SMTP(server.host, server.port, timeout=10) as client:
            self._login(server, client, "first")
            refused = client.sendmail(SENDER, ["a@example.com", "nouser@example.com"], CONTENT)
        assert refused.keys() == {"nouser@example.com"}
        last = server.taken(1)[-1]
        assert last.login == f"XOAUTH2 {server.username}"
        assert last.recipients == ("a@example.com",)
        assert b"Subject: hello" in last.content
        server.let_tokens_be_valid(["second"])
        with (
            smtplib.SMTP(server.host, server.port, timeout=10) as client,
            pytest.raises(smtplib.SMTPAuthenticationError),
        ):
            self._login(server, client, "first")
