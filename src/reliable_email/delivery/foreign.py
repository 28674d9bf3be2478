"""A backend of somebody else's as a transport: django-anymail's, django-ses's, Django's own.

It is asked for permission first, then handed a copy of the message for those recipients alone, and then its answer is
read: django-anymail's status for each recipient, a count, or an exception. What an exception says about "did the
provider take it?" is `classification.foreign`'s question.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from reliable_email.classification import Cause
from reliable_email.classification.foreign import classify_exception
from reliable_email.delivery.report import address_key
from reliable_email.delivery.submission import Submission
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Authorize, Grant, Job, RecipientResult, Transaction, Verdict

# https://anymail.dev/en/stable/sending/anymail_additions/#esp-send-status
_REFUSED_STATUSES = frozenset({"rejected", "invalid"})


class ForeignTransport:
    """See the module. Jobs carry their `Submission` as key.

    Args:
        make_backend: gives the backend; called once for a stream of jobs.
        alias: for error texts.
    """

    def __init__(self, make_backend: Callable[[], BaseEmailBackend], *, alias: str) -> None:
        self._make_backend = make_backend
        self._alias = alias

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`."""
        backend: BaseEmailBackend | None = None
        settled: list[Transaction] = []
        for number, job in enumerate(jobs):
            if number:
                deadline.renew()
            allowed = authorize([Grant(job=job, recipients=job.recipients)], settled)
            settled = []
            if job not in allowed:
                failure = _failure(FailureKind.WITHHELD, "the permission to hand the message over was not given")
                transaction = _all(job, Verdict.NOT_SENT, failure, time.monotonic())
            else:
                began_at = time.monotonic()
                try:
                    backend = backend or self._make_backend()
                    transaction = self._send(backend, job, began_at)
                except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
                    transaction = _raised(job, error, began_at)
            settled.append(transaction)
            yield transaction

    def _send(self, backend: BaseEmailBackend, job: Job, began_at: float) -> Transaction:
        submission = job.key
        if not isinstance(submission, Submission) or submission.message is None:
            raise TypeError(f"{self._alias} needs the message itself, not only its bytes")
        message = message_for(submission, job.recipients, backend)
        count = backend.send_messages([message])
        status = getattr(message, "anymail_status", None)
        if getattr(status, "recipients", None):
            return _by_status(job, status, began_at)
        if count:
            return _all(job, Verdict.ACCEPTED, None, began_at, provider_id=getattr(status, "message_id", None))
        failure = _failure(FailureKind.PROTOCOL, f"{self._alias} took no message and did not say why")
        return _all(job, Verdict.NOT_SENT, failure, began_at)


def message_for(submission: Submission, recipients: Iterable[str], backend: BaseEmailBackend) -> EmailMessage:
    """A copy of the message for these recipients alone."""
    original = submission.message
    assert original is not None
    message = copy.copy(original)
    for name, value in vars(original).items():
        if isinstance(value, (list, dict)):  # a backend that works on its message must not reach the caller's
            setattr(message, name, copy.copy(value))
    vars(message).pop("delivery", None)
    vars(message).pop("anymail_status", None)
    wanted = {address_key(address) for address in recipients}
    is_partial = wanted != {address_key(address) for address in original.recipients()}
    if is_partial:
        shown = {"To": original.to, "Cc": original.cc}
        message.to, message.cc, message.bcc = (
            [address for address in addresses if address_key(address) in wanted]
            for addresses in (original.to, original.cc, original.bcc)
        )
        if not _is_anymail(backend):  # an API has no envelope of its own, and would refuse another To header
            for name, addresses in shown.items():
                if addresses:
                    message.extra_headers.setdefault(name, ", ".join(map(str, addresses)))
    if not _is_anymail(backend) and not any(name.lower() == "message-id" for name in message.extra_headers):
        message.extra_headers["Message-ID"] = submission.message_id
    return message


def _is_anymail(backend: BaseEmailBackend) -> bool:
    return any(base.__module__.partition(".")[0] == "anymail" for base in type(backend).__mro__)


def _by_status(job: Job, status: Any, began_at: float) -> Transaction:
    by_key: Mapping[str, Any] = {address_key(address): one for address, one in status.recipients.items()}
    results = {}
    for address in job.recipients:
        one = by_key.get(address_key(address))
        said = getattr(one, "status", None)
        if said in _REFUSED_STATUSES:
            detail = f"the provider answered “{said}” for this address (it may be on its suppression list)"
            failure = _failure(FailureKind.INVALID, detail, stage=Stage.RCPT)
            results[address] = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        elif said == "failed":
            failure = _failure(FailureKind.PROTOCOL, "the provider answered “failed” for this address")
            results[address] = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        else:
            results[address] = RecipientResult(verdict=Verdict.ACCEPTED)
    message_id = status.message_id if isinstance(status.message_id, str) else None
    return _transaction(job, results, began_at, provider_id=message_id)


def _raised(job: Job, error: Exception, began_at: float) -> Transaction:
    failure = WireFailure(
        stage=Stage.FINAL_REPLY, kind=FailureKind.FOREIGN, detail=f"{type(error).__name__}: {error}", error=error
    )
    is_unknown = classify_exception(error).cause is Cause.OUTCOME_UNKNOWN
    return _all(job, Verdict.UNKNOWN if is_unknown else Verdict.NOT_SENT, failure, began_at)


def _failure(kind: FailureKind, detail: str, *, stage: Stage = Stage.DATA) -> WireFailure:
    # Not at the final reply: what fails there without an answer may have been taken, and these surely were not.
    return WireFailure(stage=stage, kind=kind, detail=detail)


def _all(
    job: Job, verdict: Verdict, failure: WireFailure | None, began_at: float, *, provider_id: str | None = None
) -> Transaction:
    results = dict.fromkeys(job.recipients, RecipientResult(verdict=verdict, failure=failure))
    return _transaction(job, results, began_at, failure=failure, provider_id=provider_id)


def _transaction(
    job: Job,
    results: Mapping[str, RecipientResult],
    began_at: float,
    *,
    failure: WireFailure | None = None,
    provider_id: str | None = None,
) -> Transaction:
    return Transaction(
        job=job,
        results=results,
        stage=Stage.FINAL_REPLY,
        failure=failure,
        started_at=began_at,
        seconds=time.monotonic() - began_at,
        terminator_sent=failure is None or failure.kind is FailureKind.FOREIGN,
        provider_message_id=provider_id,
    )
