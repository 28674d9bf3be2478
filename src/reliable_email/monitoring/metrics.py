"""Metrics for Prometheus (extra `[prometheus]`): all of them are read from the database when they are asked for.

So every process of a site tells the same, none has to remember anything, and no multiprocess directory is needed. Ask
one process, or take the maximum over all of them, never the sum. `reliable_email.urls` has a page for it; to have the
metrics beside a site's own:

    from prometheus_client import REGISTRY
    from reliable_email.monitoring.metrics import EmailCollector

    REGISTRY.register(EmailCollector())

Registering asks the database nothing. In multiprocess mode register it with the registry that is exposed, beside
`MultiProcessCollector`. What is sent directly, without the outbox, is in no table and so not among the outcomes.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "reliable_email.monitoring.metrics needs prometheus-client: pip install 'django-reliable-email[prometheus]'"
    ) from error

from django.apps import apps

from reliable_email import conf
from reliable_email.delivery import quota
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.submission import Priority
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.monitoring.findings import aware
from reliable_email.monitoring.health import examine_site
from reliable_email.monitoring.route_health import condition, site_routes

if TYPE_CHECKING:
    from reliable_email.store.questions.status import Measurement

_WORKER_STATES = ("running", "stopping", "missing")


class _Families:
    """Every metric of this package, empty; the one place of their names."""

    def __init__(self) -> None:
        self.health = _gauge("health", "Whether the site's mail works: 1 for the status that it has.", "status")
        self.database_up = _gauge("database_up", "Whether the outbox's database answers.")
        self.outcomes = CounterMetricFamily(
            "reliable_email_outcomes",
            "Recipients by what an attempt of a worker came to.",
            labels=["route", "outcome", "cause"],
        )
        self.attempts = HistogramMetricFamily(
            "reliable_email_attempt_duration_seconds", "Time of one attempt of a worker.", labels=["route"]
        )
        self.stages = HistogramMetricFamily(
            "reliable_email_attempt_stage_duration_seconds",
            "Time that attempts spent in one stage.",
            labels=["route", "stage"],
        )
        self.queue = _gauge("queue_recipients", "Recipients whose delivery is not over.", "state", "priority")
        self.due_age = _gauge(
            "queue_due_age_seconds", "For how long the oldest message that could be sent has waited.", "priority"
        )
        self.workers = _gauge("workers", "Workers by state; missing are those that fell silent.", "state")
        self.worker_connections = _gauge("worker_connections", "Connections of the workers that run.")
        self.worker_seen = _gauge("worker_last_seen_timestamp_seconds", "When any worker last gave a sign of life.")
        self.route_phase = _gauge("route_phase", "The state of a route: 1 for the one that it is in.", "route", "phase")
        self.route_needs_person = _gauge(
            "route_needs_person", "1 if a route is closed until its configuration is corrected.", "route"
        )
        quota_labels = ("route", "window_seconds", "unit")
        self.quota_limit = _gauge("quota_limit", "What a route takes in a window.", *quota_labels)
        self.quota_used = _gauge("quota_used", "What was used of it in the window that ends now.", *quota_labels)
        self.quota_remaining = _gauge("quota_remaining", "What urgent mail may still use of it.", *quota_labels)

    def all(self) -> list[Metric]:
        """Return the metrics in the order in which they are exposed."""
        return list(vars(self).values())


class EmailCollector(Collector):
    """A collector for Prometheus that reads all values from the database.

    Args:
        using: the outbox's database; None for the one that the mailers name.
    """

    def __init__(self, using: str | None = None) -> None:
        self._using = using

    def describe(self) -> list[Metric]:
        """The names alone, so that registering asks nothing."""
        return _Families().all()

    def collect(self) -> Iterator[Metric]:
        """Every metric now. Where the database is away that is told, and what it would know is left out."""
        families = _Families()
        verdict = examine_site(self._using).verdict
        for status in Health:
            families.health.add_metric([status.value], status is verdict)
        if apps.is_installed("reliable_email") and not conf.key_problems():
            self._add_outbox(families)
        if not conf.key_problems():
            _add_routes(families, self._using)
        yield from families.all()

    def _add_outbox(self, families: _Families) -> None:
        from reliable_email.store.questions.filters import outbox_database
        from reliable_email.store.questions.status import measure
        from reliable_email.store.sql.away import away_errors

        try:
            using = self._using or next(iter(outbox_databases()), outbox_database())
            found = measure(using, environment=conf.get().environment)
        except away_errors():
            families.database_up.add_metric([], 0)
            return
        families.database_up.add_metric([], 1)
        for labels, count in sorted(found.outcomes.items()):
            families.outcomes.add_metric(labels, count)
        for one in found.histograms:
            buckets = [("+Inf" if bound == float("inf") else str(bound), count) for bound, count in one.counts]
            if one.stage:
                families.stages.add_metric([one.route, one.stage], buckets, one.sum_seconds)
            else:
                families.attempts.add_metric([one.route], buckets, one.sum_seconds)
        for pair, count in found.unfinished.items():
            families.queue.add_metric(pair, count)
        for priority, seconds in found.due_age_seconds.items():
            families.due_age.add_metric([priority], seconds)
        self._add_workers(families, found)

    def _add_workers(self, families: _Families, found: "Measurement") -> None:
        counts = dict.fromkeys(_WORKER_STATES, 0)
        connections = 0
        for worker in found.workers:
            if worker.state in ("stopped", "silent"):
                continue  # it ended in order, or is a process of a fleet that has no tasks
            is_missing = worker.state == "lost"
            counts["missing" if is_missing else worker.state] += 1
            connections += 0 if is_missing else worker.connections
        for state, count in counts.items():
            families.workers.add_metric([state], count)
        families.worker_connections.add_metric([], connections)
        seen_at = aware(found.worker_seen_at)
        if seen_at is not None:
            families.worker_seen.add_metric([], seen_at.timestamp())


def _add_routes(families: _Families, using: str | None) -> None:
    groups = site_routes()
    for route in {one.alias: one for routes in groups.values() for one in routes}.values():
        found = condition(route, using)
        for phase in Phase:
            families.route_phase.add_metric([route.alias, phase.word.replace(" ", "_")], phase is found.breaker.phase)
        needs_person = bool(route.build_error) or (found.is_out_of_use and found.breaker.needs_person)
        families.route_needs_person.add_metric([route.alias], needs_person)
        for one in route.quotas:
            labels = [route.alias, str(one.window_seconds), one.unit]
            left = quota.left(found.ledger, one, now=found.now, priority=Priority.HIGH)
            families.quota_limit.add_metric(labels, one.limit)
            families.quota_used.add_metric(labels, quota.used(found.ledger, one, now=found.now))
            families.quota_remaining.add_metric(labels, left)


def exposition(accept: str = "", using: str | None = None) -> tuple[bytes, str]:
    """The metrics of this package alone, in a format that the scraper accepts, and its content type."""
    registry = CollectorRegistry()
    registry.register(EmailCollector(using))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"reliable_email_{name}", help_text, labels=labels)
