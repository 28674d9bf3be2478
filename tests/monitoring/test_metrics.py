"""What a monitor is told of one site, on every database."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from prometheus_client import CollectorRegistry, generate_latest

from reliable_email.classification import Cause
from reliable_email.delivery.policy import Effect
from reliable_email.monitoring.metrics import EmailCollector, exposition
from reliable_email.outbox.upkeep import worker_row
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import LATENCY_BOUNDS, LatencyTotal, Worker
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.monitoring.conftest import outbox_mailers
from tests.monitoring.expositions import Labels, labelled, samples, value
from tests.monitoring.test_health import fail

MakeSite = Callable[..., None]


def queue(*to: str) -> None:
    """One message."""
    mail.send_mail("Hello", "World", "site@example.org", list(to) or ["ada@example.com"])


def told() -> dict[tuple[str, Labels], float]:
    """Every sample of the site."""
    return samples(exposition()[0].decode())


def test_it_waits_by_state_and_priority_and_says_for_how_long(site: str) -> None:
    """Each pair is named, also where nothing waits, so that no series comes and goes."""
    queue("ada@example.com", "bob@example.com", "cyd@example.com")
    first, second, _ = OutboxRecipient.objects.using(site).order_by("id").values_list("pk", flat=True)
    rows = OutboxRecipient.objects.using(site)
    rows.filter(pk=first).update(state=State.UNKNOWN, due_at=None, settled_at=DatabaseNow())
    rows.filter(pk=second).update(due_at=DatabaseNow(-600))
    found = told()
    assert labelled(found, "queue_recipients") == {("normal", "queued"): 2.0, ("normal", "unknown"): 1.0}
    assert value(found, "queue_recipients", state="parked", priority="bulk") == 0
    assert value(found, "queue_due_age_seconds", priority="normal") == pytest.approx(600, abs=60)
    assert value(found, "queue_due_age_seconds", priority="high") == 0


def test_workers_that_fell_silent_are_missing_and_those_that_ended_are_not(site: str) -> None:
    """Three workers, one of each kind."""
    for name, seconds_ago, state in (("a", 5, "running"), ("b", 500, "running"), ("c", 500, "stopped")):
        worker_row.arrive(site, name, "", 4)
        Worker.objects.using(site).filter(name=name).update(seen_at=DatabaseNow(-seconds_ago), state=state)
    found = told()
    assert labelled(found, "workers") == {("running",): 1.0, ("missing",): 1.0}
    assert value(found, "worker_connections") == 4


def test_a_routes_breaker_is_told_by_its_phase(site: str) -> None:
    """One of a fixed set, so that an alert can ask for it."""
    fail(site, "first", Effect.OPEN, Cause.AUTH_FAILED)
    found = told()
    assert labelled(found, "route_phase") == {("closed", "first"): 1.0, ("in_use", "second"): 1.0}
    assert labelled(found, "route_needs_person") == {("first",): 1.0}
    assert labelled(found, "health") == {("degraded",): 1.0}


def test_latencies_are_a_true_histogram(site: str) -> None:
    """Buckets are cumulative, and the last one is the count."""
    for bound, count in ((LATENCY_BOUNDS[0], 3), (1000, 2), (LATENCY_BOUNDS[-1], 1)):
        row = {"route": "first", "stage": "tls", "milliseconds": bound, "count": count, "seconds": count * 0.5}
        LatencyTotal.objects.using(site).create(**row)
    found = told()
    name, labels = "attempt_stage_duration_seconds", {"route": "first", "stage": "tls"}
    buckets = {le: value(found, f"{name}_bucket", le=le, **labels) for le in ("0.005", "0.5", "1.0", "300.0", "+Inf")}
    assert buckets == {"0.005": 3, "0.5": 3, "1.0": 5, "300.0": 5, "+Inf": 6}
    assert value(found, f"{name}_count", **labels) == 6
    assert value(found, f"{name}_sum", **labels) == pytest.approx(3.0)


def test_real_deliveries_are_counted(site: str) -> None:
    """By route, outcome and cause; each stage that the wire waited for has its time."""
    queue()
    call_command("email_worker", "--database", site, "--until-empty", verbosity=0)
    found = told()
    assert labelled(found, "outcomes_total") == {("", "accepted", "first"): 1.0}
    stages = {
        dict(labels)["stage"] for name, labels in found if name == "reliable_email_attempt_stage_duration_seconds_count"
    }
    assert {"connect", "greeting", "ehlo", "mail", "content", "final_reply"} <= stages


def test_it_can_be_registered_beside_a_sites_own_metrics(make_site: MakeSite, server: ScriptedServer) -> None:
    """Registering asks nothing of the database (which this test may not use); a scrape says that it is away."""
    make_site(outbox_mailers("default", server.port))
    registry = CollectorRegistry()
    registry.register(EmailCollector())
    found = samples(generate_latest(registry).decode())
    assert value(found, "database_up") == 0
    assert value(found, "health", status="unhealthy") == 1


@pytest.mark.urls("tests.urls")
@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        pytest.param("text/plain", "text/plain; version=", "\n", id="Prometheus' text"),
        pytest.param(
            "application/openmetrics-text; version=1.0.0", "application/openmetrics-text", "# EOF\n", id="OpenMetrics"
        ),
    ],
)
def test_the_page_speaks_the_scrapers_format(
    site: str, make_site: MakeSite, server: ScriptedServer, accept: str, content_type: str, end: str
) -> None:
    """By Accept."""
    make_site(outbox_mailers(site, server.port), HEALTH_TOKENS=["token"])
    headers: dict[str, Any] = {"Authorization": "Bearer token", "Accept": accept}
    response = Client().get("/mail/metrics/", headers=headers)
    assert response.status_code == 200
    assert response["Content-Type"].startswith(content_type)
    assert response.content.decode().endswith(end)
