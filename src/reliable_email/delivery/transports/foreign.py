"""Another package's email backend as a transport: django-anymail's, django-ses's, Django's own.

It is made and opened, then permission is asked for, then it is handed a copy of the message for those recipients alone,
and then its answer is read: django-anymail's status for each recipient, a count, or an exception. What raises before
the permission was certainly not sent; what a later exception says about "did the provider take it?" is
`classification.foreign`'s question.
"""

import copy
import logging
import smtplib
import threading
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from reliable_email.delivery.content.stored_mime import stored_mime
from reliable_email.delivery.report import address_key, bare_address
from reliable_email.delivery.submission import Submission
from reliable_email.delivery.transports.foreign_answers import (
    CannotBeBuilt,
    by_recipient,
    by_status,
    for_all,
    is_not_begun,
    not_ready,
    nothing_ran,
    raised_before,
    refused_by_name,
    sending_raised,
    show_status,
    trouble,
)
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import forward_path, with_ascii_domain
from reliable_email.smtp.transaction import (
    Aside,
    Ask,
    Grant,
    Job,
    RecipientResult,
    Transaction,
    Transport,
    Verdict,
    WireSteps,
)

logger = logging.getLogger("reliable_email.delivery")

_DJANGO_SMTP = "django.core.mail.backends.smtp"


class ForeignTransport(Transport):
    """A transport over another package's backend. Jobs carry their `Submission` as key.

    Args:
        make_backend: gives the backend; called once for a stream of jobs.
        alias: for error texts.
    """

    def __init__(self, make_backend: Callable[[], BaseEmailBackend], *, alias: str) -> None:
        self._make_backend = make_backend
        self._alias = alias

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield the steps of sending: work for another thread, questions and finished transactions."""
        line = _OpenBackend(self._make_backend)
        settled: list[Transaction] = []
        for number, job in enumerate(jobs):
            if number:
                deadline.renew()
            transaction = yield from self._one(job, line, settled)
            settled.append(transaction)
            yield transaction

    def _one(
        self, job: Job, line: "_OpenBackend", settled: list[Transaction]
    ) -> Generator[Aside[Any] | Ask, None, Transaction]:
        """Open, copy, ask, send: what raises before the question was certainly not sent."""
        began_at = time.monotonic()
        try:
            backend = yield from Aside(line.open).steps(lambda backend: line.close_aside())
        except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
            return for_all(job, Verdict.NOT_SENT, not_ready(error, self._alias), began_at)
        is_sending = False
        try:
            message = self._copy(job, backend)
            ask = Ask([Grant(job=job, recipients=job.recipients)], list(settled))
            settled.clear()
            yield ask
            if job not in ask.allowed:
                failure = trouble(FailureKind.WITHHELD, "the permission to hand the message over was not given")
                return for_all(job, Verdict.NOT_SENT, failure, began_at)
            is_sending = True
        except Exception as error:  # noqa: BLE001 - here, too
            return for_all(job, Verdict.NOT_SENT, raised_before(error), began_at)
        finally:
            if not is_sending:
                line.close_aside()
        sending = Aside(partial(line.send, message))
        yield sending
        try:
            count = sending.result()
        except Exception as error:  # noqa: BLE001 - here, too
            if line.has_surely_sent_nothing:
                return for_all(job, Verdict.NOT_SENT, raised_before(error), began_at)
            show_status(job, message)
            return sending_raised(job, message, error, line.refused, began_at)
        if is_not_begun(count):
            return for_all(job, Verdict.NOT_SENT, not_ready(nothing_ran(count), self._alias), began_at)
        show_status(job, message)
        return self._answered(job, message, count, line, began_at)

    def _copy(self, job: Job, backend: BaseEmailBackend) -> EmailMessage:
        submission = job.key
        if not isinstance(submission, Submission) or submission.message is None:
            raise TypeError(f"{self._alias} needs the message itself, not only its bytes")
        return message_for(submission, job, backend)

    def _answered(
        self, job: Job, message: EmailMessage, count: int | None, line: "_OpenBackend", began_at: float
    ) -> Transaction:
        status = getattr(message, "anymail_status", None)
        if getattr(status, "recipients", None):
            return by_status(job, message, status, began_at)
        if count or count is None:  # Django asks for no count, and many backends give none; they raise where they fail
            results = refused_by_name(job, line.refused) if line.refused else {}
            taken = RecipientResult(verdict=Verdict.ACCEPTED)
            message_id = getattr(status, "message_id", None)
            results = {address: results.get(address, taken) for address in job.recipients}
            return by_recipient(job, results, began_at, provider_id=message_id)
        if line.cancels(message):
            failure = trouble(
                FailureKind.SUPPRESSED, "the site's own receiver of pre_send cancelled the message", stage=Stage.RCPT
            )
            return for_all(job, Verdict.NOT_SENT, failure, began_at)
        failure = trouble(FailureKind.PROTOCOL, f"{self._alias} took no message and did not say why")
        return for_all(job, Verdict.NOT_SENT, failure, began_at)


class _OpenBackend:
    """One stream's backend: made once, and opened and closed for each message, as Django does it.

    An open connection that waits for the next message may be gone by then, and nobody could tell that from one that
    died over the message.
    """

    def __init__(self, make_backend: Callable[[], BaseEmailBackend]) -> None:
        self._make_backend = make_backend
        self._backend: BaseEmailBackend | None = None
        self._build_error: Exception | None = None
        self._is_open = False
        self._is_heard = False  # whether whatever it sends is seen here
        self._has_begun = False
        self.refused: dict[str, Any] = {}

    @property
    def has_surely_sent_nothing(self) -> bool:
        """True if it has not begun to speak of the message: Django's own raises for addresses before it does."""
        return self._is_heard and not self._has_begun

    def open(self) -> BaseEmailBackend:
        """The backend, ready to send. Raises whatever it raises; what cannot be made is not made again."""
        self.refused = {}
        self._is_heard = self._has_begun = False
        if self._build_error is not None:
            raise self._build_error
        if self._backend is None:
            try:
                self._backend = self._make_backend()
            except Exception as error:
                if not isinstance(error, OSError):
                    self._build_error = CannotBeBuilt(error)
                    raise self._build_error from error
                raise
        self._is_open = True  # also where it raises: it may be half open
        try:
            self._backend.open()
        except BaseException:
            self.close()
            raise
        self._hear_refusals(self._backend)
        return self._backend

    def send(self, message: EmailMessage) -> int | None:
        """Hand it over, and close."""
        assert self._backend is not None, "it was opened"
        try:
            return self._backend.send_messages([message])
        finally:
            self.close()

    def cancels(self, message: EmailMessage) -> bool:
        """Return whether a receiver of django-anymail's `pre_send` cancelled it: a count of 0 with nothing raised.

        A backend that fails silently may mean anything by that.
        """
        if self._backend is None or not _is_anymail(self._backend) or getattr(self._backend, "fail_silently", False):
            return False
        return getattr(getattr(message, "anymail_status", None), "esp_response", None) is None

    def close(self) -> None:
        """Close what was opened, and ignore what that raises: the outcome is known already."""
        backend, is_open, self._is_open = self._backend, self._is_open, False
        if backend is not None and is_open:
            try:
                backend.close()
            except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
                logger.debug("A backend could not be closed: %s", type(error).__name__)

    def close_aside(self) -> None:
        """Close in a thread of its own, because the line that opened it is gone."""
        if self._is_open and getattr(type(self._backend), "close", None) is not BaseEmailBackend.close:
            threading.Thread(target=self.close, name="reliable-email-close", daemon=True).start()

    def _hear_refusals(self, backend: BaseEmailBackend) -> None:
        """Django drops what `sendmail` returns: who was refused while others were taken."""
        connection = getattr(backend, "connection", None)
        if not isinstance(connection, smtplib.SMTP) or not hasattr(connection, "sendmail"):
            return
        sendmail = connection.sendmail

        def heard(*args: Any, **options: Any) -> Any:
            self._has_begun = True
            refused = sendmail(*args, **options)
            if isinstance(refused, dict):
                self.refused.update(refused)
            return refused

        connection.sendmail = heard  # type: ignore[method-assign]
        # A class with another way of sending may send by something else, or open another connection for it.
        ways = (getattr(backend, name, None) for name in ("open", "send_messages", "_send"))
        self._is_heard = all(getattr(way, "__module__", "") == _DJANGO_SMTP for way in ways)


def message_for(submission: Submission, job: Job, backend: BaseEmailBackend) -> EmailMessage:
    """A copy of the message for the job's recipients alone.

    django-anymail makes its own of the message's fields. Every other backend gets fields, too, and where it asks the
    message for MIME, the content that was built once, with the envelope of this job.
    """
    original = submission.message
    assert original is not None
    message = copy.copy(original)
    for name, value in vars(original).items():
        if isinstance(value, (list, dict)):  # a backend that works on its message must not reach the caller's
            setattr(message, name, copy.copy(value))
    vars(message).pop("delivery", None)
    vars(message).pop("anymail_status", None)
    # Not `recipients()`: a class of the site's own may leave some of these out of the envelope, or add others to it.
    wanted = {address_key(address) for address in job.recipients}
    named = {address_key(address) for address in (*original.to, *original.cc, *original.bcc) if address}
    if wanted != named:
        message.to, message.cc, message.bcc = (
            [address for address in addresses if address and address_key(address) in wanted]
            for addresses in (original.to, original.cc, original.bcc)
        )
        message.bcc += [address for address in job.recipients if address_key(address) not in named]
    if _is_anymail(backend):
        for field in ("to", "cc", "bcc"):
            setattr(message, field, [_readable(address) for address in getattr(message, field)])
        return message
    if not any(name.lower() == "message-id" for name in message.extra_headers):
        message.extra_headers["Message-ID"] = submission.message_id
    # Of the instance, so that whatever class the message is of, its copies and whoever asks it get these.
    message.message = partial(stored_mime, b"".join(job.content.chunks()))  # type: ignore[method-assign]
    message.recipients = partial(list, [forward_path(one)[0] for one in job.recipients])  # type: ignore[method-assign]
    if not str(message.from_email).isascii():
        message.from_email = with_ascii_domain(str(message.from_email), submission.sender)
    return message


def _readable(address: str) -> str:
    """The address as anymail reads it, without the comma of a copied list or a space beside the @."""
    if not address or not ("<" in address or "(" in address):
        return bare_address(address)
    return address.strip().removesuffix(",").rstrip()


def _is_anymail(backend: BaseEmailBackend) -> bool:
    return any(base.__module__.partition(".")[0] == "anymail" for base in type(backend).__mro__)
