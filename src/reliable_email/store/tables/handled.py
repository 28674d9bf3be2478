"""Events for the site's own functions, each to be handled once."""

from django.db import models

from reliable_email.store.sql.clock import InstantField


class HandlerEvent(models.Model):
    """One event for one handler; deleted in the handler's own transaction."""

    handler = models.CharField(max_length=255, help_text="Its dotted path.")
    kind = models.CharField(max_length=32, help_text="outcome, bounce, complaint, unsubscription.")
    message_id = models.BigIntegerField(null=True, help_text="Of the outbox's message, which may be pruned by then.")
    position = models.PositiveIntegerField(null=True, help_text="The recipient's.")
    detail = models.JSONField(default=dict)
    created_at = InstantField()
    due_at = InstantField(null=True, help_text="NULL where it waits for a person.")
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, help_text="What the handler raised last.")

    class Meta:
        indexes = [models.Index(fields=["due_at", "id"], name="rel_email_handler_due")]

    def __str__(self) -> str:
        return f"{self.kind} for {self.handler}"
