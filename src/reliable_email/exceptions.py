"""Exceptions of this package. Each also derives from the class that code for Django's SMTP backend catches.

A configuration that cannot work is an `InvalidMailer`. A message that no recipient took is a `DeliveryError`, which is
an `smtplib.SMTPException` and so an `OSError`; where smtplib or Python have a narrower class (`SMTPRecipientsRefused`,
`TimeoutError`), the error is one of those too, with its attributes filled.
"""

import smtplib
import socket
import ssl
from collections.abc import Sequence
from errno import ECONNREFUSED, ECONNRESET
from typing import TYPE_CHECKING

import django
from django.core.exceptions import ImproperlyConfigured

from reliable_email.classification import Cause, Failure
from reliable_email.classification.wording import failure_text
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.smtp.stages import Stage
from reliable_email.values import printable

if TYPE_CHECKING or django.VERSION >= (6, 1):
    from django.core.mail.exceptions import InvalidMailer, MailerDoesNotExist
else:

    class InvalidMailer(ImproperlyConfigured):
        """An entry of `settings.MAILERS` has a configuration error; Django's own class from 6.1 on."""

        def __init__(self, msg: str, *, alias: str | None = None) -> None:
            super().__init__(msg if alias is None else f"MAILERS[{alias!r}]: {msg}")

    class MailerDoesNotExist(InvalidMailer, KeyError):
        """The requested alias is not in `settings.MAILERS`; Django's own class from 6.1 on."""

        def __init__(self, *, alias: str) -> None:
            super().__init__(f"The mailer '{alias}' is not configured.")

        __str__ = Exception.__str__  # KeyError's would show the repr


__all__ = [
    "AuthenticationFailed",
    "CertificateRefused",
    "ConnectFailed",
    "ContentRefused",
    "DeliveryError",
    "Disconnected",
    "DisconnectedInTLS",
    "GreetingRefused",
    "HelloRefused",
    "HostNotFound",
    "InvalidMailer",
    "InvalidMessage",
    "InvalidSettings",
    "LoginNotSupported",
    "LoginWantedAtMail",
    "LoginWantedAtRcpt",
    "MailerDoesNotExist",
    "NotSupported",
    "OutcomeUnknown",
    "RecipientsRefused",
    "ReplyTimedOut",
    "SenderRefused",
    "StartTLSRefused",
    "TLSFailed",
    "TimedOut",
    "error_for",
    "invalid_message",
]

_NO_CODE = -1  # smtplib's own number for "there was no reply code"
_LISTED = 10  # an error that names a thousand addresses helps nobody


class DeliveryError(smtplib.SMTPException):
    """A message reached no recipient (for a batch: some messages did not).

    Attributes:
        reports: one report for each such message.
        report: the first of them; None only where an error was made by hand.
    """

    def __init__(self, text: str, *, reports: Sequence[DeliveryReport] = ()) -> None:
        # smtplib's constructors want (code, text) and would be asked for it again by pickle and copy; all attributes
        # live in __dict__ instead, and `args` is the text alone.
        OSError.__init__(self, text)
        self.reports = tuple(reports)

    @property
    def report(self) -> DeliveryReport | None:
        """The report of the first message that reached no recipient."""
        return self.reports[0] if self.reports else None

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutcomeUnknown(DeliveryError, smtplib.SMTPServerDisconnected):
    """Some recipients may have the message: find out before you send it again by hand."""


class _ReplyError(DeliveryError):
    """An error with the attributes of smtplib's class for one reply: code and text."""

    def __init__(self, text: str, *, reports: Sequence[DeliveryReport] = (), failure: Failure | None = None) -> None:
        super().__init__(text, reports=reports)
        # smtplib's classes declare these with types that differ from class to class.
        code, said = _code_and_text(failure)
        vars(self).update(smtp_code=code, smtp_error=said)


class AuthenticationFailed(_ReplyError, smtplib.SMTPAuthenticationError):
    """The login was refused; another attempt with the same credentials will fail too."""


class ContentRefused(_ReplyError, smtplib.SMTPDataError):
    """The message itself was refused, after DATA or after its content."""


class SenderRefused(_ReplyError, smtplib.SMTPSenderRefused):
    """The sender's address was refused at MAIL FROM."""

    def __init__(
        self,
        text: str,
        *,
        reports: Sequence[DeliveryReport] = (),
        failure: Failure | None = None,
        sender: str = "",
    ) -> None:
        super().__init__(text, reports=reports, failure=failure)
        self.sender = sender


class RecipientsRefused(DeliveryError, smtplib.SMTPRecipientsRefused):
    """Every recipient was refused. `recipients` maps each one to (code, text), as in smtplib's class."""

    def __init__(self, text: str, *, reports: Sequence[DeliveryReport] = ()) -> None:
        super().__init__(text, reports=reports)
        self.recipients = _refused_recipients(reports)


class GreetingRefused(_ReplyError, smtplib.SMTPConnectError):
    """The server sent no greeting, or a refusal."""


class HelloRefused(_ReplyError, smtplib.SMTPHeloError):
    """The server refused EHLO, and HELO too."""


class StartTLSRefused(_ReplyError, smtplib.SMTPResponseException):
    """The server temporarily refused STARTTLS."""


class NotSupported(DeliveryError, smtplib.SMTPNotSupportedError):
    """The server does not offer a required extension: STARTTLS, a login, or SMTPUTF8."""


class LoginNotSupported(_ReplyError, smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError):
    """The server offers no login mechanism for these credentials."""


class LoginWantedAtMail(AuthenticationFailed, SenderRefused):
    """The sender was refused because it requires a login, or another login."""


class LoginWantedAtRcpt(AuthenticationFailed, RecipientsRefused):  # type: ignore[misc] # `args`, which neither has
    """Every recipient was refused because the server requires a login, or another login."""

    def __init__(self, text: str, *, reports: Sequence[DeliveryReport] = (), failure: Failure | None = None) -> None:
        AuthenticationFailed.__init__(self, text, reports=reports, failure=failure)
        self.recipients = _refused_recipients(reports)


class _NumberedError(DeliveryError):
    """An error with the attributes that code reads of an `OSError`. Of the class, so that pickle leaves them alone."""

    @property
    def strerror(self) -> str:
        """Return the words of the first failure, or those set in their place."""
        if "strerror" in vars(self):
            return str(vars(self)["strerror"])
        found = (one.failure for report in self.reports for one in report.recipients.values() if one.failure)
        first = next(found, None)
        return str(self) if first is None else first.detail

    @strerror.setter
    def strerror(self, words: str) -> None:
        vars(self)["strerror"] = words


class TLSFailed(_NumberedError, ssl.SSLError):
    """TLS failed; nothing was sent without it."""

    errno: int | None = ssl.SSL_ERROR_SSL
    library = "SSL"
    reason = "TLS_FAILED"


class CertificateRefused(TLSFailed, ssl.SSLCertVerificationError):
    """The server's certificate was refused."""

    reason = "CERTIFICATE_VERIFY_FAILED"
    verify_code = 1  # OpenSSL's X509_V_ERR_UNSPECIFIED; the words say which it is

    @property
    def verify_message(self) -> str:  # type: ignore[override] # nobody sets it
        """The reason for which the certificate was refused."""
        return self.strerror


class Disconnected(DeliveryError, smtplib.SMTPServerDisconnected):
    """The server closed the connection before the message was complete."""


# Which of ssl's two it is depends on the version of Python.
class DisconnectedInTLS(Disconnected, TLSFailed, ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
    """The server closed the connection during the TLS handshake."""

    errno = ECONNRESET
    reason = "UNEXPECTED_EOF_WHILE_READING"


class ConnectFailed(_NumberedError, ConnectionRefusedError):
    """No address of the server accepted a connection."""

    errno = ECONNREFUSED


class HostNotFound(_NumberedError, socket.gaierror):
    """The server's name could not be resolved."""

    errno = socket.EAI_NONAME


class TimedOut(DeliveryError, TimeoutError):
    """The message's `timeout` was used up."""


class ReplyTimedOut(TimedOut, smtplib.SMTPServerDisconnected):
    """The server did not reply in time; smtplib uses the same class as for a lost connection."""


class InvalidSettings(InvalidMailer, ValueError):
    """`EMAIL_*` settings contradict each other; Django's own backend raises ValueError for these."""


class InvalidMessage(ValueError):
    """Some messages of a batch are invalid; the others were tried.

    It is also of the class that was raised for the first of them (`KeyError`, `BadHeaderError`, …), which is its cause.
    """

    def __init__(self, text: str) -> None:
        # Other classes of which an instance may be want other arguments.
        BaseException.__init__(self, text)
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[object, ...]:
        kind = next((base for base in type(self).__bases__ if base is not InvalidMessage), ValueError)
        return _invalid_of_kind, (self.text, kind)


def invalid_message(text: str, error: Exception) -> InvalidMessage:
    """Return the exception for a message that raised `error`, which becomes its cause."""
    made = _invalid_of_kind(text, type(error))
    made.__cause__ = error
    return made


def _invalid_of_kind(text: str, kind: type[Exception]) -> InvalidMessage:
    if issubclass(InvalidMessage, kind):
        return InvalidMessage(text)
    try:
        return type("InvalidMessage", (InvalidMessage, kind), {"__module__": __name__})(text)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001 - a class of anybody's may not want to be derived from
        return InvalidMessage(text)


def error_for(reports: Sequence[DeliveryReport], *, sender: str = "") -> DeliveryError:
    """Return one exception for all messages in `reports`, which reached no recipient.

    The class is the narrowest that is true of all of them; `OutcomeUnknown` where any recipient is unknown.

    Args:
        reports: at least one.
        sender: the reverse-path, for `SenderRefused.sender`.
    """
    outcomes = [one for report in reports for one in report.recipients.values() if one.outcome is not Outcome.ACCEPTED]
    text = "\n".join(_message_lines(reports))
    if any(one.outcome is Outcome.UNKNOWN for one in outcomes):
        return OutcomeUnknown(text, reports=reports)
    failures = [one.failure for one in outcomes if one.failure is not None]
    kinds = {_error_class(failure) for failure in failures}
    if len(failures) != len(outcomes) or len(kinds) != 1:
        return DeliveryError(text, reports=reports)
    kind = kinds.pop()
    if issubclass(kind, SenderRefused):
        return kind(text, reports=reports, failure=failures[0], sender=sender)
    if issubclass(kind, _ReplyError):
        return kind(text, reports=reports, failure=failures[0])
    return kind(text, reports=reports)


def _error_class(failure: Failure) -> type[DeliveryError]:
    """Return the class for a failure: derived from the one that smtplib, ssl or Django would have raised."""
    if failure.reply is not None:
        return _class_of_reply(failure)
    match failure.cause:
        case Cause.AUTH_FAILED if failure.rule == "wire.auth_not_offered":
            return LoginNotSupported
        case Cause.AUTH_FAILED | Cause.AUTH_THROTTLED:
            return AuthenticationFailed
        case Cause.TLS_FAILED:
            return {"wire.tls_not_offered": NotSupported, "wire.tls_verification": CertificateRefused}.get(
                failure.rule, TLSFailed
            )
        case Cause.SYNTAX_OR_UNSUPPORTED if failure.rule == "wire.unsupported":
            return NotSupported
        case Cause.CONNECT_FAILED:
            return ConnectFailed
        case Cause.HOST_NOT_FOUND:
            return HostNotFound
        case Cause.TIMEOUT:
            return TimedOut if failure.stage in _BEFORE_REPLIES else ReplyTimedOut
        case Cause.DISCONNECTED:
            return DisconnectedInTLS if failure.stage is Stage.TLS else Disconnected
        case Cause.PROTOCOL_ERROR:
            return {Stage.TLS: TLSFailed, Stage.GREETING: GreetingRefused, Stage.EHLO: HelloRefused}.get(
                failure.stage or Stage.QUIT, DeliveryError
            )
        case Cause.SUPPRESSED | Cause.ADDRESS_INVALID:
            return RecipientsRefused
        case Cause.MESSAGE_TOO_LARGE:
            return SenderRefused  # as a server says it, to MAIL with its SIZE
    if failure.rule == "wire.resolver_failed":
        return HostNotFound
    return DeliveryError


_BEFORE_REPLIES = (None, Stage.RESOLVE, Stage.CONNECT, Stage.TLS)


def _class_of_reply(failure: Failure) -> type[DeliveryError]:
    is_about_login = failure.cause in (Cause.AUTH_FAILED, Cause.AUTH_THROTTLED)
    match failure.stage:
        case Stage.GREETING:
            return GreetingRefused
        case Stage.EHLO:
            return HelloRefused
        case Stage.STARTTLS:
            return StartTLSRefused
        case Stage.AUTH:
            return AuthenticationFailed
        case Stage.MAIL:
            return LoginWantedAtMail if is_about_login else SenderRefused
        case Stage.RCPT:
            return LoginWantedAtRcpt if is_about_login else RecipientsRefused
        case Stage.DATA | Stage.CONTENT | Stage.FINAL_REPLY:
            return ContentRefused
    return AuthenticationFailed if is_about_login else DeliveryError


def _refused_recipients(reports: Sequence[DeliveryReport]) -> dict[str, tuple[int, bytes]]:
    return {
        address: _code_and_text(one.failure)
        for report in reports
        for address, one in report.recipients.items()
        if one.outcome is not Outcome.ACCEPTED
    }


def _code_and_text(failure: Failure | None) -> tuple[int, bytes]:
    if failure is None:
        return _NO_CODE, b""
    if failure.reply is None:
        return _NO_CODE, failure.detail.encode("utf-8", "replace")
    reply = failure.reply
    text = " ".join(part for part in (reply.enhanced, reply.text) if part)
    return reply.code, text.encode("utf-8", "replace")


def _message_lines(reports: Sequence[DeliveryReport]) -> list[str]:
    lines = []
    for report in reports[:_LISTED]:
        name = f"message {report.message_id}" if report.message_id else "a message"
        lines += _report_lines(name, report)
    if len(reports) > _LISTED:
        lines.append(f"and {len(reports) - _LISTED} more messages, in `.reports`")
    return lines


def _report_lines(name: str, report: DeliveryReport) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for address, one in report.recipients.items():
        if one.outcome is not Outcome.ACCEPTED:
            key = (str(one), one.failure.help if one.failure else "")
            groups.setdefault(key, []).append(address)
    lines = []
    for (outcome, help_text), addresses in groups.items():
        line = f"{_listed(addresses)}: {outcome}"
        lines.append(f"{line}. {help_text}" if help_text else line)
    lines += _other_routes(report)
    if len(lines) == 1:
        return [f"{name} was not delivered: {lines[0]}"]
    return [f"{name} was not delivered:", *(f"  {line}" for line in lines)]


def _other_routes(report: DeliveryReport) -> list[str]:
    """Return one line for each route whose failure did not decide the outcome."""
    said = {(one.route, one.failure.cause) for one in report.recipients.values() if one.failure is not None}
    lines: dict[str, str] = {}
    for attempt in report.attempts:
        if attempt.failure is not None and (attempt.route, attempt.failure.cause) not in said:
            lines[f"{attempt.route} {attempt.failure.cause}"] = (
                f"before, by {attempt.route}: {failure_text(attempt.failure)}"
            )
    return list(lines.values())


def _listed(addresses: Sequence[str]) -> str:
    rest = len(addresses) - _LISTED
    return printable(", ".join(addresses[:_LISTED])) + (f" and {rest} more" if rest > 0 else "")
