"""Operators' holds on incoming messages."""

from django.db import models

from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.states import PriorityRank


class IncomingHold(models.Model):
    """Messages that match are not sent, also those that are queued later; an empty column matches anything."""

    mailer = models.CharField(max_length=100, blank=True, help_text="The application's or the delivering one.")
    account = models.CharField(max_length=100, blank=True)
    stream = models.CharField(max_length=100, blank=True)
    priority = models.SmallIntegerField(null=True, choices=[(rank.value, rank.priority.value) for rank in PriorityRank])
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    created_at = InstantField()
    expires_at = InstantField(null=True)

    def __str__(self) -> str:
        return f"hold of {self.mailer or 'all mail'} by {self.actor}"
