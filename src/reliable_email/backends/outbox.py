"""`OutboxBackend`: queues messages in the caller's database and transaction; a worker delivers them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.mail import EmailMessage

from reliable_email import conf
from reliable_email.backends.base import Door
from reliable_email.backends.misfits import Misfit, error_of_misfits, report_misfit
from reliable_email.backends.reading.doors import OutboxOptions, outbox_options
from reliable_email.backends.reading.options import OUTBOX_OPTIONS
from reliable_email.backends.routes import DEFAULT_ALIAS, MailerKind, delivering_routes, mailer
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients, attach_report
from reliable_email.delivery.submission import DeliveryOptions, OnUnknown, Submission
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.values import keeps_no_locals

logger = logging.getLogger("reliable_email.outbox")

if TYPE_CHECKING:
    from reliable_email.outbox.intake.enqueue import QueueOptions
    from reliable_email.store.tables.messages import OutboxMessage

# Routes that are handed MIME, as it is stored.
_MIME_KINDS = frozenset(
    {MailerKind.SMTP, MailerKind.DJANGO_SMTP, MailerKind.CONSOLE, MailerKind.FILE, MailerKind.MEMORY, MailerKind.DUMMY}
)


_QUEUED = RecipientOutcome(outcome=Outcome.QUEUED)


class OutboxBackend(Door):
    """A backend that queues. OPTIONS: `using`, `database`, `expires_in`, `priority`, `on_unknown`, `transactional`."""

    @keeps_no_locals
    def __init__(
        self,
        *,
        fail_silently: bool = False,
        alias: str | None = None,
        _ignore_unknown_kwargs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alias=alias)
        self.options: OutboxOptions = outbox_options(options, alias=alias, ignore_unknown=_ignore_unknown_kwargs)
        self.fail_silently = fail_silently or self.options.fail_silently
        self._given = None
        if _ignore_unknown_kwargs:
            # Only then, since most processes that queue need nothing of SMTP.
            from reliable_email.backends.given import given_backend

            self._given = given_backend(
                options, OUTBOX_OPTIONS, _ignore_unknown_kwargs, alias=alias, fail_silently=self.fail_silently
            )

    def open(self) -> bool | None:
        """Do nothing: the database connection is the caller's."""
        return self._given.open() if self._given is not None else False

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Queue each message; how many were queued.

        Raises:
            ValueError: a message is invalid; the others were queued.
            TransactionManagementError: the caller's transaction is broken.
        """
        messages = list(email_messages or ())
        if self._given is not None and messages:
            return self._send_as_given(messages)
        if messages:
            _refuse_event_loop("await reliable_email.asend(message)")
        drafts: list[tuple[int, EmailMessage, Submission]] = []
        misfits: list[Misfit] = []

        def put_aside(number: int, message: EmailMessage, error: Exception) -> None:
            misfits.append(Misfit(number=number, count=len(messages), message=message, error=error))
            report_misfit(message, error)

        for number, message in enumerate(messages, 1):
            try:
                if message.recipients():
                    submission = build_submission(message)
                    self._check(submission)
                    drafts.append((number, message, submission))
            except Exception as error:  # noqa: BLE001 - messages run anybody's code, and one stops no other
                put_aside(number, message, error)
        queued = self._queue_drafts(drafts, put_aside) if drafts else []
        for message, submission in queued:
            attach_report(message, queued_report(submission))
        if misfits:
            raise error_of_misfits(sorted(misfits, key=lambda one: one.number))
        return len(queued)

    def _send_as_given(self, messages: Sequence[EmailMessage]) -> int:
        """Send by the server that the caller gave, whose login the queue could not keep."""
        assert self._given is not None
        beside = ""
        if _is_in_transaction(self.options.database):
            beside = " The caller is inside a transaction: a rollback will not call it back."
        logger.warning(
            "Mail is sent directly and not queued, because the caller gave its own server or login (%s).%s",
            self._given.options.connection.host,
            beside,
            extra=log_fields(),
        )
        return self._given.send_messages(messages)

    def _queue_drafts(
        self,
        drafts: Sequence[tuple[int, EmailMessage, Submission]],
        put_aside: Callable[[int, EmailMessage, Exception], None],
    ) -> list[tuple[EmailMessage, Submission]]:
        """Queue all at once; where one of them cannot be stored, each by itself."""
        from django.db import DataError
        from django.db.utils import Error as AnyDatabaseError

        options = self._queue_options()  # what is wrong with the settings is no message's fault
        try:
            self._enqueue([submission for _, _, submission in drafts], options, gives_rows=False)
        except AnyDatabaseError as error:
            # What the database refused in a transaction of the caller's has broken that: the caller's matter.
            if len(drafts) == 1 or not isinstance(error, DataError) or _is_in_transaction(options.database):
                raise
        except Exception as error:  # noqa: BLE001 - raised before anything was written
            if len(drafts) == 1:
                put_aside(*drafts[0][:2], error)
                return []
        else:
            return [(message, submission) for _, message, submission in drafts]
        queued = []
        for number, message, submission in drafts:
            try:
                self._enqueue([submission], options, gives_rows=False)
            except AnyDatabaseError as error:
                if not isinstance(error, DataError):
                    raise
                put_aside(number, message, error)
            except Exception as error:  # noqa: BLE001 - as above
                put_aside(number, message, error)
            else:
                queued.append((message, submission))
        return queued

    def queue(self, submissions: Sequence[Submission]) -> "list[OutboxMessage]":
        """Queue submissions; the rows."""
        return self._enqueue(submissions, self._queue_options(), gives_rows=True)

    def _enqueue(
        self, submissions: Sequence[Submission], options: "QueueOptions", *, gives_rows: bool
    ) -> "list[OutboxMessage]":
        from django.db.utils import Error as AnyDatabaseError

        from reliable_email.outbox.intake.enqueue import enqueue

        try:
            return enqueue(submissions, options, gives_rows=gives_rows)
        except AnyDatabaseError as error:
            from reliable_email.store.sql import outages

            if outages.is_of_a_table(error):  # Django's own words do not say what to do
                error.add_note(f"{outages.trouble(options.database, error)}.")
            raise

    def _queue_options(self) -> "QueueOptions":
        from django.db import connections

        from reliable_email.outbox.intake.enqueue import QueueOptions
        from reliable_email.outbox.keyring import configured_keyring

        settings = conf.get()
        database = self.options.database
        if database and database not in connections:
            raise InvalidMailer(f"OPTIONS 'database' names {database!r}, which is not in DATABASES.", alias=self.alias)
        return QueueOptions(
            mailer=self.options.using,
            entry_mailer=self.alias or "",
            using=self.options.database,
            environment=settings.environment,
            priority=self.options.priority,
            on_unknown=self.options.on_unknown,
            expires_in=self.options.expires_in,
            gives_up_after=timedelta(days=settings.expires_days),
            transactional=self.options.transactional,
            notify=settings.notify,
            keyring=configured_keyring(),
            keeps_all=self._has_api_route(),
        )

    def _has_api_route(self) -> bool:
        try:
            return any(one.kind not in _MIME_KINDS for one in self._routes())
        except InvalidMailer:  # the worker says what is wrong with it; nothing may be lost meanwhile
            return True

    def _check(self, submission: Submission) -> None:
        """Raise for a message that no route could send, since a worker could not tell the caller."""
        from reliable_email.outbox.intake.foreign_fields import has_own_time, template_attributes

        templates = template_attributes(submission.message)
        has_time = has_own_time(submission.message)
        if templates or has_time:
            smtp = [one.alias for one in self._routes() if one.kind in (MailerKind.SMTP, MailerKind.DJANGO_SMTP)]
            if smtp and has_time:
                raise ValueError(
                    f"the message has send_at, which only a provider's API follows, and the route {smtp[0]!r} is SMTP, "
                    "which would send it at once. Write delivery_options = DeliveryOptions(send_at=…) in its place."
                )
            if smtp:
                raise ValueError(
                    f"the message has {', '.join(templates)}, which only a provider's API can fill in; the route "
                    f"{smtp[0]!r} is SMTP. Render the message before it is sent, or send by API routes alone."
                )

    def _routes(self) -> Any:
        return delivering_routes(self.options.using)


def _is_in_transaction(database: str | None) -> bool:
    from django.db import connections

    from reliable_email.store.questions.filters import outbox_database

    return connections[outbox_database(database)].in_atomic_block


def _refuse_event_loop(instead: str) -> None:
    """Say what to write in a coroutine, where Django would only say that the database cannot be asked there.

    Raises:
        SynchronousOnlyOperation: this thread runs an event loop.
    """
    if conf.allows_async_unsafe():
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"The outbox writes to the database, which a coroutine must not do by itself. Write `{instead}` instead."
    )


def queued_report(submission: Submission) -> DeliveryReport:
    """The report of a message that waits in the outbox."""
    return DeliveryReport(
        recipients=Recipients(dict.fromkeys(submission.recipients, _QUEUED)), message_id=submission.message_id
    )


def submit(message: EmailMessage, using: str | None = None, **options: Any) -> "OutboxMessage":
    """Queue one message with options of its own, and return its row.

    Args:
        message: the message; only its attribute `delivery` is set.
        using: the alias of an outbox; None for the default mailer.
        options: fields of `DeliveryOptions`, which override those of `message.delivery_options`.

    Raises:
        ValueError: the message is invalid, or has no recipients.
        InvalidMailer: the mailer is not an outbox.
        SynchronousOnlyOperation: called in a coroutine; use `asubmit` there.
    """
    from reliable_email.store.tables.messages import OutboxMessage

    backend = mailers[using or "default"]
    if isinstance(backend, OutboxBackend):
        _refuse_event_loop("await reliable_email.asubmit(message, …)")
    own = getattr(message, "delivery_options", None) or DeliveryOptions()
    if isinstance(options.get("on_unknown"), str):
        options["on_unknown"] = OnUnknown(options["on_unknown"])
    submission = replace(build_submission(message), options=replace(own, **options))
    if not submission.recipients:
        raise ValueError("the message has no recipients")
    if not isinstance(backend, OutboxBackend):
        if conf.has_test_environment() and mailer(using or DEFAULT_ALIAS).kind.delivers_nothing:
            # Django's test runner has put locmem in the place of every mailer, or the test itself has.
            backend.send_messages([message])
            return OutboxMessage(message_id=submission.message_id, mailer=using or "default", sender=submission.sender)
        raise InvalidMailer(
            "submit() queues, and this mailer does not: its BACKEND must be reliable_email.backends.OutboxBackend.",
            alias=using or "default",
        )
    backend._check(submission)
    (row,) = backend.queue([submission])
    attach_report(message, queued_report(submission))
    return row
