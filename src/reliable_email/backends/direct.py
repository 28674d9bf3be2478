"""The way of a message through a door that sends at once: shared by `ReliableSMTPBackend` and `FailoverBackend`.

Build every submission first (an invalid message costs no connection), deliver them together, hang a report on every
message, tell the signals and the log, and only then raise what Django's callers expect.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import Any

from django.core.mail import EmailMessage
from django.db import connections

from reliable_email import signals
from reliable_email.backends.misfits import Misfit, error_of_misfits, report_misfit
from reliable_email.backends.routes import DEFAULT_ALIAS
from reliable_email.backends.unbuilt import none_can_be_built
from reliable_email.classification import Cause
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.report import (
    Attempt,
    DeliveryReport,
    Outcome,
    RecipientOutcome,
    Recipients,
    address_key,
    attach_report,
    delivery_of,
    letter_digest,
    report_of,
)
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import store_in_use
from reliable_email.delivery.submission import OnUnknown, Submission
from reliable_email.delivery.telling import tracing
from reliable_email.delivery.telling.log_records import log_fields, log_report, nothing_raised
from reliable_email.exceptions import InvalidMailer, error_for
from reliable_email.records import dataclass, replace

logger = logging.getLogger("reliable_email.delivery")
_sends = count(1)


@dataclass(slots=True)
class _Entry:
    """One message of the batch: what is submitted of it, which letter it is, and what was known of that before."""

    message: EmailMessage
    submission: Submission
    letter: str
    before: dict[str, RecipientOutcome]


def send_directly(
    messages: Sequence[EmailMessage],
    routes: Sequence[Route],
    *,
    mailer: str | None,
    sender_class: type,
    timeout: float | None = None,
    fail_silently: bool = False,
    on_unknown: OnUnknown | None = None,
    routes_of: Callable[[Submission], Sequence[Route]] | None = None,
) -> int:
    """Send a batch; how many messages some recipient took.

    Args:
        messages: those without recipients are skipped.
        routes: in order of preference.
        mailer: the alias, for signals.
        sender_class: the backend's class, for signals.
        timeout: seconds for one message; None for the sum of the routes' own.
        fail_silently: raise nothing for what happens on the way.
        routes_of: see `Delivery`.

    Raises:
        ValueError: a message is invalid; the others were tried first.
        InvalidMailer: no route can be built.
        DeliveryError: no recipient of some message took it.
    """
    entries: list[_Entry] = []
    misfits: list[Misfit] = []
    for number, message in enumerate(messages, 1):
        try:
            if message.recipients():
                entries.append(_prepare(message, on_unknown))
        except Exception as error:  # noqa: BLE001 - messages run anybody's code, and one stops no other
            misfits.append(Misfit(number=number, count=len(messages), message=message, error=error))
            report_misfit(message, error)
    to_send = [entry for entry in entries if entry.submission.recipients]

    def tell(submission: Submission, attempt: Attempt) -> None:
        with nothing_raised("tell of an attempt"):
            _send(
                signals.attempt_finished,
                sender_class,
                message_id=submission.message_id,
                mailer=mailer,
                attempt=attempt,
                outbox_id=None,
            )
            if tracing.tracer is not None:
                tracing.tracer.attempt(_trace_of(submission, attempt))

    trouble = none_can_be_built(routes) if all(route.build_error for route in routes) else ""
    reports: Sequence[DeliveryReport] = ()
    delivery = Delivery(routes, store=store_in_use(), timeout=timeout, on_attempt=tell, routes_of=routes_of)
    try:
        if trouble:
            reports = [_not_built(entry.submission, trouble) for entry in to_send]
        elif to_send:
            message_ids = [entry.submission.message_id for entry in to_send]
            with _databases_left_as_found(), _traced(mailer or DEFAULT_ALIAS, message_ids):
                delivery.deliver([entry.submission for entry in to_send])
    finally:
        # Also where it was interrupted: whoever sends the same objects again must not make second copies.
        by_entry = {id(entry): one for entry, one in zip(to_send, reports or delivery.reports, strict=False)}
        for entry in entries:
            attach_report(entry.message, _merged(entry, by_entry.get(id(entry))))
    if next(_sends) == 2:  # a process that sends twice may live until the next deploy
        with nothing_raised("load what a refusal needs"):
            from reliable_email.delivery.transports import ahead  # the first message needs none of it

            ahead.load()
    failed: list[DeliveryReport] = []
    sent = 0
    for entry in entries:
        report = delivery_of(entry.message)
        if report.accepted:
            sent += 1
        else:
            failed.append(report)
        if id(entry) in by_entry:
            with nothing_raised("tell of a message"):
                _announce(report, sender_class, mailer)
    failure: Exception | None = None
    if trouble and to_send:
        failure = InvalidMailer(trouble, alias=mailer)
    elif failed:
        sender = next((entry.submission.sender for entry in entries if delivery_of(entry.message) is failed[0]), "")
        failure = error_for(failed, sender=sender)
    if misfits:
        raise error_of_misfits(misfits, beside=failure)
    if failure is not None and not fail_silently:
        raise failure
    return sent


def _not_built(submission: Submission, trouble: str) -> DeliveryReport:
    outcome = RecipientOutcome(
        outcome=Outcome.DEFERRED, cause=Cause.CANNOT_BE_BUILT, failure=local_failure(Cause.CANNOT_BE_BUILT, trouble)
    )
    return DeliveryReport(
        recipients=Recipients(dict.fromkeys(submission.recipients, outcome)), message_id=submission.message_id
    )


@contextmanager
def _databases_left_as_found() -> Iterator[None]:
    """Route state and suppressions ask the database; a thread of the caller's own that had no connection keeps none.

    As at the end of a request, one that `CONN_MAX_AGE` lets live stays.
    """
    open_before = {one.alias for one in connections.all(initialized_only=True) if one.connection is not None}
    try:
        yield
    finally:
        for one in connections.all(initialized_only=True):
            if one.alias not in open_before:
                # The mail is out: an old connection that cannot be closed is no reason to say that it is not.
                with nothing_raised("close a database connection"):
                    one.close_if_unusable_or_obsolete()


def _traced(mailer: str, message_ids: Sequence[str]) -> AbstractContextManager[None]:
    tracer = tracing.tracer
    return tracer.send(mailer=mailer, message_ids=message_ids) if tracer is not None else nullcontext()


def _trace_of(submission: Submission, attempt: Attempt) -> tracing.AttemptTrace:
    return tracing.AttemptTrace(
        route=attempt.route,
        stage=attempt.stage.value,
        seconds=attempt.seconds,
        outcomes=Counter(attempt.outcomes.values()),
        cause=attempt.failure.cause.value if attempt.failure is not None else "",
        reply_code=attempt.reply.code if attempt.reply is not None else None,
        peer=attempt.peer or "",
        message_id=submission.message_id,
    )


def _prepare(message: EmailMessage, on_unknown: OnUnknown | None) -> _Entry:
    letter = letter_digest(message)
    known = report_of(message)
    if known is not None and known.letter != letter:
        known = None  # the same object, and another letter
    submission = build_submission(message, message_id=known.message_id if known is not None else "")
    options = submission.options
    for name in ("send_at", "idempotency_key"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"delivery_options.{name} needs the outbox; this mailer sends at once. Send through a mailer whose "
                f"BACKEND is reliable_email.backends.OutboxBackend, or leave it out."
            )
    before = _settled_before(known, resend=(options.on_unknown or on_unknown) is OnUnknown.RESEND)
    if before:
        settled = set(map(address_key, before))
        left = tuple(one for one in submission.recipients if address_key(one) not in settled)
        submission = replace(submission, recipients=left)
    return _Entry(message, submission, letter, before)


def _settled_before(known: DeliveryReport | None, *, resend: bool) -> dict[str, RecipientOutcome]:
    """Recipients that an earlier send of the same letter has served, or may have served.

    A task queue that sends again whatever raised must not make second copies.
    """
    if known is None:
        return {}
    settled = {Outcome.ACCEPTED} if resend else {Outcome.ACCEPTED, Outcome.UNKNOWN}
    return {address: one for address, one in known.recipients.items() if one.outcome in settled}


def _merged(entry: _Entry, report: DeliveryReport | None) -> DeliveryReport:
    if report is None:
        report = DeliveryReport(recipients=Recipients({}), message_id=entry.submission.message_id)
    recipients = Recipients({**entry.before, **report.recipients}) if entry.before else report.recipients
    return replace(report, recipients=recipients, letter=entry.letter)


def _announce(report: DeliveryReport, sender_class: type, mailer: str | None) -> None:
    common: dict[str, Any] = {"message_id": report.message_id, "mailer": mailer, "outbox_id": None}
    for address, one in report.recipients.items():
        if one.outcome is Outcome.REJECTED:
            _send(signals.recipient_rejected, sender_class, address=address, outcome=one, **common)
    is_delivered = len(report.accepted) == len(report.recipients)
    signal = signals.message_delivered if is_delivered else signals.message_failed
    _send(signal, sender_class, report=report, **common)
    log_report(report)


def _send(signal: Any, sender: type, **arguments: Any) -> None:
    for receiver, error in signal.send_robust(sender, **arguments):
        if isinstance(error, Exception):
            # Django itself has told whoever wrote it, as an ERROR; this says for which message.
            known = log_fields(message_id=arguments.get("message_id"))
            logger.warning("a receiver of a signal failed: %r", receiver, extra=known)
