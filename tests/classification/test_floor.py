"""The stage is a floor that no rule passes: what is refused before MAIL is the route's matter, whatever its words."""

import smtplib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import Cause, Scope, classify, classify_exception
from reliable_email.classification.rulebook import loose_rulebook, rulebook
from reliable_email.delivery.policy import Step, decide
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, parse_reply

EARLY = [Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH]
EXAMPLES = [text for rule in (*rulebook().rules, *loose_rulebook().rules) for text in rule.must_match]
THE_MESSAGE_KEEPS_ITS_ATTEMPTS = {Step.ANY_ROUTE, Step.OTHER_ROUTE}


def test_the_examples_of_all_rules_are_tried() -> None:
    """Whoever adds a rule adds to this test."""
    assert len(EXAMPLES) > 340


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text[:50])
def test_an_early_refusal_is_the_routes(text: str) -> None:
    """Every wording that any rule knows: about the route, and never final for a message or a recipient."""
    for stage in EARLY:
        failure = classify(parse_reply(text), stage=stage)
        assert failure.scope is Scope.ROUTE, stage
        assert not failure.is_about_conversation, stage
        assert decide(failure).step in THE_MESSAGE_KEEPS_ITS_ATTEMPTS, stage


@pytest.mark.parametrize("stage", EARLY)
@given(code=st.integers(400, 599), text=st.text(max_size=40), enhanced=st.sampled_from(["", "5.1.1", "5.6.0", "4.2.2"]))
def test_unknown_words_and_any_code_are_the_routes_as_well(stage: Stage, code: int, text: str, enhanced: str) -> None:
    """Where no rule helps, the code decides within the same floor."""
    failure = classify(Reply(code, (text,), enhanced), stage=stage)
    assert failure.scope is Scope.ROUTE
    assert decide(failure).step in THE_MESSAGE_KEEPS_ITS_ATTEMPTS


@pytest.mark.parametrize(
    "text",
    [
        "501 Syntactically invalid EHLO argument(s)",
        "501 5.5.4 Invalid argument",
        "504 5.5.2 web1: need fully-qualified hostname",
        "550 5.7.1 Helo command rejected",
        "550 Access denied - Invalid HELO name",
        "550 HELO host name must have a dot",
        "550 xyzzy",
        "554 5.7.1 your message was refused",
    ],
)
def test_a_refused_ehlo_is_about_the_name_of_this_host(text: str) -> None:
    """The remedy is `local_hostname`, not the addresses of the message."""
    failure = classify(parse_reply(text), stage=Stage.EHLO)
    assert failure.cause is Cause.HELO_REFUSED
    assert "local_hostname" in failure.help


@pytest.mark.parametrize(
    "text",
    [
        "504 5.7.4 Unrecognized authentication type",
        '502 Command "AUTH PLAIN" not implemented',
        "503 AUTH command used when not advertised",
        "500 5.5.1 xyzzy",
        "501 5.5.2 Cannot Decode response",
        "535 5.7.8 Error: authentication failed: Your message looks like spam. You need to use web for sending",
        "535 Error: 请使用授权码登录。详情请看: http://service.example.com/",
        "535 Login fail. Account is abnormal, password is incorrect, login frequency limited, or system is busy",
        "550 用户无权登陆",
        "550 User not found",
        "526 Authentication failure",
        "553 5.3.0 Auth failure",
        "451 auth mode unsupported.",
        "530 5.7.0 Authentication required",
        "534 5.7.9 xyzzy",
        "571 xyzzy",
    ],
)
def test_a_refused_login_is_about_the_login(text: str) -> None:
    """Spam, syntax, mailboxes: in answer to AUTH all of these speak of the account."""
    assert classify(parse_reply(text), stage=Stage.AUTH).cause is Cause.AUTH_FAILED


@pytest.mark.parametrize(
    ("text", "stage", "cause"),
    [
        ("421 4.7.0 too many connections", Stage.GREETING, Cause.CONNECTION_LIMIT),
        ("550 Connection frequency limited", Stage.GREETING, Cause.RATE_LIMITED),
        ("550 Ip frequency limited", Stage.GREETING, Cause.RATE_LIMITED),
        ("554 5.7.1 blocked using zen.spamhaus.org", Stage.GREETING, Cause.REPUTATION_BLOCKED),
        ("421 mx1: Your IP is filtered", Stage.GREETING, Cause.REPUTATION_BLOCKED),
        ("554 No SMTP service here", Stage.GREETING, Cause.REPUTATION_BLOCKED),
        ("421 Service not available", Stage.EHLO, Cause.SYSTEM_TEMPORARY),
        ("454 4.7.0 Too many login attempts", Stage.AUTH, Cause.AUTH_THROTTLED),
        ("451 Authentication failed: Maximum credits exceeded", Stage.AUTH, Cause.QUOTA_EXCEEDED),
        ("530 5.7.0 Must issue a STARTTLS command first", Stage.AUTH, Cause.TLS_REQUIRED),
        ("454 4.7.0 Temporary authentication failure", Stage.AUTH, Cause.SYSTEM_TEMPORARY),
        ("501 no", Stage.STARTTLS, Cause.TLS_FAILED),
        ("450 xyzzy, the mailbox is full", Stage.EHLO, Cause.SYSTEM_TEMPORARY),
    ],
)
def test_what_is_the_routes_by_its_own_words_stays_so(text: str, stage: Stage, cause: Cause) -> None:
    """The floor changes only causes that are not the route's."""
    assert classify(parse_reply(text), stage=stage).cause is cause


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_REPLY])
@pytest.mark.parametrize(
    "text",
    [
        "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
        "450 4.7.1 <web1.internal>: Helo command rejected: Host not found",
        "554 5.7.1 <localhost>: Helo command rejected: Access denied",
        "501 5.5.2 <x_y>: Helo command rejected: Invalid name",
        "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
        "550 Helo name contains a ip address",
        "550 Bad HELO - Host impersonating [mx.example.com]",
        "550 REJECTED - bad HELO, see our page",
        "550 HELO should be a FQDN or address literal (See RFC 2821 4.1.1.1)",
        "550 Forged HELO: you are not mx.example.com",
        "550 5.7.1 HELO/EHLO with my hostname is refused",
        "550 5.7.1 bogus HELO name used: localhost.localdomain",
        "501 5.0.0 HELO requires domain address",
        "550 5.7.506 Access Denied, Bad HELO",
        "554 5.7.1 Rejected: your EHLO name does not resolve",
        "554 5.7.1 <x>: Your HELO hostname does not match your IP",
        "550 HELO argument [192.0.2.1] is not a valid hostname",
        "550 EHLO/HELO argument localhost invalid, closing connection",
        "553 HELO name localhost is blacklisted here",
        "550 HELO host name must have a dot",
        "550 MI:NHD 163 smtp1",
        "554 5.7.1 The hostname you are sending from is not a fully qualified domain name",
    ],
)
def test_words_about_helo_are_the_routes_at_every_stage(text: str, stage: Stage) -> None:
    """Servers put this refusal off until RCPT; it is no fault of the recipient that is named by then."""
    failure = classify(parse_reply(text), stage=stage)
    assert (failure.cause, failure.scope) == (Cause.HELO_REFUSED, Scope.ROUTE)
    assert decide(failure).step is Step.OTHER_ROUTE


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT])
@pytest.mark.parametrize(
    "text",
    [
        "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]",
        "450 4.7.25 Client host rejected: cannot find your reverse hostname",
        "550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record setup",
        "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
        "550 5.7.1 Fix reverse DNS for 192.0.2.1",
        "550 Your IP has no rDNS",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        "550 5.7.1 Dynamic IP addresses are refused, use your ISP's server",
        "421 4.7.1 Connections from 192.0.2.1 are not accepted",
    ],
)
def test_words_about_the_clients_address_are_the_routes_at_every_stage(text: str, stage: Stage) -> None:
    """Another route has another address."""
    failure = classify(parse_reply(text), stage=stage)
    assert (failure.cause, failure.scope) == (Cause.REPUTATION_BLOCKED, Scope.ROUTE)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (smtplib.SMTPHeloError(550, b"no such user"), Cause.HELO_REFUSED),
        (smtplib.SMTPHeloError(501, b"Syntactically invalid EHLO argument(s)"), Cause.HELO_REFUSED),
        (smtplib.SMTPConnectError(554, b"message refused"), Cause.REPUTATION_BLOCKED),
        (smtplib.SMTPConnectError(421, b"over quota"), Cause.SYSTEM_TEMPORARY),
        (smtplib.SMTPAuthenticationError(550, b"mailbox unavailable"), Cause.AUTH_FAILED),
        (smtplib.SMTPAuthenticationError(535, "请使用授权码登录".encode("gbk")), Cause.AUTH_FAILED),
        (smtplib.SMTPNotSupportedError("SMTP AUTH extension not supported by server."), Cause.AUTH_FAILED),
        (smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server."), Cause.TLS_FAILED),
        (smtplib.SMTPException("No suitable authentication method found."), Cause.AUTH_FAILED),
    ],
)
def test_smtplibs_exceptions_have_the_same_floor(error: Exception, cause: Cause) -> None:
    """A foreign backend's EHLO, greeting and AUTH are no other than ours."""
    failure = classify_exception(error)
    assert (failure.cause, failure.scope) == (cause, Scope.ROUTE)


@pytest.mark.parametrize("stage", [Stage.RESOLVE, Stage.CONNECT, Stage.TLS, *EARLY])
@pytest.mark.parametrize(
    "kind", [FailureKind.REFUSED, FailureKind.TIMEOUT, FailureKind.PROTOCOL, FailureKind.UNSUPPORTED]
)
def test_failures_of_the_wire_have_the_same_floor(kind: FailureKind, stage: Stage) -> None:
    """Before MAIL nothing was said of a message."""
    failure = classify(WireFailure(stage=stage, kind=kind, detail="it broke"))
    assert failure.scope is Scope.ROUTE
