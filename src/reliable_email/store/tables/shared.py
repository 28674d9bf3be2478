"""State that all processes share besides messages: route state, suppressions, workers, actions, tallies and totals."""

from django.db import models

from reliable_email.store.sql.clock import InstantField


class RouteState(models.Model):
    """The state of one route: breaker, learned limits, quotas. Changed by conditional UPDATE on `version`."""

    alias = models.CharField(max_length=100)
    account = models.CharField(max_length=100, blank=True, default="", db_default="")
    version = models.PositiveBigIntegerField(default=0)
    breaker = models.JSONField(default=dict)
    ledger = models.JSONField(default=dict, help_text="What was used of its quotas.")
    updated_at = InstantField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alias", "account"], name="rel_email_route_alias")]

    def __str__(self) -> str:
        return self.alias


class Suppression(models.Model):
    """An address to which nothing is sent, or nothing of one stream."""

    address = models.CharField(max_length=320, help_text="addr-spec in lower case, or what is kept of an erased one.")
    stream = models.CharField(max_length=100, blank=True, default="", db_default="", help_text="Empty: all mail.")
    identity_version = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="By which rules `address` was made one spelling."
    )
    digest_key = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text="Where `address` is a digest: whose key made it.",
    )
    reason = models.CharField(max_length=100, blank=True)
    source = models.CharField(max_length=100, blank=True)
    created_at = InstantField()
    expires_at = InstantField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["address", "stream"], name="rel_email_suppression_addr")]

    def __str__(self) -> str:
        return self.address


TASKS_PREFIX = "tasks:"
"""The name of a row that stands for a process of a fleet begins so: its tasks alone give signs of life."""
STOPPED, LOST, SILENT = "stopped", "lost", "silent"


class Worker(models.Model):
    """A worker process, as it describes itself; nothing is decided by this row."""

    name = models.CharField(max_length=100, unique=True)
    environment = models.CharField(max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    connections = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, help_text="running, stopping or stopped.")
    started_at = InstantField()
    seen_at = InstantField()
    settled = models.PositiveBigIntegerField(default=0, help_text="Transactions since it started.")

    class Meta:
        indexes = [models.Index(fields=["seen_at"], name="rel_email_worker_seen_at")]

    def __str__(self) -> str:
        return self.name


class Action(models.Model):
    """An act of a person or a command; append-only. The actor is text, so that no user model is needed."""

    at = InstantField()
    actor = models.CharField(max_length=150)
    verb = models.CharField(max_length=40)
    target = models.CharField(max_length=200, blank=True, help_text="What it was done to, in words.")
    reason = models.TextField(blank=True, help_text="Why, in the actor's words.")
    count = models.PositiveIntegerField(default=1, help_text="Recipients changed.")
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["at"], name="rel_email_action_at")]

    def __str__(self) -> str:
        return f"{self.actor}: {self.verb} {self.target}"


class Tally(models.Model):
    """Outcomes of one minute on one route, written by each worker every few seconds; sums survive pruning."""

    minute = InstantField()
    route = models.CharField(max_length=100)
    outcome = models.CharField(max_length=12)
    cause = models.CharField(max_length=32, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["minute", "route", "outcome", "cause"], name="rel_email_tally_minute")
        ]

    def __str__(self) -> str:
        return f"{self.minute} {self.route} {self.outcome} {self.cause}: {self.count}"


# From a neighbour's reply to a server that takes its ten minutes; the last one has no bound.
UNBOUNDED_MILLISECONDS = 2_147_483_647
LATENCY_BOUNDS = (
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, UNBOUNDED_MILLISECONDS,
)  # fmt: skip


class OutcomeTotal(models.Model):
    """Outcomes on one route since the tables were made. It only grows, so that a monitor sees no counter go back."""

    route = models.CharField(max_length=100)
    outcome = models.CharField(max_length=12)
    cause = models.CharField(max_length=32, blank=True)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["route", "outcome", "cause"], name="rel_email_outcome_total")]

    def __str__(self) -> str:
        return f"{self.route} {self.outcome} {self.cause}: {self.count}"


class LatencyTotal(models.Model):
    """One bucket of a histogram of seconds on one route: those above the next smaller bound, up to this one."""

    route = models.CharField(max_length=100)
    stage = models.CharField(max_length=16, blank=True, help_text="Empty for the whole transaction.")
    milliseconds = models.PositiveIntegerField(help_text="The upper bound; see `LATENCY_BOUNDS`.")
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="The sum of what is counted here.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["route", "stage", "milliseconds"], name="rel_email_latency_total")
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.stage} up to {self.milliseconds} ms: {self.count}"
