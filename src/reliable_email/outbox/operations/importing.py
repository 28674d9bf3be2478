"""The import of the queue (and the suppression list) of django-post_office or django-mailer.

Both apps have to be installed while this runs, and their own senders stopped. Each row is queued and marked in its old
table in one transaction, under an idempotency key of its own, so that a second run, or one that was cut short, queues
nothing twice. django-mailer stores pickles: read them only from a database that you trust.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connections, transaction
from django.utils import timezone

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.submission import DeliveryOptions, Priority, Submission
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.suppressed import is_suppressible, suppress
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.records import dataclass, field, replace
from reliable_email.store.questions.progress import UNTOLD, Progress


class Source(StrEnum):
    """The app whose queue is imported."""

    POST_OFFICE = "post_office"
    MAILER = "mailer"


class SourceMissing(LookupError):
    """The app is not installed."""


class SenderRuns(RuntimeError):
    """The app's own sender holds its lock: it may have in hand what would be taken over."""


@dataclass(slots=True, kw_only=True)
class Imported:
    """The result of an import, or of a dry run.

    Attributes:
        queued: messages.
        repeated: messages that an earlier run had queued already.
        expired: messages whose time is over; they are left where they are.
        suppressed: addresses of the suppression list.
        gone: messages that somebody else took while this ran.
        unreadable: why a row cannot be taken over; it is left where it is.
    """

    queued: int = 0
    repeated: int = 0
    expired: int = 0
    suppressed: int = 0
    gone: int = 0
    unreadable: list[str] = field(default_factory=list)


def import_queue(
    source: Source, options: QueueOptions, *, dry_run: bool = True, progress: Progress = UNTOLD
) -> Imported:
    """Take over what waits.

    Raises:
        SourceMissing: the other app is not in INSTALLED_APPS.
        SenderRuns: its own sender is at work on this machine; only a dry run goes on beside it.
    """
    label, model_name = {Source.POST_OFFICE: ("post_office", "Email"), Source.MAILER: ("mailer", "Message")}[source]
    try:
        model: Any = apps.get_model(label, model_name)
    except LookupError as error:
        raise SourceMissing(f"{label} is not in INSTALLED_APPS: its tables cannot be read") from error
    found = Imported()
    with nullcontext() if dry_run else _sender_kept_out(source):
        _import_rows(source, model, options, found, dry_run=dry_run, progress=progress)
    if source is Source.MAILER:
        found.suppressed = _suppressions(options.database, dry_run=dry_run)
    return found


def _import_rows(
    source: Source, model: Any, options: QueueOptions, found: Imported, *, dry_run: bool, progress: Progress
) -> None:
    label = model._meta.app_label
    progress.begin("messages", _waiting(source, model).count)
    for row in _rows(source, model):
        progress.advance(1)
        try:
            submission = _submission(source, row)
        except Exception as error:  # noqa: BLE001 - a stranger's pickle, template or file may raise anything
            found.unreadable.append(f"{label} {row.pk}: {type(error).__name__}: {error}")
            continue
        if submission is None:
            found.expired += 1
        elif dry_run:
            found.queued += 1
        else:
            _take(source, row, submission, options, found)


@contextmanager
def _sender_kept_out(source: Source) -> Iterator[None]:
    """Hold the lock of the app's own sender, which reads rows first and marks them when they are sent."""
    words = f"The sender of {source} is at work: stop it, and import again."
    match source:
        case Source.POST_OFFICE:
            from post_office.lockfile import FileLock, FileLocked, default_lockfile

            lock = FileLock(default_lockfile)
            try:
                lock.is_locked()  # raises
                lock.acquire()
            except FileLocked as error:
                raise SenderRuns(words) from error
            try:
                yield
            finally:
                lock.release()
        case Source.MAILER:
            if not getattr(settings, "MAILER_USE_FILE_LOCK", True):
                yield  # each row is locked by the sender in the database, and here
                return
            from mailer.engine import acquire_lock, release_lock

            is_ours, held = acquire_lock()
            if not is_ours:
                raise SenderRuns(words)
            try:
                yield
            finally:
                release_lock(held)


def _waiting(source: Source, model: Any) -> Any:
    rows = model._base_manager.order_by("pk")
    if source is Source.POST_OFFICE:
        from django.db.models import Q

        # queued, requeued, or broken off before it had a status
        rows = rows.filter(Q(status__in=(2, 3)) | Q(status=None))
    return rows


def _rows(source: Source, model: Any) -> Iterator[Any]:
    rows = _waiting(source, model)
    last = 0
    while row := rows.filter(pk__gt=last).first():
        last = row.pk  # before the row is deleted
        yield row


def _submission(source: Source, row: Any) -> Submission | None:
    """The row's message; None where its time is over."""
    match source:
        case Source.POST_OFFICE:
            message = row.prepare_email_message()
            wishes = _post_office_wishes(row)
            if wishes is None:
                return None
        case Source.MAILER:
            message = row.email
            priorities = {1: Priority.HIGH, 3: Priority.BULK}
            wishes = DeliveryOptions(priority=priorities.get(row.priority, Priority.NORMAL))
    if not isinstance(message, EmailMessage):
        raise TypeError("the stored message cannot be read")
    wishes = replace(wishes, idempotency_key=f"import:{source}:{row.pk}")
    return replace(build_submission(message), options=wishes)


def _post_office_wishes(row: Any) -> DeliveryOptions | None:
    priorities = {0: Priority.BULK, 2: Priority.HIGH, 3: Priority.HIGH}
    send_at = _aware(row.scheduled_time)
    expires_at = _aware(row.expires_at)
    expires_in = None
    if expires_at is not None:
        now = datetime.now(UTC)  # aware, as the others are, also where USE_TZ is off
        expires_in = expires_at - max(send_at or now, now)
        if expires_in.total_seconds() <= 0:
            return None
    return DeliveryOptions(
        send_at=send_at, expires_in=expires_in, priority=priorities.get(row.priority, Priority.NORMAL)
    )


def _aware(moment: datetime | None) -> datetime | None:
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment


def _take(source: Source, row: Any, submission: Submission, options: QueueOptions, found: Imported) -> None:
    with transaction.atomic(row._state.db), transaction.atomic(options.database):
        if not _is_still_waiting(source, row):
            found.gone += 1
            return
        (message,) = enqueue([submission], options)
        if message.was_queued_before:
            found.repeated += 1
        else:
            found.queued += 1
        if source is Source.MAILER:
            row.delete()
            return
        # Not "sent", which it is not yet: the log says where it went.
        type(row)._base_manager.filter(pk=row.pk).update(status=1)
        row.logs.create(status=1, message=f"taken over by reliable_email as outbox message {message.pk}")


def _is_still_waiting(source: Source, row: Any) -> bool:
    """Lock the row, and look again: since it was read it may have been sent."""
    rows = _waiting(source, type(row)).using(row._state.db).filter(pk=row.pk)
    features = connections[row._state.db].features
    if features.has_select_for_update:
        rows = rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
    return rows.first() is not None


def _suppressions(using: str, *, dry_run: bool) -> int:
    label = Source.MAILER.value
    entries: Any = apps.get_model(label, "DontSendEntry")
    listed = entries._base_manager.values_list("to_address", flat=True)
    addresses = {address.strip().lower() for address in listed if is_suppressible(address)}  # the others keep no mail
    new = addresses - suppressed(using, sorted(addresses))
    if not dry_run:
        suppress(new, reason="do not send", source="django-mailer", using=using)
    return len(new)
