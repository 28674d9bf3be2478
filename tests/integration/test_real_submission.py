"""`ReliableSMTPBackend` against real servers: Postfix with Dovecot, and nodemailer's for access tokens."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.mail import EmailMessage

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.exceptions import AuthenticationFailed, DeliveryError
from reliable_email.smtp.driver import pool
from reliable_email.smtp.stages import Stage
from tests.servers.ground import wait_until
from tests.servers.nodemailer import NodemailerSubmission
from tests.servers.postfix import REFUSED, PostfixSubmission
from tests.smtp.test_oauth import serving

SENDER = "sender@example.com"


@pytest.fixture(autouse=True)
def no_connections() -> Iterator[None]:
    """Each test has connections of its own."""
    yield
    pool.reset()


@pytest.fixture(params=["starttls", "implicit"])
def make_backend(
    request: pytest.FixtureRequest, postfix_submission: PostfixSubmission
) -> Callable[..., ReliableSMTPBackend]:
    """Backends for the big Postfix, by either kind of TLS."""
    postfix_submission.forget_delivered()

    def make(server: PostfixSubmission = postfix_submission, **options: Any) -> ReliableSMTPBackend:
        return postfix_backend(server, is_implicit=request.param == "implicit", **options)

    return make


def postfix_backend(server: PostfixSubmission, *, is_implicit: bool = False, **options: Any) -> ReliableSMTPBackend:
    """A backend for a Postfix."""
    return ReliableSMTPBackend(
        alias="postfix",
        **{
            "host": "localhost",
            "port": server.tls_port if is_implicit else server.starttls_port,
            "use_ssl" if is_implicit else "use_tls": True,
            "username": server.username,
            "password": server.password,
            "ssl_cafile": str(server.certificates.ca),
            **options,
        },
    )


def message(*recipients: str, subject: str = "hello", body: str = "Text.\n") -> EmailMessage:
    """A small message."""
    return EmailMessage(subject, body, SENDER, list(recipients))


def report_of(one: EmailMessage) -> DeliveryReport:
    """Its report."""
    report: DeliveryReport = one.delivery  # type: ignore[attr-defined]
    return report


def test_the_right_login_delivers(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """By STARTTLS and by implicit TLS."""
    one = message("a@example.com")
    assert make_backend().send_messages([one]) == 1
    assert report_of(one).accepted == ["a@example.com"]
    (copy,) = postfix_submission.delivered(1)
    assert copy.recipient == "a@example.com"
    assert copy.message["Subject"] == "hello"
    assert copy.message["Message-ID"] == report_of(one).message_id


def test_the_wrong_login_is_refused_once_and_told(make_backend: Callable[..., ReliableSMTPBackend]) -> None:
    """No retry: the same password would be refused again."""
    one = message("a@example.com")
    with pytest.raises(AuthenticationFailed) as caught:
        make_backend(password="wrong").send_messages([one])
    assert caught.value.smtp_code == 535
    assert len(report_of(one).attempts) == 1
    assert report_of(one).attempts[0].stage is Stage.AUTH
    assert "wrong" not in str(caught.value)


def test_mixed_recipients_get_their_own_outcomes(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """550 is final; 450 and 452 could be taken later; the others have it."""
    one = message("a@example.com", *REFUSED, "b@example.com")
    assert make_backend(max_attempts=1).send_messages([one]) == 1
    outcomes = {address: result.outcome for address, result in report_of(one).recipients.items()}
    assert outcomes == {
        "a@example.com": Outcome.ACCEPTED,
        "b@example.com": Outcome.ACCEPTED,
        "nouser@example.com": Outcome.REJECTED,
        "busy@example.com": Outcome.DEFERRED,
        "full@example.com": Outcome.DEFERRED,
    }
    assert report_of(one).recipients["nouser@example.com"].cause is Cause.MAILBOX_UNKNOWN
    assert {copy.recipient for copy in postfix_submission.delivered(2)} == {"a@example.com", "b@example.com"}


def test_an_oversize_message_is_refused_before_it_is_sent(small_postfix_submission: PostfixSubmission) -> None:
    """The announced SIZE is enough."""
    one = message("a@example.com", body="x" * 70 + "\n" + "line\n" * 400_000)
    with pytest.raises(DeliveryError):
        postfix_backend(small_postfix_submission).send_messages([one])
    result = report_of(one).recipients["a@example.com"]
    assert (result.outcome, result.cause) == (Outcome.REJECTED, Cause.MESSAGE_TOO_LARGE)
    assert result.reply is None


class EightBit(EmailMessage):
    """A message whose own `message()` writes 8-bit content."""

    def message(self, **options: Any) -> Any:
        """Text in UTF-8, as it is."""
        from email.message import EmailMessage as Parsed
        from email.policy import SMTP

        parsed = Parsed(policy=SMTP)
        parsed["Subject"] = "eight"
        parsed["From"] = SENDER
        parsed["To"] = self.to[0]
        parsed.set_content("grün\n", cte="8bit")
        return parsed


def test_eight_bit_content_arrives(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """Whatever is declared on the way, the text is the same."""
    assert make_backend().send_messages([EightBit("eight", "", SENDER, ["a@example.com"])]) == 1
    (copy,) = postfix_submission.delivered(1)
    payload = copy.message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().strip() == "grün"


def test_an_address_beyond_ascii_goes_by_smtputf8(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """RFC 6531, offered by Postfix."""
    one = message("grün@example.com")
    assert make_backend().send_messages([one]) == 1
    assert report_of(one).accepted == ["grün@example.com"]
    (copy,) = postfix_submission.delivered(1)
    assert copy.recipient == "grün@example.com"


def test_twenty_megabytes_arrive(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """More than any socket buffer, within a budget that would not do for all of it together."""
    data = bytes(range(256)) * (20 * 4096)
    one = message("a@example.com")
    one.attach("big.bin", data, "application/octet-stream")
    assert make_backend().send_messages([one]) == 1
    (copy,) = postfix_submission.delivered(1)
    attachment = next(part for part in copy.message.walk() if part.get_filename() == "big.bin")
    assert attachment.get_payload(decode=True) == data


def test_two_hundred_messages_go_over_one_connection(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """One login for all, as Postfix counts; every one arrives."""
    batch = [message(f"user{n}@example.com", subject=f"no. {n}") for n in range(200)]
    assert make_backend().send_messages(batch) == 200
    copies = postfix_submission.delivered(200)
    assert {copy.recipient for copy in copies} == {f"user{n}@example.com" for n in range(200)}
    pool.reset()  # Postfix sums a session up when it ends
    log = postfix_submission.log
    wait_until(lambda: " auth=1 mail=200 rcpt=200 data=200 " in log(), "one session of 200 messages", log)


def test_a_restart_in_between_is_not_noticed(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """The kept connection is gone; a fresh one is made without a lost attempt."""
    first, second = message("a@example.com"), message("b@example.com")
    assert make_backend().send_messages([first]) == 1
    postfix_submission.restart()
    assert make_backend().send_messages([second]) == 1
    assert len(report_of(second).attempts) == 1
    assert {copy.recipient for copy in postfix_submission.delivered(2)} == {"a@example.com", "b@example.com"}


def test_many_threads_share_the_process_without_mixing(
    make_backend: Callable[..., ReliableSMTPBackend], postfix_submission: PostfixSubmission
) -> None:
    """Eight threads, ten messages each."""

    def work(thread: int) -> None:
        for n in range(10):
            make_backend().send_messages([message(f"t{thread}-{n}@example.com", subject=f"{thread}-{n}")])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    copies = postfix_submission.delivered(80)
    assert {f"t{copy.message['Subject']}@example.com" for copy in copies} == {copy.recipient for copy in copies}
    assert len(copies) == 80


@dataclass(frozen=True)
class Tokens:
    """Provide tokens, the first of which the server treats as expired."""

    asked: list[bool] = field(default_factory=list, compare=False, hash=False)

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """An old token, and a good one when that was refused."""
        self.asked.append(renew)
        return "good" if renew else "old"


def test_an_access_token_that_expired_is_renewed_once(nodemailer_submission: NodemailerSubmission) -> None:
    """XOAUTH2 with nodemailer: 535, a fresh token, 235."""
    server = nodemailer_submission
    server.let_tokens_be_valid(["good"])
    tokens = Tokens()
    backend = ReliableSMTPBackend(
        alias="nodemailer",
        host=server.host,
        port=server.port,
        use_tls=True,
        username=server.username,
        token_provider=tokens,
        ssl_cafile=str(server.certificates.ca),
    )
    one = message("a@example.com")
    assert backend.send_messages([one]) == 1
    assert tokens.asked == [False, True]
    assert server.taken(1)[-1].login == f"XOAUTH2 {server.username}"


def test_a_token_that_stays_refused_is_an_authentication_error(nodemailer_submission: NodemailerSubmission) -> None:
    """One renewal, and then a person is needed."""
    server = nodemailer_submission
    server.let_tokens_be_valid([])
    tokens = Tokens()
    backend = ReliableSMTPBackend(
        alias="nodemailer",
        host=server.host,
        port=server.port,
        use_tls=True,
        username=server.username,
        token_provider=tokens,
        ssl_cafile=str(server.certificates.ca),
    )
    with pytest.raises(AuthenticationFailed):
        backend.send_messages([message("a@example.com")])
    assert tokens.asked == [False, True]


def test_the_built_in_grant_logs_in_and_renews_a_refused_token(nodemailer_submission: NodemailerSubmission) -> None:
    """From OPTIONS alone: a refresh token, a token endpoint, XOAUTH2; the endpoint is asked anew after the 535."""
    server = nodemailer_submission
    server.let_tokens_be_valid(["token-2"])
    taken_before = len(server.taken(0))
    with serving() as endpoint:
        grant = {
            "grant": "refresh_token",
            "client_id": "client",
            "client_secret": "client-secret",
            "refresh_token": "refresh-0",
            "token_url": endpoint.url,
        }
        options = {
            "host": server.host,
            "port": server.port,
            "use_tls": True,
            "username": server.username,
            "token_provider": grant,
            "ssl_cafile": str(server.certificates.ca),
        }
        first, second = message("a@example.com"), message("b@example.com")
        assert ReliableSMTPBackend(alias="nodemailer", **options).send_messages([first]) == 1
        pool.reset()
        assert ReliableSMTPBackend(alias="nodemailer", **options).send_messages([second]) == 1
    assert [form["grant_type"] for form in endpoint.forms] == ["refresh_token"] * 2
    assert {form["refresh_token"] for form in endpoint.forms} == {"refresh-0"}
    assert [one.login for one in server.taken(taken_before + 2)[taken_before:]] == [f"XOAUTH2 {server.username}"] * 2
    for secret in ("refresh-0", "client-secret", "token-2"):
        assert secret not in repr(report_of(second))


def test_a_token_endpoint_that_says_no_is_told_in_its_words(nodemailer_submission: NodemailerSubmission) -> None:
    """The consent was withdrawn: nothing is offered to the server, and a person has to act."""
    server = nodemailer_submission
    with serving() as endpoint:
        endpoint.answer = lambda form: (400, {"error": "invalid_grant", "error_description": "Token has been revoked."})
        grant = {"grant": "refresh_token", "client_id": "c", "refresh_token": "refresh-1", "token_url": endpoint.url}
        backend = ReliableSMTPBackend(
            alias="nodemailer",
            host=server.host,
            port=server.port,
            use_tls=True,
            username=server.username,
            token_provider=grant,
            ssl_cafile=str(server.certificates.ca),
        )
        one = message("a@example.com")
        with pytest.raises(DeliveryError) as caught:
            backend.send_messages([one])
    assert report_of(one).deferred == ["a@example.com"]
    assert "invalid_grant" in str(caught.value)
    assert "refresh-1" not in str(caught.value)
