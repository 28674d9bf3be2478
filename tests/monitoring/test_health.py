"""One verdict on the site's mail, from settings, route state and the outbox alone."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import connections, transaction
from django.urls import resolve
from pytest_django import DjangoDbBlocker

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.documentation import DOCUMENTATION
from reliable_email.monitoring.findings import Finding, Topic
from reliable_email.monitoring.health import SiteHealth, examine_site
from reliable_email.monitoring.route_health import site_routes
from reliable_email.outbox.upkeep import worker_row
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Worker
from reliable_email.store.tables.states import State
from reliable_email.views.leading import leads_to
from tests.monitoring.conftest import SMTP, outbox_mailers

MakeSite = Callable[..., None]


def queue() -> None:
    """One message."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])


def due_for(using: str, **age: float) -> None:
    """Everything has been due for so long."""
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-timedelta(**age).total_seconds()))


def worker_seen(using: str, *, seconds_ago: float, state: str = "running") -> None:
    """A worker gave a sign of life."""
    worker_row.arrive(using, f"worker-{seconds_ago}", "", 1)
    Worker.objects.using(using).update(seen_at=DatabaseNow(-seconds_ago), state=state)


def fail(using: str, alias: str, effect: Effect, cause: Cause, **changes: Any) -> None:
    """A route failed."""
    route = next(one for routes in site_routes().values() for one in routes if one.alias == alias)
    failure = Failure(
        cause=cause,
        scope=Scope.ROUTE,
        permanent=False,
        certain=True,
        detail="535 not for ada@example.com",
        **changes,
    )
    DatabaseRouteStateStore(using).tell(route, RouteEvent(failure=failure, effect=effect))


def told(found: SiteHealth) -> list[tuple[Health, str]]:
    """Verdicts and texts."""
    return [(one.verdict, one.text) for one in found.findings]


def test_a_site_with_nothing_to_do_is_healthy(site: str) -> None:
    """No worker is missed while nothing is due."""
    found = examine_site()
    assert (found.verdict, found.findings, found.reason, found.since) == (Health.HEALTHY, (), "", None)


def test_a_due_message_wants_a_worker(site: str) -> None:
    """Unhealthy at once where none was ever seen, with what to do."""
    queue()
    found = examine_site()
    assert told(found) == [(Health.UNHEALTHY, "messages are due and no worker was seen within a day")]
    assert "email_worker" in found.remedy
    assert found.since is not None
    assert found.since <= found.at + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("seen_seconds_ago", "due_seconds", "is_missed"),
    [
        pytest.param(30, 300, False, id="seen lately"),
        pytest.param(300, 300, True, id="silent"),
        pytest.param(300, 30, False, id="silent, but nothing was due for long"),
    ],
)
def test_a_worker_is_missed_after_health_worker_seconds(
    site: str, seen_seconds_ago: float, due_seconds: float, is_missed: bool
) -> None:
    """A worker that a timer starts every minute is not missed in between."""
    worker_seen(site, seconds_ago=seen_seconds_ago, state="stopped")
    queue()
    due_for(site, seconds=due_seconds)
    assert examine_site().verdict is (Health.UNHEALTHY if is_missed else Health.HEALTHY)


def test_a_message_that_is_due_for_too_long_is_unhealthy(site: str) -> None:
    """Since when is the oldest's due time."""
    worker_seen(site, seconds_ago=1)
    queue()
    due_for(site, hours=3)
    found = examine_site()
    assert told(found) == [(Health.UNHEALTHY, "the oldest message has been due for 3.0 h")]
    assert found.since is not None
    assert abs(found.at - found.since - timedelta(hours=3)) < timedelta(minutes=5)


def test_each_finding_has_its_own_time(site: str) -> None:
    """The verdict's words and its time are the same finding's, on every surface."""
    worker_seen(site, seconds_ago=1)
    queue()
    due_for(site, hours=3)
    queue()
    newest = OutboxRecipient.objects.using(site).order_by("-pk").values_list("pk", flat=True)[:1]
    old = DatabaseNow(-86400)
    OutboxRecipient.objects.using(site).filter(pk__in=list(newest)).update(
        state=State.UNKNOWN, due_at=None, settled_at=old
    )
    fail(site, "first", Effect.OPEN, Cause.AUTH_FAILED)
    told_as = examine_site().as_json()
    assert [one["status"] for one in told_as["findings"]] == ["unhealthy", "degraded", "degraded"]
    assert told_as["since"] == told_as["findings"][0]["since"]
    assert len({one["since"] for one in told_as["findings"]}) == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [(State.UNKNOWN, "1 recipient has an unknown outcome"), (State.PARKED, "1 recipient is parked")],
)
def test_what_waits_for_a_person_degrades(
    site: str, make_site: MakeSite, server: Any, state: State, words: str
) -> None:
    """More than HEALTH_UNKNOWN or HEALTH_PARKED; mail goes out all the same."""
    queue()
    settled = DatabaseNow(-60) if state is State.UNKNOWN else None
    OutboxRecipient.objects.using(site).update(state=state, due_at=None, settled_at=settled)
    found = examine_site()
    assert (found.verdict, found.reason.partition(":")[0]) == (Health.DEGRADED, words)
    assert (found.since is not None) == (state is State.UNKNOWN)
    make_site(outbox_mailers(site, server.port, server.port), HEALTH_UNKNOWN=1, HEALTH_PARKED=1)
    assert examine_site().verdict is Health.HEALTHY


def test_a_closed_route_degrades_and_all_of_them_are_unhealthy(site: str) -> None:
    """With the evidence, and the cause's remedy."""
    fail(site, "first", Effect.OPEN, Cause.AUTH_FAILED)
    found = examine_site()
    assert told(found) == [(Health.DEGRADED, "the route 'first' is closed: auth_failed (535 not for a…@example.com)")]
    assert "password" in found.remedy
    assert found.since is not None
    fail(site, "second", Effect.BLOCKED, Cause.REPUTATION_BLOCKED)
    found = examine_site()
    assert found.verdict is Health.UNHEALTHY
    assert [one.verdict for one in found.findings] == [Health.UNHEALTHY] * 2


def test_a_closed_standby_degrades_too(site: str) -> None:
    """Nothing would take over."""
    fail(site, "second", Effect.BLOCKED, Cause.REPUTATION_BLOCKED)
    assert examine_site().verdict is Health.DEGRADED


def test_a_route_whose_time_is_over_does_not_keep_the_site_unhealthy(site: str) -> None:
    """Nobody may have tried it since; a probe that takes the site out of traffic would keep it so for ever."""
    for alias in ("first", "second"):
        fail(site, alias, Effect.BLOCKED, Cause.REPUTATION_BLOCKED, retry_after=-1.0)
    found = examine_site()
    assert found.verdict is Health.DEGRADED
    assert "the next message tries it again" in found.reason


def test_a_pause_names_who_paused(site: str) -> None:
    """And when."""
    route = site_routes()["default"][0]
    DatabaseRouteStateStore(site).pause(route, by="grace")
    found = examine_site()
    assert told(found) == [(Health.DEGRADED, "the route 'first' is paused by grace")]
    assert found.since is not None


def test_another_mailer_without_a_route_is_a_part_of_the_sites_mail(
    site: str, make_site: MakeSite, server: Any
) -> None:
    """The default's mail goes out, and nobody gets the newsletter: that is named, and no small thing."""
    newsletter = {
        "BACKEND": SMTP,
        "OPTIONS": {"host": "127.0.0.1", "port": server.port, "username": "n", "password": "p"},
    }
    make_site({**outbox_mailers(site, server.port, server.port), "newsletter": newsletter})
    fail(site, "newsletter", Effect.OPEN, Cause.AUTH_FAILED)
    found = examine_site()
    assert found.verdict is Health.UNHEALTHY
    assert "no mail goes out by the mailer 'newsletter'" in found.reason
    assert [one.verdict for one in found.findings] == [Health.UNHEALTHY, Health.DEGRADED]


def test_a_used_up_quota_closes_its_route(using: str, make_site: MakeSite, server: Any) -> None:
    """Not even urgent mail fits."""
    options = {"host": "127.0.0.1", "port": server.port, "quota": "1/day"}
    make_site({"default": {"BACKEND": SMTP, "OPTIONS": options}})
    [route] = site_routes()["default"]
    from reliable_email.delivery.submission import Priority

    assert DatabaseRouteStateStore(using).reserve(route, 1, priority=Priority.HIGH)
    found = examine_site(using)
    assert told(found) == [(Health.UNHEALTHY, "the route 'default' has used up its quota of the last 24 h")]


def test_addresses_are_masked_where_the_setting_says_so(site: str, make_site: MakeSite, server: Any) -> None:
    """Servers repeat addresses in their replies."""
    fail(site, "first", Effect.OPEN, Cause.AUTH_FAILED)
    make_site(outbox_mailers(site, server.port, server.port), MASK_ADDRESSES=True)
    assert "(535 not for a…@example.com)" in examine_site().reason


def test_errors_of_the_configuration_are_unhealthy(make_site: MakeSite) -> None:
    """The check's own words and hint; a site without tables can be asked, too."""
    make_site({"default": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "prot": 25}}})
    found = examine_site()
    assert found.verdict is Health.UNHEALTHY
    assert "'prot'" in found.reason
    assert "'port'" in found.reason + found.remedy


def test_a_setting_that_cannot_be_used_is_told_and_raises_nothing(make_site: MakeSite, server: Any) -> None:
    """The rest cannot be judged then."""
    make_site(
        {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": server.port}}}, HEALTH_UNKNOWN="some"
    )
    assert "HEALTH_UNKNOWN" in examine_site().reason


def test_a_site_without_an_outbox_needs_no_database(make_site: MakeSite, server: Any) -> None:
    """Its route is judged by what the process knows."""
    make_site({"default": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": server.port}}})
    assert examine_site().verdict is Health.HEALTHY


def test_an_outbox_without_tables_is_unhealthy(
    make_site: MakeSite, server: Any, tmp_path: Any, django_db_blocker: DjangoDbBlocker
) -> None:
    """And says how to make them."""
    alias = "without_tables"
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    connections.settings[alias] = connections.configure_settings({alias: settings, "default": {}})[alias]
    try:
        make_site(outbox_mailers(alias, server.port))
        with django_db_blocker.unblock():
            found = examine_site()
            connections[alias].close()
        assert found.verdict is Health.UNHEALTHY
        assert (found.reason, found.remedy) == (
            "the outbox has no tables in the database 'without_tables', so messages cannot be queued",
            "Run “manage.py migrate reliable_email”.",
        )
    finally:
        del connections[alias]
        del connections.settings[alias]


def test_a_callers_transaction_survives_the_question(site: str) -> None:
    """A view may run inside a transaction of its request."""
    with transaction.atomic(site):
        queue()
        examine_site()
        queue()
    assert OutboxRecipient.objects.using(site).count() == 2


def test_a_route_that_a_providers_quota_closed_leads_to_the_runbook_about_quotas(site: str) -> None:
    """The provider is not down, and its page of outages says nothing of it."""
    fail(site, "first", Effect.OPEN, Cause.QUOTA_EXCEEDED)
    assert [one.topic for one in examine_site().findings] == [Topic.QUOTA]


@pytest.mark.parametrize("topic", [one for one in Topic if one is not Topic.NONE])
def test_every_finding_with_a_topic_has_a_runbook_and_leads_somewhere(topic: Topic) -> None:
    """The page of the documentation is there, and so is the page that has the act."""
    page = topic.runbook.removeprefix(DOCUMENTATION)
    assert page != topic.runbook
    assert (Path(__file__).parents[2] / "docs" / page).is_file()
    url, words = leads_to(Finding(verdict=Health.DEGRADED, text="", topic=topic, name="gmail"))
    assert resolve(url.partition("?")[0].partition("#")[0]).url_name
    assert words
