"""Simulated providers announce, limit and refuse as the real ones do, at the same stages."""

import base64
import contextlib
import re
import smtplib
from collections.abc import Iterator

import pytest

from reliable_email.testing.certificates import client_context, defective, good
from reliable_email.testing.server import Script, accept_then, close
from reliable_email.testing.simulated import SimulatedServer, simulated
from reliable_email.testing.wordings import HABITS

CONTENT = "From: Shop <{sender}>\r\nTo: b@y.test\r\nSubject: hello\r\n\r\nhello\r\n"


@contextlib.contextmanager
def connect(server: SimulatedServer, *, logs_in: bool = True) -> Iterator[smtplib.SMTP]:
    """A client of the standard library that verifies the certificate strictly."""
    client = smtplib.SMTP("localhost", server.port, timeout=5)
    try:
        client.starttls(context=client_context(good()))
        client.ehlo()
        if logs_in:
            ((username, password),) = server.rules.login.items()
            client.login(username, password)
        yield client
    finally:
        client.close()


def send(client: smtplib.SMTP, *recipients: str, sender: str = "shop@x.test", headers: str = "") -> None:
    """One message."""
    content = headers + CONTENT.format(sender=sender)
    client.sendmail(sender, list(recipients or ("b@y.test",)), content.encode())


def refusal(client: smtplib.SMTP, *recipients: str, sender: str = "shop@x.test") -> tuple[str, str]:
    """The stage at which a message is refused, and the reply on one line."""
    try:
        send(client, *recipients, sender=sender)
    except smtplib.SMTPSenderRefused as error:
        return "mail", _text(error.smtp_code, error.smtp_error)
    except smtplib.SMTPRecipientsRefused as error:
        return "rcpt", _text(*next(iter(error.recipients.values())))
    except smtplib.SMTPDataError as error:
        return "data", _text(error.smtp_code, error.smtp_error)
    raise AssertionError("it was taken")


def _text(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode() if isinstance(text, bytes) else text}".replace("\n", " ")


@pytest.mark.parametrize("provider", HABITS)
def test_provider_takes_a_message(provider: str) -> None:
    """A login in the provider's form and a small message are fine everywhere."""
    with simulated(provider) as server, connect(server) as client:
        send(client)
    (message,) = server.messages
    assert message.is_tls
    assert message.user == HABITS[provider].login[0]


@pytest.mark.parametrize("provider", HABITS)
def test_wrong_password_is_535(provider: str) -> None:
    """In each provider's words."""
    with (
        simulated(provider) as server,
        connect(server, logs_in=False) as client,
        pytest.raises(smtplib.SMTPAuthenticationError) as caught,
    ):
        client.login("somebody", "wrong")
    assert _text(caught.value.smtp_code, caught.value.smtp_error) == re.sub(
        r"\n535[- ]", " ", HABITS[provider].wrong_password.replace("535-", "535 ", 1)
    )


@pytest.mark.parametrize(
    ("provider", "keywords", "size"),
    [
        ("gmail", {"pipelining", "chunking", "8bitmime", "smtputf8", "enhancedstatuscodes"}, 35882577),
        ("sendgrid", {"pipelining", "8bitmime"}, 31457280),
        ("ses", {"8bitmime"}, None),
        ("mailgun", {"pipelining", "8bitmime", "smtputf8"}, 52428800),
        ("microsoft365", {"pipelining", "chunking", "8bitmime", "smtputf8", "dsn"}, 157286400),
        ("zoho", set(), 53477376),
    ],
)
def test_capabilities_are_the_providers(provider: str, keywords: set[str], size: int | None) -> None:
    """What EHLO announces under TLS, as public transcripts show it."""
    with simulated(provider) as server, connect(server, logs_in=False) as client:
        known = {"pipelining", "chunking", "8bitmime", "smtputf8", "dsn", "enhancedstatuscodes"}
        announced = set(client.esmtp_features)
        assert keywords <= announced
        assert announced & known == keywords | (announced & {"enhancedstatuscodes"})
        assert client.esmtp_features.get("size") == (None if size is None else str(size))


def test_microsoft_offers_no_plain() -> None:
    """Only LOGIN and XOAUTH2."""
    with simulated("microsoft365") as server, connect(server, logs_in=False) as client:
        assert client.esmtp_features["auth"].split() == ["LOGIN", "XOAUTH2"]


@pytest.mark.parametrize(
    ("provider", "stage", "text"),
    [
        ("gmail", "data", "550 5.4.5 Daily user sending limit exceeded"),
        ("google-workspace", "data", "550 5.4.5 Daily user sending limit exceeded"),
        ("sendgrid", "data", "451 You've exceeded your messaging limits"),
        ("ses", "data", "454 Throttling failure: Daily message quota exceeded"),
        ("mailgun", "data", "421 Domain x.test is not allowed to send: recipient limit exceeded"),
        ("microsoft365", "data", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),
        ("zoho", "data", "550 5.4.6 Unusual sending activity detected"),
        ("postmark", "data", "550 5.7.1 Not allowed to send"),
        ("brevo", "data", "452 4.7.1 You have reached"),
        ("resend", "data", "450 You have reached"),
        ("mailjet", "data", "452 4.7.1 Daily"),
        ("generic", "rcpt", "450 4.7.1 Error: too much mail from someone@x.test"),
    ],
)
def test_quota_is_used_up_and_then_refused(provider: str, stage: str, text: str) -> None:
    """The quota counts recipients; what goes over it is refused as a whole, in the provider's words."""
    with simulated(provider, quota_left=2) as server, connect(server) as client:
        send(client, "b@y.test", "c@y.test")
        refused_at, said = refusal(client)
    assert refused_at == stage
    assert text in said
    assert len(server.messages) == 1
    assert server.rules.quota_left == 0


def test_used_up_sendgrid_account_is_refused_at_login() -> None:
    """451 at AUTH, which is a quota and not a wrong password."""
    with (
        simulated("sendgrid", quota_left=0) as server,
        connect(server, logs_in=False) as client,
        pytest.raises(smtplib.SMTPAuthenticationError, match="Maximum credits exceeded"),
    ):
        client.login("apikey", "SG.simulated")


def test_quota_can_be_filled_up_while_it_runs() -> None:
    """The next day begins."""
    with simulated("gmail", quota_left=0) as server, connect(server) as client:
        assert refusal(client)[0] == "data"
        server.rules.quota_left = 5
        send(client)
    assert server.rules.quota_left == 4


@pytest.mark.parametrize(
    ("provider", "stage", "text"),
    [
        ("sendgrid", "data", "550 The from address does not match a verified Sender Identity"),
        ("ses", "data", "region US-EAST-1: other@z.test"),
        ("mailgun", "data", "421 Domain z.test is not allowed to send: The domain is unverified"),
        ("microsoft365", "data", "someone@x.test not allowed to send as other@z.test"),
        ("resend", "data", "550 The z.test domain is not verified"),
        ("zoho", "data", "553 Relaying disallowed as other@z.test"),
        ("generic", "rcpt", "553 5.7.1 <other@z.test>: Sender address rejected: not owned by user someone@x.test"),
    ],
)
def test_unverified_sender_is_refused(provider: str, stage: str, text: str) -> None:
    """In the provider's words and at its stage; verified ones pass, by address and by domain."""
    with simulated(provider, verified_senders=["shop@x.test", "@v.test"]) as server, connect(server) as client:
        refused_at, said = refusal(client, sender="other@z.test")
    assert refused_at == stage
    assert text in said
    with simulated(provider, verified_senders=["shop@x.test", "@v.test"]) as server, connect(server) as client:
        send(client, sender="shop@x.test")
        send(client, sender="any@V.test")
    assert len(server.messages) == 2


@pytest.mark.parametrize("provider", ["gmail", "postmark"])
def test_some_providers_take_unverified_senders(provider: str) -> None:
    """Gmail rewrites From, Postmark tells later."""
    with simulated(provider, verified_senders=["shop@x.test"]) as server, connect(server) as client:
        send(client, sender="other@z.test")
    assert len(server.messages) == 1


ALL_FAULTS = [(provider, fault) for provider, habits in HABITS.items() for fault in habits.faults]


@pytest.mark.parametrize(("provider", "fault"), ALL_FAULTS)
def test_every_fault_is_said_at_its_stage(provider: str, fault: str) -> None:
    """Turned on it refuses in the provider's words, turned off the message is taken."""
    wording = HABITS[provider].faults[fault]
    with simulated(provider, faults=fault) as server:
        with connect(server, logs_in=wording.stage != "auth") as client:
            if wording.stage == "auth":
                ((username, password),) = server.rules.login.items()
                with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                    client.login(username, password)
                stage, said = "auth", _text(caught.value.smtp_code, caught.value.smtp_error)
            else:
                stage, said = refusal(client)
        assert stage == {"final_reply": "data"}.get(wording.stage, wording.stage)
        assert said.startswith(wording.text[:3])
        assert server.messages == []
        server.rules.faults.clear()
        with connect(server) as client:
            send(client)
        assert len(server.messages) == 1


def test_password_faults_spare_access_tokens() -> None:
    """Microsoft refuses passwords, and takes XOAUTH2."""
    with simulated("microsoft365", faults="basic_auth_disabled", tokens={"someone@x.test": "right"}) as server:
        with connect(server, logs_in=False) as client:
            response = base64.b64encode(b"user=someone@x.test\1auth=Bearer right\1\1").decode()
            assert client.docmd("AUTH XOAUTH2", response)[0] == 235
        with connect(server, logs_in=False) as client, pytest.raises(smtplib.SMTPAuthenticationError, match="5.7.30"):
            client.login("someone@x.test", "simulated")


def test_sandbox_delivers_to_verified_recipients_only() -> None:
    """SES names the recipient that is not verified."""
    with simulated("ses", faults="sandbox", verified_senders=["@x.test"]) as server, connect(server) as client:
        assert refusal(client, "b@y.test")[1].endswith("b@y.test")
        send(client, "me@x.test")
    assert len(server.messages) == 1


def test_fourth_connection_of_microsoft_is_refused_after_the_content() -> None:
    """The reply is 432; when another connection has ended, the same message is accepted."""
    with simulated("microsoft365") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(4)]
        assert "432 4.3.2 Concurrent connections limit exceeded" in refusal(clients[3])[1]
        clients[0].quit()
        server.wait_for_end(1)
        send(clients[3])
    assert len(server.messages) == 1


def test_rate_is_limited_in_a_sliding_window() -> None:
    """The thirty-first message of a minute waits until the minute is over."""
    now = [1000.0]
    with simulated("microsoft365", rate=2, clock=lambda: now[0]) as server:
        with connect(server) as client:
            send(client)
            send(client)
            assert "421 4.4.2 Message submission rate" in refusal(client)[1]
        now[0] += 59.0
        with connect(server) as client:
            assert "421" in refusal(client)[1]
        now[0] += 1.0
        with connect(server) as client:
            send(client)
    assert len(server.messages) == 3


def test_second_copy_with_the_same_key_is_taken_once() -> None:
    """Resend honours its header for a day; another key, and the same key later, are new messages."""
    now = [0.0]
    key = "Resend-Idempotency-Key: order-1\r\n"
    with simulated("resend", quota_left=10, clock=lambda: now[0]) as server, connect(server) as client:
        send(client, headers=key)
        send(client, headers=key)
        send(client, headers=key.replace("1", "2"))
        send(client)
        send(client)
        assert len(server.messages) == 4
        assert len(server.ignored) == 1
        now[0] += 86400.0
        send(client, headers=key)
        assert len(server.messages) == 5
        assert server.rules.quota_left == 5


def test_key_is_remembered_though_the_reply_was_lost() -> None:
    """A message that was taken and not answered is recognised when it comes again."""
    key = "Resend-Idempotency-Key: order-1\r\n"
    with simulated("resend", Script(final_reply=accept_then(close())), Script()) as server:
        with connect(server) as client, pytest.raises(smtplib.SMTPServerDisconnected):
            send(client, headers=key)
        with connect(server) as client:
            send(client, headers=key)
        assert len(server.messages) == 1
        assert len(server.ignored) == 1


def test_other_providers_know_no_key() -> None:
    """There the second copy is a second message."""
    key = "Resend-Idempotency-Key: order-1\r\n"
    with simulated("sendgrid") as server, connect(server) as client:
        send(client, headers=key)
        send(client, headers=key)
    assert len(server.messages) == 2


def test_recipients_are_limited_and_unknown_ones_refused() -> None:
    """At RCPT, each with its code."""
    content = CONTENT.format(sender="shop@x.test").encode()
    with (
        simulated("postmark", recipients_limit=2, unknown_recipients=["no@y.test"]) as server,
        connect(server) as client,
    ):
        refused = client.sendmail("shop@x.test", ["a@y.test", "no@y.test", "b@y.test", "c@y.test"], content)
    assert {address: code for address, (code, _) in refused.items()} == {"no@y.test": 550, "c@y.test": 452}
    assert server.messages[0].recipients == ("a@y.test", "b@y.test")


def test_mailgun_without_login_refuses_the_recipient() -> None:
    """Not the sender: a 550 at RCPT that says nothing of the recipient."""
    with simulated("mailgun") as server, connect(server, logs_in=False) as client:
        assert refusal(client) == ("rcpt", "550 5.7.1 Relaying denied")


def test_size_is_refused_where_it_was_not_announced() -> None:
    """SES announces no SIZE, and refuses a message that is too large after its content."""
    with (
        simulated("ses", size_limit=100) as server,
        connect(server) as client,
        pytest.raises(smtplib.SMTPDataError, match="too long"),
    ):
        client.sendmail("shop@x.test", ["b@y.test"], b"x" * 200 + b"\r\n")


def test_unknown_names_list_the_known_ones() -> None:
    """Of providers and of faults."""
    with pytest.raises(ValueError, match="sendgrid"):
        simulated("sendgird")
    with pytest.raises(ValueError, match="app_password_required"):
        simulated("gmail", faults="app_pasword")


def test_options_name_the_provider() -> None:
    """A mailer with these options talks to the simulation."""
    with simulated("sendgrid", tls="implicit", certificate=defective("ca_basic_constraints_not_critical")) as server:
        options = server.options()
    assert options["provider"] == "sendgrid"
    assert options["use_ssl"]
    assert (options["username"], options["password"]) == ("apikey", "SG.simulated")
    assert options["ssl_cafile"] == str(defective("ca_basic_constraints_not_critical").ca_file)


@pytest.mark.parametrize("provider", HABITS)
def test_every_wording_is_a_well_formed_reply(provider: str) -> None:
    """One code on every line, a space on the last and a hyphen on the others."""
    habits = HABITS[provider]
    texts = [getattr(habits, name) for name in ("greeting", "welcome", "wrong_password", "too_large", "data_ok")]
    refusals = [*habits.quota, habits.rate, habits.over_connections, *habits.faults.values(), habits.unverified]
    texts += [refusal.text for refusal in refusals if refusal]
    for text in texts:
        *first, last = text.split("\n")
        assert re.match(r"[2-5]\d\d ", last)
        assert all(line.startswith(f"{last[:3]}-") for line in first)
