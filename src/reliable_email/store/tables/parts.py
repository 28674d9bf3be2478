"""Attachments that many messages share, stored once."""

from django.db import models

from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.messages import OutboxMessage


class Part(models.Model):
    """Final bytes that messages refer to; deleted when none has for a while."""

    environment = models.CharField(max_length=64)
    encryption_key = models.CharField(max_length=16, blank=True, help_text="Fingerprint of the key; empty for none.")
    digest = models.CharField(max_length=64, help_text="Of the bytes; an HMAC where they are encrypted.")
    content = models.BinaryField()
    content_size = models.PositiveBigIntegerField()
    created_at = InstantField()
    touched_at = InstantField(help_text="When a message last referred to it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "encryption_key", "digest"], name="rel_email_part_digest")
        ]
        indexes = [models.Index(fields=["touched_at"], name="rel_email_part_touched")]

    def __str__(self) -> str:
        return f"{self.digest[:12]} of {self.content_size:,} bytes"


class PartReference(models.Model):
    """The place of a shared part in a message's content."""

    # Written with the message and deleted with it; a constraint would only be checked for every message.
    message = models.ForeignKey(
        OutboxMessage, on_delete=models.CASCADE, related_name="parts", db_index=False, db_constraint=False
    )
    part = models.ForeignKey(Part, on_delete=models.PROTECT, related_name="references")
    position = models.PositiveIntegerField(help_text="Its place among the message's parts.")
    offset = models.PositiveBigIntegerField(help_text="The byte of `content` before which it stands.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "position"], name="rel_email_part_position")]

    def __str__(self) -> str:
        return f"part {self.position} of message {self.message_id}"
