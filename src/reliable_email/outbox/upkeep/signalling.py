"""The signals of what a commit has written. Where nobody listens, that costs nothing.

A message is finished when none of its recipients will change by itself. Two workers that finish its last two recipients
at the same moment may both say so.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.utils import Error as DatabaseError

from reliable_email import signals
from reliable_email.classification import Cause
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.rows.sql import Tables
from reliable_email.records import record
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply
from reliable_email.store.tables.states import State

logger = logging.getLogger("reliable_email.outbox")

_SIGNALS = (
    signals.attempt_finished,
    signals.recipient_rejected,
    signals.message_delivered,
    signals.message_failed,
)
_CAUSES = frozenset(Cause)


def is_anybody_told() -> bool:
    """Return whether there are receivers."""
    first, second, third, fourth = _SIGNALS  # asked with every commit
    return bool(first.receivers or second.receivers or third.receivers or fourth.receivers)


def tell_settled(
    using: str, sender: type, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], settled: Sequence[bool]
) -> None:
    """Tell what was committed. Raises nothing: it is told, not done."""
    if not is_anybody_told():
        return
    written = [one for one, is_written in zip(settlements, settled, strict=True) if is_written]
    try:
        messages = _read(using, {one.claimed.message_id for one in written} | {one.message_id for one in attempts})
    except DatabaseError as error:
        logger.warning("The signals of settled messages could not be sent: %s", error, extra=log_fields())
        return
    for attempt in attempts:
        if message := messages.get(attempt.message_id):
            _send(signals.attempt_finished, sender, message, attempt=_attempt(attempt, message.rows))
    for one in written:
        message = messages.get(one.claimed.message_id)
        if message and one.claimed.delivery.state is State.REJECTED:
            row = message.rows[one.claimed.position]
            _send(signals.recipient_rejected, sender, message, address=row.address, outcome=_outcome(row))
    _tell_finished(sender, messages, {one.claimed.message_id for one in written})


def tell_rescued(using: str, sender: type, message_ids: Iterable[int]) -> None:
    """Tell of messages that rescue may have finished."""
    if not any(signal.receivers for signal in (signals.message_delivered, signals.message_failed)):
        return
    ids = set(message_ids)
    try:
        _tell_finished(sender, _read(using, ids), ids)
    except DatabaseError as error:
        logger.warning("The signals of rescued messages could not be sent: %s", error, extra=log_fields())


@record(frozen=True, slots=True)
class _Row:
    """A recipient as it is stored now."""

    address: str
    state: str
    due_at: object
    cause: str
    reply_code: int | None
    reply_enhanced: str
    reply_text: str
    route: str
    attempts: int


@record(frozen=True, slots=True)
class _Message:
    """A message as it is stored now, with its recipients by their positions."""

    id: int
    message_id: str
    mailer: str
    rows: dict[int, _Row]


def _read(using: str, ids: set[int]) -> dict[int, _Message]:
    if not ids:
        return {}
    # With each commit, where anybody listens: one statement of few columns, since the ORM's two cost as much of the
    # processor as all of a delivery.
    tables = Tables(using)
    among, parameters = tables.among("r.message_id", ids)
    found: dict[int, _Message] = {}
    for pk, message_id, mailer, position, *columns in tables.rows(
        "tell",
        "SELECT m.id, m.message_id, m.mailer, r.position, r.address, r.state, r.due_at, r.cause, r.reply_code, "  # noqa: S608 - names
        "r.reply_enhanced, r.reply_text, r.route, r.attempts "
        f"FROM {tables.recipient} r JOIN {tables.message} m ON m.id = r.message_id WHERE {among}",
        parameters,
    ):
        message = found.setdefault(pk, _Message(pk, message_id, mailer, {}))
        message.rows[position] = _Row(*columns)
    return found


def _tell_finished(sender: type, messages: dict[int, _Message], ids: Iterable[int]) -> None:
    for pk in sorted(ids):
        message = messages.get(pk)
        if message is None or any(_is_open(row) for row in message.rows.values()):
            continue
        is_delivered = all(row.state == State.ACCEPTED for row in message.rows.values())
        signal = signals.message_delivered if is_delivered else signals.message_failed
        _send(signal, sender, message, report=_report(message))


def _is_open(row: _Row) -> bool:
    return State(row.state).is_open or row.state == State.PARKED or row.due_at is not None


def _report(message: _Message) -> DeliveryReport:
    """Return the rows' outcomes as the report of a direct send."""
    outcomes = {row.address: _outcome(row) for row in message.rows.values()}
    return DeliveryReport(recipients=Recipients(outcomes), message_id=message.message_id)


def _outcome(row: _Row) -> RecipientOutcome:
    """One recipient's. Replies of encrypted messages stay sealed, and are left out."""
    return RecipientOutcome(
        outcome=State(row.state).outcome,
        cause=Cause(row.cause) if row.cause in _CAUSES else None,
        reply=_reply(row.reply_code, row.reply_enhanced, row.reply_text),
        route=row.route or None,
        attempts=row.attempts,
    )


def _reply(code: int | None, enhanced: str, text: str) -> Reply | None:
    if code is None or text.startswith("gAAAA"):  # a Fernet token
        return None
    return Reply(code, (text,), enhanced)


def _attempt(attempt: AttemptRow, rows: dict[int, _Row]) -> Attempt:
    evidence = attempt.evidence
    outcomes: dict[str, Outcome] = {rows[position].address: outcome for position, outcome in attempt.outcomes.items()}
    return Attempt(
        route=evidence.route,
        stage=Stage(evidence.stage),
        started_at=datetime.now(UTC) - timedelta(seconds=attempt.seconds),
        seconds=attempt.seconds,
        outcomes=outcomes,
        reply=evidence.reply,
        peer=attempt.peer or None,
    )


def _send(signal: Any, sender: type, message: _Message, **told: Any) -> None:
    known = log_fields(message_id=message.message_id, outbox_id=message.id)
    try:
        answers = signal.send_robust(
            sender=sender, message_id=message.message_id, mailer=message.mailer, outbox_id=message.id, **told
        )
    except BaseException:
        # What `send_robust` lets through (an exit, a cancelled task, a time-out of gevent's) is a receiver's all the
        # same: it would end the line, and make unknown what that has in hand. A worker is ended by its signals.
        logger.exception("A receiver of a signal failed, and those behind it were not told", extra=known)
        return
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            # Django itself has told whoever wrote it, as an ERROR; this says for which message.
            logger.warning("A receiver of a signal failed: %r", receiver, extra=known)
