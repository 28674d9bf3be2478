"""What exceptions of foreign backends mean: above all, whether the provider can have taken the message."""

import smtplib
import socket
import ssl

import pytest
import requests
import urllib3
from anymail.exceptions import (
    AnymailConfigurationError,
    AnymailInvalidAddress,
    AnymailRecipientsRefused,
    AnymailRequestsAPIError,
    AnymailUnsupportedFeature,
)

from reliable_email.classification import Cause, Scope, classify_exception


def answer(status, body, headers=None):
    """A provider's HTTP answer."""
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    response.encoding = "utf-8"
    response.headers.update(headers or {})
    response.url = "https://api.example.org/send"
    return response


def anymail_error(status, body, headers=None):
    """What anymail raises for such an answer."""
    return AnymailRequestsAPIError(response=answer(status, body, headers))


def aws_error(code, message, status=400):
    """Shaped like botocore's ClientError, which carries its answer in `response`."""

    class ClientError(Exception):
        pass

    error = ClientError(f"An error occurred ({code}) when calling the SendEmail operation: {message}")
    error.response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return error


def named(name, *args):
    """An exception of a library that is not installed."""
    return type(name, (Exception,), {})(*args)


def refused_connection():
    """What requests raises when nobody listens."""
    reason = urllib3.exceptions.NewConnectionError(None, "Connection refused")
    return requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/send", reason))


def certificate_error():
    """What requests raises for a bad certificate."""
    reason = ssl.SSLCertVerificationError("certificate verify failed")
    return requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(None, "/send", reason))


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (refused_connection(), Cause.CONNECT_FAILED),
        (requests.exceptions.ConnectTimeout(), Cause.CONNECT_FAILED),
        (certificate_error(), Cause.TLS_FAILED),
        (ConnectionRefusedError(111, "Connection refused"), Cause.CONNECT_FAILED),
        (socket.gaierror(-2, "Name or service not known"), Cause.HOST_NOT_FOUND),
        (OSError(113, "No route to host"), Cause.CONNECT_FAILED),
        (named("ConnectError"), Cause.CONNECT_FAILED),
        (named("EndpointConnectionError"), Cause.CONNECT_FAILED),
        (named("NoCredentialsError"), Cause.AUTH_FAILED),
        (AnymailInvalidAddress("bad address"), Cause.SYNTAX_OR_UNSUPPORTED),
        (AnymailUnsupportedFeature("no such feature"), Cause.SYNTAX_OR_UNSUPPORTED),
        (AnymailConfigurationError("no API key"), Cause.AUTH_FAILED),
    ],
)
def test_what_was_surely_not_sent(error, cause):
    """Without a connection, or with our own refusal, the provider has nothing."""
    assert classify_exception(error).cause is cause


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ReadTimeout(),
        requests.exceptions.ConnectionError(
            urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
        ),
        requests.exceptions.ChunkedEncodingError(),
        ConnectionResetError(104, "reset"),
        TimeoutError("timed out"),
        smtplib.SMTPServerDisconnected("Connection unexpectedly closed"),
        named("ReadTimeout"),
        named("RemoteProtocolError"),
        named("ReadTimeoutError"),
        named("ConnectionClosedError"),
        anymail_error(502, "bad gateway"),
        anymail_error(504, "gateway timeout"),
        ValueError("something else"),
    ],
)
def test_what_may_have_been_sent(error):
    """Silence after the request, and whatever nobody recognises, is never tried by another route."""
    failure = classify_exception(error)
    assert failure.cause is Cause.OUTCOME_UNKNOWN


def test_the_wrapped_exception_is_found():
    """Anymail wraps what requests raised; the inner one knows more."""
    outer = AnymailRequestsAPIError("Error posting to https://api.example.org/send")
    outer.__cause__ = refused_connection()
    assert classify_exception(outer).cause is Cause.CONNECT_FAILED
    outer.__cause__ = requests.exceptions.ReadTimeout()
    assert classify_exception(outer).cause is Cause.OUTCOME_UNKNOWN


def test_an_unrelated_context_that_was_suppressed_says_nothing():
    """`raise ... from None` cuts off what went before."""
    error = RuntimeError("boom")
    error.__context__ = ConnectionRefusedError()
    error.__suppress_context__ = True
    assert classify_exception(error).cause is Cause.OUTCOME_UNKNOWN


def test_exceptions_that_wrap_each_other_end():
    """A circle of causes is no endless loop."""
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert classify_exception(first).cause is Cause.OUTCOME_UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, '{"message": "The provided authorization grant is invalid"}', Cause.AUTH_FAILED),
        (403, '{"message": "The from address does not match a verified Sender Identity"}', Cause.SENDER_NOT_VERIFIED),
        (403, '{"message": "The example.com domain is not verified"}', Cause.SENDER_NOT_VERIFIED),
        (403, "nope", Cause.AUTH_FAILED),
        (402, "pay", Cause.QUOTA_EXCEEDED),
        (413, "too much", Cause.MESSAGE_TOO_LARGE),
        (422, '{"Message": "You tried to send to recipients that are inactive"}', Cause.MAILBOX_INACTIVE),
        (422, "what?", Cause.SYNTAX_OR_UNSUPPORTED),
        (429, '{"message": "Too many requests"}', Cause.RATE_LIMITED),
        (429, '{"message": "You have reached your daily email sending quota"}', Cause.QUOTA_EXCEEDED),
        (420, "Domain x is not allowed to send: recipient limit exceeded", Cause.QUOTA_EXCEEDED),
        (500, "oops", Cause.SYSTEM_TEMPORARY),
        (503, "maintenance", Cause.SYSTEM_TEMPORARY),
    ],
)
def test_http_answers_have_causes(status, body, cause):
    """The provider's words decide, then the status."""
    assert classify_exception(anymail_error(status, body)).cause is cause


def test_retry_after_is_honoured():
    """The header that HTTP has for this."""
    assert classify_exception(anymail_error(429, "slow down", {"Retry-After": "17"})).retry_after == 17


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        (
            "MessageRejected",
            "Email address is not verified. The following identities failed",
            Cause.SENDER_NOT_VERIFIED,
        ),
        ("MessageRejected", "no", Cause.CONTENT_REJECTED),
        ("Throttling", "Maximum sending rate exceeded.", Cause.RATE_LIMITED),
        ("Throttling", "Daily message quota exceeded.", Cause.QUOTA_EXCEEDED),
        ("AccountSendingPausedException", "paused", Cause.AUTH_FAILED),
        ("InvalidClientTokenId", "The security token included in the request is invalid.", Cause.AUTH_FAILED),
        ("BadRequestException", "Illegal address", Cause.SYNTAX_OR_UNSUPPORTED),
        ("SomethingNew", "?", Cause.SYNTAX_OR_UNSUPPORTED),
    ],
)
def test_amazon_errors_have_causes(code, message, cause):
    """Codes name the trouble, and the message where the code is vague."""
    assert classify_exception(aws_error(code, message)).cause is cause


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (smtplib.SMTPAuthenticationError(535, b"5.7.8 no"), Cause.AUTH_FAILED),
        (smtplib.SMTPAuthenticationError(454, b"4.7.0 Too many login attempts"), Cause.AUTH_THROTTLED),
        (smtplib.SMTPSenderRefused(550, b"no such user", "a@example.org"), Cause.UNCLASSIFIED),
        (smtplib.SMTPDataError(550, b"5.4.5 Daily user sending quota exceeded"), Cause.QUOTA_EXCEEDED),
        (smtplib.SMTPRecipientsRefused({"a@example.org": (550, b"5.1.1 User unknown")}), Cause.MAILBOX_UNKNOWN),
        (smtplib.SMTPConnectError(421, "Too many connections"), Cause.CONNECTION_LIMIT),
        (smtplib.SMTPConnectError(-1, "HTTP"), Cause.CONNECT_FAILED),
    ],
)
def test_replies_inside_smtplib_exceptions_are_read(error, cause):
    """The class tells the stage, the reply the rest."""
    assert classify_exception(error).cause is cause


def test_refused_recipients_are_about_recipients():
    """All recipients were refused by the provider's own list."""
    failure = classify_exception(AnymailRecipientsRefused("All message recipients were rejected or invalid"))
    assert failure.scope is Scope.RECIPIENT


def test_secrets_in_an_answer_are_not_repeated():
    """A failure is stored and shown; the header that somebody echoed is not."""
    detail = classify_exception(anymail_error(401, "Authorization: Bearer abc123 is wrong, api_key=xyz")).detail
    assert "abc123" not in detail
    assert "xyz" not in detail
