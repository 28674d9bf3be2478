"""A queued message: what never changes about it."""

from django.db import models

from reliable_email.delivery.words import OnUnknown
from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.states import PriorityRank

# Long enough for every Message-ID in use; RFC 5322 allows 998. The content has the whole of it.
MESSAGE_ID_LENGTH = 255


class OutboxMessage(models.Model):
    """Written once, in the caller's transaction; only pruning empties `content`."""

    mailer = models.CharField(max_length=100, help_text="The alias of the mailer whose routes deliver it.")
    entry_mailer = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="The alias that the application used."
    )
    account = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="Whose routes deliver it; empty: the site's."
    )
    stream = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="What a recipient unsubscribes from."
    )
    environment = models.CharField(max_length=64, help_text="RELIABLE_EMAIL['ENVIRONMENT'] of who queued it.")
    priority = models.SmallIntegerField(choices=[(rank.value, rank.priority.value) for rank in PriorityRank])
    created_at = InstantField()
    send_at = InstantField(null=True, help_text="Not before.")
    expires_at = InstantField(null=True, help_text="The caller's own limit; ends parked recipients too.")

    message_id = models.CharField(max_length=MESSAGE_ID_LENGTH)
    sender = models.CharField(max_length=320, blank=True, help_text="The reverse-path.")
    from_domain = models.CharField(max_length=255, blank=True)
    subject = models.TextField(blank=True, help_text="For people; encrypted where content is.")
    headers = models.TextField(blank=True, help_text="Header section for people; encrypted where content is.")

    content = models.BinaryField(null=True, help_text="What goes after DATA; NULL once pruned.")
    content_size = models.PositiveBigIntegerField()
    is_7bit = models.BooleanField(default=True)
    needs_smtputf8 = models.BooleanField(default=False)
    fields = models.JSONField(null=True, help_text="What MIME cannot say, for routes that are not SMTP.")
    encryption_key = models.CharField(max_length=16, blank=True, help_text="Fingerprint of the key; empty for none.")

    assembled_digest = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="Of the whole, where parts of the content are stored apart; verified before it is sent.",
    )

    # NULL where there is no key: many rows have none, and none may clash with another.
    idempotency_digest = models.CharField(max_length=64, null=True)  # noqa: DJ001
    content_digest = models.CharField(max_length=64, blank=True, help_text="Of the fields, not of the built bytes.")
    on_unknown = models.CharField(
        max_length=8, blank=True, choices=[(one.value, one.value) for one in OnUnknown], help_text="Empty: the route's."
    )
    traceparent = models.CharField(max_length=64, blank=True)

    # Of an instance that `enqueue` returned: its idempotency key was used before, and this is the first message.
    was_queued_before = False

    class Meta:
        # Not `unique=True` of the field, to which PostgreSQL adds an index for LIKE.
        constraints = [models.UniqueConstraint(fields=["idempotency_digest"], name="rel_email_msg_idempotency")]
        indexes = [
            models.Index(fields=["message_id"], name="rel_email_msg_message_id"),
            models.Index(fields=["created_at"], name="rel_email_msg_created_at"),
        ]
        # Seeing that a message exists is Django's own `view_outboxmessage`. Content is kept apart from both: it may
        # hold a link that resets a password.
        permissions = [
            ("act_on_outbox", "Can requeue, cancel, hold and resolve messages, and pause routes"),
            ("read_content", "Can read what messages say; each reading is recorded"),
            ("erase_person", "Can erase what is stored of a person, for good"),
            ("export_person", "Can export what is stored of a person, with read_content"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.message_id}"
