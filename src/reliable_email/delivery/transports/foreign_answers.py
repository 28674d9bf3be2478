"""The meaning of another backend's answer: a status for each recipient, smtplib's refusals by address, an exception."""

import inspect
import smtplib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.mail import EmailMessage

from reliable_email import classification
from reliable_email.classification import Cause
from reliable_email.delivery.report import address_key
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import InvalidPath, forward_path
from reliable_email.smtp.syntax.replies import Reply, ReplyError, parse_reply
from reliable_email.smtp.transaction import Job, RecipientResult, Transaction, Verdict

# https://anymail.dev/en/stable/sending/anymail_additions/#esp-send-status
_TAKEN_STATUSES = frozenset({"sent", "queued"})
_REFUSED_STATUSES = frozenset({"rejected", "invalid"})
# A file that is missing or may not be read is a setting; every other `OSError` is the network's.
_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_NETWORK = frozenset({Cause.CONNECT_FAILED, Cause.HOST_NOT_FOUND, Cause.TLS_FAILED, Cause.SYSTEM_TEMPORARY})


class CannotBeBuilt(Exception):
    """Making the backend raised; why is the cause."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


def by_status(job: Job, message: EmailMessage, status: Any, began_at: float) -> Transaction:
    """Return the transaction that django-anymail's status describes.

    A recipient of whom it says nothing, or "unknown", may have the message. One whom the site's own `pre_send` receiver
    has taken out of `message` was not sent for; one for whom it has put somebody else has that one's answer.
    """
    by_key: Mapping[str, Any] = {address_key(address): one for address, one in status.recipients.items()}
    still_named = _still_named(message)
    is_redirected = (by_key.keys() | still_named).isdisjoint(map(address_key, job.recipients))
    results = {}
    for address in job.recipients:
        one = _best(by_key.values()) if is_redirected else by_key.get(address_key(address))
        said = getattr(one, "status", None)
        if said in _TAKEN_STATUSES:
            results[address] = RecipientResult(verdict=Verdict.ACCEPTED)
        elif said in _REFUSED_STATUSES:
            detail = f"the provider answered “{said}” for this address (it may be on its suppression list)"
            failure = trouble(FailureKind.INVALID, detail, stage=Stage.RCPT)
            results[address] = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        elif said == "failed":
            failure = trouble(FailureKind.PROTOCOL, "the provider answered “failed” for this address")
            results[address] = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        elif one is None and address_key(address) not in still_named:
            detail = "the site's own receiver of pre_send took this address out of the message"
            failure = trouble(FailureKind.SUPPRESSED, detail, stage=Stage.RCPT)
            results[address] = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        else:
            detail = "the provider did not say whether it took the message for this address"
            if said:
                detail = f"the provider answered “{said}” for this address, which may or may not have the message"
            failure = trouble(FailureKind.PROTOCOL, detail, stage=Stage.FINAL_REPLY)
            results[address] = RecipientResult(verdict=Verdict.UNKNOWN, failure=failure)
    message_id = status.message_id if isinstance(status.message_id, str) else None
    return by_recipient(job, results, began_at, provider_id=message_id)


def _best(answers: Iterable[Any]) -> Any:
    """Return the answer of one who was taken, where there is one."""
    return min(answers, key=lambda one: getattr(one, "status", None) not in _TAKEN_STATUSES)


def _still_named(message: EmailMessage) -> set[str]:
    return {address_key(str(address)) for address in (*message.to, *message.cc, *message.bcc) if address}


def show_status(job: Job, message: EmailMessage) -> None:
    """Set django-anymail's status on the caller's message, too, where code that was written for anymail looks for it.

    The status of an earlier part of the same message is kept in it.
    """
    status: Any = getattr(message, "anymail_status", None)
    original = getattr(job.key, "message", None)
    if original is None or not getattr(status, "recipients", None):
        return
    earlier = getattr(getattr(original, "anymail_status", None), "recipients", None) or {}
    parts = {address: one for address, one in earlier.items() if address not in status.recipients}
    if parts and len(job.recipients) < len(original.recipients()) and hasattr(status, "set_recipient_status"):
        status.set_recipient_status(parts)
    original.anymail_status = status


def not_ready(error: Exception, alias: str) -> WireFailure:
    """Return the failure for an exception while a backend was built or opened. Nothing was sent."""
    if isinstance(error, CannotBeBuilt):
        return _cannot_be_built(error.why, alias)
    told = classification.classify_exception(error)
    is_known = told.cause is not Cause.OUTCOME_UNKNOWN
    is_answer = is_known and not told.rule.startswith("exception.")
    if is_answer or told.cause in _NETWORK or (isinstance(error, OSError) and not isinstance(error, _FILES)):
        if is_known:
            return _foreign(error, Stage.CONNECT)
        # Without the exception: by itself it would say that the message may be on its way.
        is_silence = isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower()
        kind = FailureKind.TIMEOUT if is_silence else FailureKind.CONNECT_FAILED
        return WireFailure(stage=Stage.CONNECT, kind=kind, detail=f"{alias} could not be reached: {_told(error)}")
    return _cannot_be_built(error, alias)


def _cannot_be_built(error: Exception, alias: str) -> WireFailure:
    return WireFailure(
        stage=Stage.CONNECT,
        kind=FailureKind.CANNOT_BE_BUILT,
        detail=f"{alias} cannot be used as it is configured: {_told(error)}",
        error=error,
    )


def is_not_begun(answer: object) -> bool:
    """Return whether the answer is a coroutine or a generator, whose code has not begun to run."""
    return inspect.iscoroutine(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer)


def nothing_ran(answer: Any) -> CannotBeBuilt:
    """Return the reason why such a backend cannot be used; what it returned is ended, so that nothing warns of it."""
    if not inspect.isasyncgen(answer):
        answer.close()
    return CannotBeBuilt(TypeError(f"its send_messages() returns a {type(answer).__name__}, which nothing runs"))


def raised_before(error: Exception) -> WireFailure:
    """Code raised before the message could be handed over."""
    return WireFailure(stage=Stage.MAIL, kind=FailureKind.RAISED, detail=_told(error), error=error)


def _foreign(error: Exception, stage: Stage) -> WireFailure:
    return WireFailure(stage=stage, kind=FailureKind.FOREIGN, detail=_told(error), error=error)


def _told(error: Exception) -> str:
    """The exception in words, without secrets."""
    name, words = type(error).__name__, classification.classify_exception(error).detail
    return words if words.startswith(name) else f"{name}: {words}"


def sending_raised(
    job: Job, message: EmailMessage, error: Exception, refused: Mapping[str, Any], began_at: float
) -> Transaction:
    """Sending raised."""
    status = getattr(message, "anymail_status", None)
    is_by_recipient = any(cls.__name__ == "AnymailRecipientsRefused" for cls in type(error).__mro__)
    if is_by_recipient and getattr(status, "recipients", None):
        return by_status(job, message, status, began_at)
    if isinstance(error, smtplib.SMTPRecipientsRefused) and isinstance(error.recipients, dict):
        # Nothing went out: those who were not asked, or were taken before a 421, have no refusal of their own.
        others = trouble(
            FailureKind.DISCONNECTED, "the server ended the transaction at another recipient", stage=Stage.RCPT
        )
        left = RecipientResult(verdict=Verdict.NOT_SENT, failure=others)
        by_name = refused_by_name(job, error.recipients)
        if error.recipients and not by_name:
            detail = f"the backend tells of a refusal, but not of this recipient's: {_told(error)}"
            left = RecipientResult(
                verdict=Verdict.NOT_SENT, failure=trouble(FailureKind.PROTOCOL, detail, stage=Stage.RCPT)
            )
        if error.recipients:
            return by_recipient(
                job, {address: by_name.get(address, left) for address in job.recipients}, began_at, stage=Stage.RCPT
            )
    is_unknown = classification.classify_exception(error).cause is Cause.OUTCOME_UNKNOWN
    failure = _foreign(error, Stage.FINAL_REPLY)
    return for_all(job, Verdict.UNKNOWN if is_unknown else Verdict.NOT_SENT, failure, began_at)


def refused_by_name(job: Job, refused: Mapping[str, Any]) -> dict[str, RecipientResult]:
    """smtplib's own entry for each address, as the reply that it was."""
    by_key = {address_key(address): entry for address, entry in refused.items()}
    results = {}
    for address in job.recipients:
        entry = by_key.get(address_key(address)) or by_key.get(address_key(_on_the_wire(address)))
        reply = _reply(entry)
        if reply is not None:
            detail = f"the server answered {reply}"
            failure = WireFailure(stage=Stage.RCPT, kind=FailureKind.REFUSED, detail=detail, reply=reply)
            results[address] = RecipientResult(verdict=Verdict.REFUSED, reply=reply, failure=failure)
    return results


def _on_the_wire(address: str) -> str:
    try:
        return forward_path(address)[0]
    except InvalidPath:
        return address


def _reply(entry: object) -> Reply | None:
    """Return the reply in smtplib's entry for a refusal: a code, and a text with lines joined by LF."""
    if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[0], int):
        return None
    code, text = entry
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    lines = words.splitlines() or [""]
    spelled = "\n".join([*(f"{code}-{line}" for line in lines[:-1]), f"{code} {lines[-1]}"])
    try:
        reply = parse_reply(spelled)
    except ReplyError:
        return None
    return reply if reply.is_refusal else None


def trouble(kind: FailureKind, detail: str, *, stage: Stage = Stage.DATA) -> WireFailure:
    """A failure that no exception tells of."""
    # Not at the final reply: what fails there without an answer may have been taken, and these surely were not.
    return WireFailure(stage=stage, kind=kind, detail=detail)


def for_all(
    job: Job, verdict: Verdict, failure: WireFailure | None, began_at: float, *, provider_id: str | None = None
) -> Transaction:
    """One word for every recipient."""
    results = dict.fromkeys(job.recipients, RecipientResult(verdict=verdict, failure=failure))
    return by_recipient(job, results, began_at, failure=failure, provider_id=provider_id)


def by_recipient(
    job: Job,
    results: Mapping[str, RecipientResult],
    began_at: float,
    *,
    failure: WireFailure | None = None,
    provider_id: str | None = None,
    stage: Stage | None = None,
) -> Transaction:
    """The finished story; the message was handed over unless a stage before that is named, or a failure has one."""
    return Transaction(
        job=job,
        results=results,
        stage=stage or (failure.stage if failure is not None else Stage.FINAL_REPLY),
        failure=failure,
        started_at=began_at,
        seconds=time.monotonic() - began_at,
        terminator_sent=stage is None and (failure is None or failure.stage is Stage.FINAL_REPLY),
        provider_message_id=provider_id,
    )
