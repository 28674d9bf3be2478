"""One recipient of a queued message: the row that workers claim, and the only place where state is kept."""

from django.db import models

from reliable_email.store.sql.clock import InstantField
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.states import PriorityRank, State


class OutboxRecipient(models.Model):
    """The delivery of one message to one recipient.

    Invariants, which `email_outbox audit` proves on the live table:

    * `due_at` is set exactly where a worker may claim the row: queued, or unknown and to be sent again;
    * `lease_until` is set exactly while a worker holds it;
    * `authorized_at` is set from the journal's commit until another claim;
    * `settled_at` is set in the four final states and in `unknown`.
    """

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="recipients", db_index=False)
    position = models.PositiveIntegerField(help_text="Its place among the message's recipients.")
    address = models.CharField(max_length=320, help_text="addr-spec, its domain in lower case.")

    state = models.CharField(max_length=12, choices=[(one.value, one.value) for one in State])
    # Copies of what a claim looks at.
    mailer = models.CharField(max_length=100)
    lane = models.BigIntegerField(
        default=0, db_default=0, help_text="Of mailer and account; 0 before there were lanes."
    )
    environment = models.CharField(max_length=64)
    priority = models.SmallIntegerField(choices=[(rank.value, rank.priority.value) for rank in PriorityRank])
    due_at = InstantField(null=True)
    gives_up_at = InstantField(help_text="Expires from here on, unless parked.")

    # Who has it. The claim is a number that no other claim ever had; a write that names another one is void.
    claim = models.BigIntegerField(default=0)
    claimed_by = models.CharField(max_length=100, blank=True)
    lease_until = InstantField(null=True)
    authorized_at = InstantField(null=True)
    authorized_route = models.CharField(max_length=100, blank=True)

    attempts = models.PositiveIntegerField(default=0)
    crashes = models.PositiveSmallIntegerField(default=0, help_text="Workers that died while they had it.")
    started_at = InstantField(null=True, help_text="Its transaction began; written where crashes is not 0.")
    unknowns = models.PositiveSmallIntegerField(default=0, help_text="Attempts that may have left a copy.")
    pinned_route = models.CharField(max_length=100, blank=True, help_text="Only this route may send it again.")
    refused_by = models.JSONField(default=list, help_text="Routes that refused the message for good.")

    # The evidence for the state: the last attempt's.
    route = models.CharField(max_length=100, blank=True)
    stage = models.CharField(max_length=16, blank=True)
    cause = models.CharField(max_length=32, blank=True)
    reply_code = models.PositiveSmallIntegerField(null=True)
    reply_enhanced = models.CharField(max_length=16, blank=True)
    reply_text = models.TextField(blank=True, help_text="Encrypted where content is.")
    detail = models.TextField(blank=True, help_text="Our own words, where a server said nothing.")
    provider_message_id = models.CharField(max_length=255, blank=True)
    settled_at = InstantField(null=True)

    # What became of it afterwards; its state stays what it was.
    identity_version = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="By which rules `address` was made one spelling."
    )
    return_token = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="In the return path, for what comes back."
    )
    bounced_at = InstantField(null=True)
    complained_at = InstantField(null=True)
    erasing_at = InstantField(null=True, help_text="A person is to be forgotten as soon as this is settled.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "position"], name="rel_email_rcpt_position")]
        indexes = [
            # What is runnable: a range for each priority and lane, never a sort.
            models.Index(fields=["priority", "lane", "due_at", "id"], name="rel_email_rcpt_lane"),
            # Leases that ran out; counts by state; the newest of a state.
            models.Index(fields=["state", "lease_until", "id"], name="rel_email_rcpt_state"),
            models.Index(fields=["address", "id"], name="rel_email_rcpt_address"),
            models.Index(fields=["settled_at"], name="rel_email_rcpt_settled_at"),
        ]

    def __str__(self) -> str:
        return f"recipient {self.position} of message {self.message_id}"
