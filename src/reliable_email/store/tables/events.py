"""Providers' later reports about a message: lines of the journal, written once and never changed."""

from enum import StrEnum

from django.db import models

from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.messages import OutboxMessage


class EventKind(StrEnum):
    """The kinds of reports. Opened and clicked are not kept, since they say nothing about the delivery."""

    QUEUED = "queued"  # the provider has it
    SENT = "sent"
    DEFERRED = "deferred"  # the recipient's server wants it later
    DELIVERED = "delivered"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    REJECTED = "rejected"  # the provider did not send it
    FAILED = "failed"

    @property
    def says_taken(self) -> bool:
        """True if it proves that the provider took the message, which is what `accepted` means."""
        return not self.says_refused

    @property
    def says_refused(self) -> bool:
        """True if it says that the message did not and will not arrive."""
        return self in (EventKind.BOUNCED, EventKind.REJECTED, EventKind.FAILED)


class ProviderEvent(models.Model):
    """One report about one recipient. Providers deliver some twice; the digest counts each once."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="events", db_index=False)
    position = models.PositiveIntegerField(null=True, help_text="The recipient's; NULL where it is none of ours.")
    address = models.CharField(max_length=320)
    kind = models.CharField(max_length=16, choices=[(one.value, one.value) for one in EventKind])
    source = models.CharField(max_length=100, help_text="Who reported it.")
    at = InstantField(help_text="When it happened, as the provider says.")
    noted_at = InstantField(help_text="When it was written down here.")
    detail = models.TextField(blank=True, help_text="The provider's words; encrypted where the message's content is.")
    cause = models.CharField(max_length=32, blank=True, default="", db_default="", help_text="What a refusal means.")
    reply_enhanced = models.CharField(max_length=16, blank=True, default="", db_default="")
    digest = models.CharField(max_length=64, unique=True, help_text="Of what makes it the same event.")

    class Meta:
        indexes = [models.Index(fields=["message", "id"], name="rel_email_event_message")]

    def __str__(self) -> str:
        return f"{self.message_id} {self.address}: {self.kind} by {self.source}"
