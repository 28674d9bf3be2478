"""The history of routes and the limits of servers, besides the one row with each route's present state."""

from django.db import models

from reliable_email.store.sql.clock import InstantField


class Opening(models.Model):
    """One numbered closing of a route by its breaker; written when it happens, ended when the route is in use again."""

    route = models.CharField(max_length=100)
    account = models.CharField(max_length=100, blank=True, default="", db_default="")
    number = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=32, blank=True)
    evidence = models.TextField(blank=True)
    opened_at = InstantField()
    closed_at = InstantField(null=True, help_text="In use again; NULL while it is not.")
    failed_probes = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["route", "account", "number"], name="rel_email_opening_number")]
        indexes = [models.Index(fields=["opened_at"], name="rel_email_opening_at")]

    def __str__(self) -> str:
        return f"{self.route}, opening {self.number}"


class LearnedLimit(models.Model):
    """A limit of one server, whichever route leads to it: no chaining, messages of one connection …"""

    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    name = models.CharField(max_length=32, help_text="Of what: chaining, messages_per_connection …")
    value = models.BigIntegerField(default=0, help_text="The limit; 0 for not at all.")
    evidence = models.TextField(blank=True)
    noted_at = InstantField()
    expires_at = InstantField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "port", "name"], name="rel_email_learned_limit")]

    def __str__(self) -> str:
        return f"{self.host}:{self.port} {self.name}: {self.value}"
