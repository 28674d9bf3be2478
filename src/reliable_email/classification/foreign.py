"""The meaning of other backends' exceptions: smtplib, django-anymail, requests, urllib3, httpx, botocore, sockets.

Recognised by the names of their classes, so that none of these libraries has to be installed. The question that
matters most is whether the provider can have taken the message: a connection that was never made took nothing,
silence after the request was written may have taken it, and an answer is an answer.
"""

import errno
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from reliable_email.classification.answers import classify_reply
from reliable_email.classification.causes import Cause, Failure, Scope
from reliable_email.classification.hints import MAX_WAIT_SECONDS
from reliable_email.classification.meanings import help_for, is_permanent, scope_for
from reliable_email.patterns import pattern
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.charsets import decoded
from reliable_email.smtp.syntax.replies import Reply

_MAX_CHAIN = 12

# Class names that settle the matter, over all the libraries; the nearest to the raised one decides.
_NOT_SENT: dict[str, Cause] = {
    "gaierror": Cause.HOST_NOT_FOUND,
    "NameResolutionError": Cause.HOST_NOT_FOUND,
    "SMTPConnectError": Cause.CONNECT_FAILED,  # with a number that is no reply code
    "SMTPHeloError": Cause.CONNECT_FAILED,
    "ConnectionRefusedError": Cause.CONNECT_FAILED,
    "NewConnectionError": Cause.CONNECT_FAILED,
    "ConnectTimeout": Cause.CONNECT_FAILED,
    "ConnectTimeoutError": Cause.CONNECT_FAILED,
    "ConnectError": Cause.CONNECT_FAILED,
    "PoolTimeout": Cause.CONNECT_FAILED,
    "EndpointConnectionError": Cause.CONNECT_FAILED,
    "ProxyConnectionError": Cause.CONNECT_FAILED,
    "ProxyError": Cause.CONNECT_FAILED,
    "SSLCertVerificationError": Cause.TLS_FAILED,
    "NoCredentialsError": Cause.AUTH_FAILED,
    "PartialCredentialsError": Cause.AUTH_FAILED,
    "CredentialRetrievalError": Cause.AUTH_FAILED,
    "NoRegionError": Cause.HOST_NOT_FOUND,
    "InvalidURL": Cause.HOST_NOT_FOUND,
    "MissingSchema": Cause.HOST_NOT_FOUND,
    "AnymailConfigurationError": Cause.AUTH_FAILED,
    "AnymailImproperlyInstalled": Cause.AUTH_FAILED,
    "AnymailInvalidAddress": Cause.SYNTAX_OR_UNSUPPORTED,
    "AnymailUnsupportedFeature": Cause.SYNTAX_OR_UNSUPPORTED,
    "AnymailSerializationError": Cause.SYNTAX_OR_UNSUPPORTED,
    "ParamValidationError": Cause.SYNTAX_OR_UNSUPPORTED,
    "SMTPNotSupportedError": Cause.SYNTAX_OR_UNSUPPORTED,
    "UnicodeEncodeError": Cause.SYNTAX_OR_UNSUPPORTED,
}
_OF_SMTPLIB: dict[str, Cause] = {
    "auth extension not supported": Cause.AUTH_FAILED,
    "no suitable authentication method": Cause.AUTH_FAILED,
    "starttls extension not supported": Cause.TLS_FAILED,
}
_MAYBE_SENT = frozenset(
    {
        "ReadTimeout",
        "ReadTimeoutError",
        "ReadError",
        "WriteTimeout",
        "WriteError",
        "RemoteProtocolError",
        "ChunkedEncodingError",
        "ProtocolError",
        "ConnectionClosedError",
        "ResponseStreamingError",
        "IncompleteRead",
        "RemoteDisconnected",
        "BadStatusLine",
        "ConnectionResetError",
        "ConnectionAbortedError",
        "BrokenPipeError",
        "SMTPServerDisconnected",
        "TimeoutError",
        "timeout",
        "Timeout",
    }
)
_ENVELOPES = frozenset({"ConnectionError", "HTTPClientError", "SSLError", "MaxRetryError", "OSError"})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN})
_SMTP_STAGES: dict[str, Stage] = {
    "SMTPConnectError": Stage.GREETING,
    "SMTPHeloError": Stage.EHLO,
    "SMTPAuthenticationError": Stage.AUTH,
    "SMTPSenderRefused": Stage.MAIL,
    "SMTPDataError": Stage.FINAL_REPLY,
}
_OF_HTTP: dict[int, Cause] = {
    400: Cause.SYNTAX_OR_UNSUPPORTED,
    401: Cause.AUTH_FAILED,
    402: Cause.QUOTA_EXCEEDED,
    403: Cause.AUTH_FAILED,
    404: Cause.AUTH_FAILED,
    405: Cause.SYNTAX_OR_UNSUPPORTED,
    406: Cause.MAILBOX_INACTIVE,  # Postmark: every recipient is inactive
    407: Cause.CONNECT_FAILED,
    408: Cause.SYSTEM_TEMPORARY,
    409: Cause.SYSTEM_TEMPORARY,
    413: Cause.MESSAGE_TOO_LARGE,
    415: Cause.SYNTAX_OR_UNSUPPORTED,
    420: Cause.QUOTA_EXCEEDED,  # Mailgun
    422: Cause.SYNTAX_OR_UNSUPPORTED,
    429: Cause.RATE_LIMITED,
    500: Cause.SYSTEM_TEMPORARY,
    503: Cause.SYSTEM_TEMPORARY,
}
_TEMPORARY_HTTP = frozenset({408, 409, 420, 425, 429, 500, 502, 503, 504})
_OF_AWS: dict[str, Cause] = {
    "Throttling": Cause.RATE_LIMITED,
    "ThrottlingException": Cause.RATE_LIMITED,
    "TooManyRequestsException": Cause.RATE_LIMITED,
    "RequestLimitExceeded": Cause.RATE_LIMITED,
    "LimitExceededException": Cause.QUOTA_EXCEEDED,
    "LimitExceeded": Cause.QUOTA_EXCEEDED,
    "AccountSendingPausedException": Cause.AUTH_FAILED,
    "SendingPausedException": Cause.AUTH_FAILED,
    "ConfigurationSetSendingPausedException": Cause.AUTH_FAILED,
    "AccountSuspendedException": Cause.AUTH_FAILED,
    "MailFromDomainNotVerified": Cause.SENDER_NOT_VERIFIED,
    "MailFromDomainNotVerifiedException": Cause.SENDER_NOT_VERIFIED,
    "FromEmailAddressNotVerified": Cause.SENDER_NOT_VERIFIED,
    "ConfigurationSetDoesNotExist": Cause.SYNTAX_OR_UNSUPPORTED,
    "ConfigurationSetDoesNotExistException": Cause.SYNTAX_OR_UNSUPPORTED,
    "InvalidParameterValue": Cause.SYNTAX_OR_UNSUPPORTED,
    "BadRequestException": Cause.SYNTAX_OR_UNSUPPORTED,
    "ValidationError": Cause.SYNTAX_OR_UNSUPPORTED,
    "AccessDenied": Cause.AUTH_FAILED,
    "AccessDeniedException": Cause.AUTH_FAILED,
    "InvalidClientTokenId": Cause.AUTH_FAILED,
    "UnrecognizedClientException": Cause.AUTH_FAILED,
    "SignatureDoesNotMatch": Cause.AUTH_FAILED,
    "MissingAuthenticationToken": Cause.AUTH_FAILED,
    "ExpiredToken": Cause.AUTH_FAILED,
    "ExpiredTokenException": Cause.AUTH_FAILED,
    "OptInRequired": Cause.AUTH_FAILED,
    "RequestExpired": Cause.AUTH_FAILED,  # the clock is wrong
    "ServiceUnavailable": Cause.SYSTEM_TEMPORARY,
    "InternalFailure": Cause.SYSTEM_TEMPORARY,
    "InternalServiceErrorException": Cause.SYSTEM_TEMPORARY,
    "MessageRejected": Cause.CONTENT_REJECTED,
}
_SECRETS = pattern(
    r"(?i)(authorization[=: \"']+(?:bearer |basic )?|(?:bearer|basic) |(?:token|key|password|secret)[\"']?[=:] ?[\"']?)"
    r"[^\s\"',}]+"
)


def classify_exception(
    error: BaseException, *, provider: str | None = None, sender_domain: str | None = None, now: datetime | None = None
) -> Failure:
    """Return the meaning of an exception of another package's backend.

    `Cause.OUTCOME_UNKNOWN` is the answer where the provider may have taken the message: never try it by another
    route. Everything that is not recognised is unknown as well, since nothing is known of how far it came.
    """
    for one in _chain(error):
        failure = _of_one(one, provider=provider, sender_domain=sender_domain, now=now)
        if failure is not None:
            return failure
    return _failure(Cause.OUTCOME_UNKNOWN, f"exception.{type(error).__name__}", _told(error), certain=False)


def _of_one(
    error: BaseException, *, provider: str | None, sender_domain: str | None, now: datetime | None
) -> Failure | None:
    names = [cls.__name__ for cls in type(error).__mro__]
    reply, stage = _smtp_reply(error, names)
    if reply is not None:
        return classify_reply(reply, stage=stage, provider=provider, sender_domain=sender_domain, now=now)
    code = _aws_code(error)
    if code is not None:
        return _of_aws(code, error, sender_domain=sender_domain, now=now)
    status = _http_status(error)
    if status is not None:
        return _of_http(status, error, provider=provider, sender_domain=sender_domain, now=now)
    told = str(error)[:512].lower()
    if any(name.startswith("SMTP") for name in names):
        # What smtplib says of the conversation in words alone.
        for phrase, cause in _OF_SMTPLIB.items():
            if phrase in told:
                return _failure(cause, f"exception.{names[0]}", _told(error))
    for name in names:
        if name in _NOT_SENT:
            return _failure(_NOT_SENT[name], f"exception.{name}", _told(error))
        if name == "AnymailRecipientsRefused":
            # Each recipient's own status is in `message.anymail_status`; this is what is known of all of them.
            return _failure(Cause.MAILBOX_INACTIVE, f"exception.{name}", _told(error))
        if name in _MAYBE_SENT:
            return _failure(Cause.OUTCOME_UNKNOWN, f"exception.{name}", _told(error))
        if name == "SSLError" and "CERTIFICATE" in str(error).upper():
            return _failure(Cause.TLS_FAILED, f"exception.{name}", _told(error))
        if name == "OSError" and getattr(error, "errno", None) in _UNREACHABLE:
            return _failure(Cause.CONNECT_FAILED, f"exception.{name}", _told(error))
        if name in _ENVELOPES:
            return None  # says only that something went wrong; what it wraps knows more
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what it wraps or was raised from."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_CHAIN:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        inner: list[object] = [getattr(one, "reason", None), *one.args, one.__cause__, context]
        waiting += [found for found in inner if isinstance(found, BaseException)]


def _smtp_reply(error: BaseException, names: list[str]) -> tuple[Reply | None, Stage | None]:
    if "SMTPRecipientsRefused" in names:
        refused = getattr(error, "recipients", None)
        entry = next(iter(refused.values())) if isinstance(refused, dict) and refused else None
        if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], int):
            return _reply(*entry), Stage.RCPT
        return None, None
    code = getattr(error, "smtp_code", None)
    if not isinstance(code, int):
        return None, None
    stage = next((_SMTP_STAGES[name] for name in names if name in _SMTP_STAGES), None)
    return _reply(code, getattr(error, "smtp_error", "")), stage


def _reply(code: int, text: object) -> Reply | None:
    if not 400 <= code < 600:
        return None
    spelled = decoded(text) if isinstance(text, bytes) else str(text)
    first, _, rest = spelled.strip().partition(" ")
    if re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", first):
        return Reply(code, (rest,), first)
    return Reply(code, (spelled,))


def _aws_code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    told = response.get("Error")
    code = told.get("Code") if isinstance(told, dict) else None
    return code if isinstance(code, str) else None


def _of_aws(code: str, error: Any, *, sender_domain: str | None, now: datetime | None) -> Failure:
    text = str(error.response["Error"].get("Message", ""))
    by_words = classify_reply(Reply(554, (text,)), provider="ses", sender_domain=sender_domain, now=now)
    cause = _OF_AWS.get(code)
    vague = cause in (None, Cause.CONTENT_REJECTED, Cause.SYNTAX_OR_UNSUPPORTED, Cause.RATE_LIMITED)
    if by_words.certain and vague and not by_words.rule.startswith(("code.", "status.")):
        return _with_detail(by_words, f"{code}: {text}")
    if cause is None:
        metadata = error.response.get("ResponseMetadata")
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
        cause = _OF_HTTP.get(status, Cause.UNCLASSIFIED) if isinstance(status, int) else Cause.UNCLASSIFIED
    return _failure(cause, f"aws.{code}", f"{code}: {text}"[:300], certain=cause is not Cause.UNCLASSIFIED)


def _http_status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and 300 <= status < 600:
                return status
    return None


def _of_http(
    status: int, error: BaseException, *, provider: str | None, sender_domain: str | None, now: datetime | None
) -> Failure:
    text = _body(error)
    if status in (502, 504):
        # A gateway lost the server behind it, which may have done its work.
        return _failure(Cause.OUTCOME_UNKNOWN, f"http.{status}", text)
    temporary = status in _TEMPORARY_HTTP
    by_words = classify_reply(
        Reply(450 if temporary else 550, (text,)), provider=provider, sender_domain=sender_domain, now=now
    )
    decided = by_words.certain and not by_words.rule.startswith(("code.", "status."))
    # 401 and 413 say more than any prose; where the words say "temporary" and the status says more, the status wins.
    if decided and status not in (401, 413) and by_words.cause is not Cause.SYSTEM_TEMPORARY:
        return _with_detail(by_words, text, retry_after=_retry_after(error))
    cause = _OF_HTTP.get(status)
    if cause is None:
        cause = Cause.SYSTEM_TEMPORARY if status >= 500 else Cause.UNCLASSIFIED
    return _failure(
        cause,
        f"http.{status}",
        text,
        code=450 if temporary else 550,
        certain=cause is not Cause.UNCLASSIFIED,
        retry_after=_retry_after(error) or by_words.retry_after,
    )


def _body(error: BaseException) -> str:
    body = getattr(getattr(error, "response", None), "text", None)
    return _without_secrets(body if isinstance(body, str) and body else str(error))


def _retry_after(error: BaseException) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7):
        return None
    return min(float(value), MAX_WAIT_SECONDS)


def _told(error: BaseException) -> str:
    return _without_secrets(f"{type(error).__name__}: {error}")


def _without_secrets(text: str) -> str:
    return _SECRETS.sub(r"\1***", text[:2048])[:300]


def _with_detail(failure: Failure, detail: str, *, retry_after: float | None = None) -> Failure:
    return Failure(
        cause=failure.cause,
        scope=failure.scope,
        permanent=failure.permanent,
        certain=failure.certain,
        retry_after=retry_after if retry_after is not None else failure.retry_after,
        retry_at=failure.retry_at,
        help=failure.help,
        rule=failure.rule,
        detail=_without_secrets(detail),
        is_about_conversation=failure.is_about_conversation,
    )


def _failure(
    cause: Cause,
    rule: str,
    detail: str,
    *,
    code: int | None = None,
    certain: bool = True,
    retry_after: float | None = None,
) -> Failure:
    permanent = is_permanent(cause, code)
    scope: Scope = scope_for(cause)
    return Failure(
        cause=cause,
        scope=scope,
        permanent=permanent,
        certain=certain,
        retry_after=retry_after,
        help=help_for(cause),
        rule=rule,
        detail=detail,
    )
