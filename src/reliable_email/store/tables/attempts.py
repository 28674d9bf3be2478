"""One transaction on one route: a line of the journal, written once and never changed."""

from django.db import models

from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.messages import OutboxMessage


class Attempt(models.Model):
    """One SMTP transaction or API call."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    claim = models.BigIntegerField()
    worker = models.CharField(max_length=100)
    route = models.CharField(max_length=100)
    peer = models.CharField(max_length=100, blank=True)
    finished_at = InstantField()
    seconds = models.FloatField()
    stage = models.CharField(max_length=16)
    cause = models.CharField(max_length=32, blank=True)
    reply_code = models.PositiveSmallIntegerField(null=True)
    reply_enhanced = models.CharField(max_length=16, blank=True)
    reply_text = models.TextField(blank=True, help_text="Encrypted where the message's content is.")
    detail = models.TextField(blank=True)
    outcomes = models.JSONField(help_text="Outcome by the recipient's position: accepted, rejected, deferred, unknown.")
    provider_message_id = models.CharField(max_length=255, blank=True)
    # Only what failed has one.
    dialogue = models.TextField(  # noqa: DJ001
        null=True, help_text="What was said on the wire, secrets left out; encrypted where the content is."
    )

    class Meta:
        indexes = [
            models.Index(fields=["message", "id"], name="rel_email_attempt_message"),
            models.Index(fields=["finished_at"], name="rel_email_attempt_finished"),
            # A provider's webhook names nothing else.
            models.Index(fields=["provider_message_id"], name="rel_email_attempt_provider_id"),
        ]

    def __str__(self) -> str:
        return f"attempt of message {self.message_id} by {self.route}"
