"""`OutboxBackend`: queues messages in the caller's database and transaction; a worker delivers them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage

from reliable_email import conf
from reliable_email.backends.base import Door
from reliable_email.backends.doors import OutboxOptions, outbox_options
from reliable_email.backends.routes import MailerKind, delivering_alias, routes_of
from reliable_email.delivery.content import build_submission
from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients, attach_report
from reliable_email.delivery.submission import DeliveryOptions, OnUnknown, Submission
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers

if TYPE_CHECKING:
    from reliable_email.outbox.enqueue import QueueOptions
    from reliable_email.store.messages import OutboxMessage

# django-anymail's attributes with which a provider makes the message; SMTP would send the bare template's name.
_TEMPLATE_ATTRIBUTES = ("template_id", "merge_data", "merge_global_data", "merge_metadata", "merge_headers")


class OutboxBackend(Door):
    """See the module. OPTIONS: `using`, `database`, `expires_in`, `priority`, `on_unknown`, `transactional`."""

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

    def open(self) -> bool:
        """Nothing to open: the database connection is the caller's."""
        return False

    def close(self) -> None:
        """Nothing to close."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Queue each message; how many were queued.

        Raises:
            ValueError: a message is invalid; the others were queued.
            TransactionManagementError: the caller's transaction is broken.
        """
        submissions: list[tuple[EmailMessage, Submission]] = []
        invalid: ValueError | TypeError | None = None
        for message in email_messages or ():
            if not message.recipients():
                continue
            try:
                submission = build_submission(message)
                self._check(submission)
            except (ValueError, TypeError) as error:
                invalid = invalid or error
                continue
            submissions.append((message, submission))
        if submissions:
            self._enqueue([submission for _, submission in submissions], gives_rows=False)
        for message, submission in submissions:
            attach_report(message, queued_report(submission))
        if invalid is not None:
            raise invalid
        return len(submissions)

    def queue(self, submissions: Sequence[Submission]) -> "list[OutboxMessage]":
        """Queue submissions; the rows."""
        return self._enqueue(submissions, gives_rows=True)

    def _enqueue(self, submissions: Sequence[Submission], *, gives_rows: bool) -> "list[OutboxMessage]":
        from reliable_email.outbox.enqueue import enqueue

        return enqueue(submissions, self._queue_options(), gives_rows=gives_rows)

    def _queue_options(self) -> "QueueOptions":
        from reliable_email.outbox.enqueue import QueueOptions
        from reliable_email.outbox.keyring import configured_keyring

        settings = conf.get()
        return QueueOptions(
            mailer=self.options.using,
            using=self.options.database,
            environment=settings.environment,
            priority=self.options.priority,
            on_unknown=self.options.on_unknown,
            expires_in=self.options.expires_in,
            gives_up_after=timedelta(days=settings.expires_days),
            transactional=self.options.transactional,
            notify=settings.notify,
            keyring=configured_keyring(),
        )

    def _check(self, submission: Submission) -> None:
        """What a worker could only find out when the caller is gone."""
        message = submission.message
        templates = [name for name in _TEMPLATE_ATTRIBUTES if getattr(message, name, None)]
        if templates:
            smtp = [one.alias for one in self._routes() if one.kind in (MailerKind.SMTP, MailerKind.DJANGO_SMTP)]
            if smtp:
                raise ValueError(
                    f"the message has {', '.join(templates)}, which only a provider's API can fill in; the route "
                    f"{smtp[0]!r} is SMTP. Render the message before it is sent, or send by API routes alone."
                )

    def _routes(self) -> Any:
        return routes_of(delivering_alias(self.options.using))


def queued_report(submission: Submission) -> DeliveryReport:
    """The report of a message that waits in the outbox."""
    outcome = RecipientOutcome(outcome=Outcome.QUEUED)
    return DeliveryReport(
        recipients=Recipients(dict.fromkeys(submission.recipients, outcome)), message_id=submission.message_id
    )


def submit(message: EmailMessage, using: str | None = None, **options: Any) -> "OutboxMessage":
    """Queue one message with wishes of its own, and get its row.

    Args:
        message: not changed, but for `.delivery`.
        using: the alias of an outbox; None for the default mailer.
        options: fields of `DeliveryOptions`, over those of `message.delivery_options`.

    Raises:
        ValueError: the message is invalid, or has no recipients.
        InvalidMailer: the mailer is no outbox.
    """
    from reliable_email.store.messages import OutboxMessage

    backend = mailers[using or "default"]
    own = getattr(message, "delivery_options", None) or DeliveryOptions()
    if isinstance(options.get("on_unknown"), str):
        options["on_unknown"] = OnUnknown(options["on_unknown"])
    submission = replace(build_submission(message), options=replace(own, **options))
    if not submission.recipients:
        raise ValueError("the message has no recipients")
    if not isinstance(backend, OutboxBackend):
        if conf.is_in_tests():
            # Django's test runner has put locmem in the place of every mailer.
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
