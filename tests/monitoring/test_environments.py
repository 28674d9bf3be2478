"""Two environments in one database: neither counts, alarms or acts for the other unless that is asked for."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse

from reliable_email.delivery.submission import DeliveryOptions
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.health import examine_site
from reliable_email.monitoring.metrics import exposition
from reliable_email.outbox.upkeep import worker_row
from reliable_email.store.questions.status import queue
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Worker
from reliable_email.store.tables.states import State
from tests.monitoring.conftest import outbox_mailers

OWN, OTHER = "production", "staging"


def send(address: str, **wishes: Any) -> None:
    """Queue one message."""
    message = EmailMessage("Hello", "World", "site@example.org", [address])
    message.delivery_options = DeliveryOptions(**wishes)  # type: ignore[attr-defined]
    message.send()


@pytest.fixture
def shared(using: str, make_site: Callable[..., None], server: Any) -> str:
    """This site's environment has one message that is not due yet, another one three that are overdue."""
    mailers = outbox_mailers(using, server.port)
    make_site(mailers, ENVIRONMENT=OTHER)
    for number in range(3):
        send(f"other{number}@example.com")
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-7200))
    worker_row.arrive(using, "their-worker", OTHER, 1)
    make_site(mailers, ENVIRONMENT=OWN)
    send("own@example.com", idempotency_key="k", expires_in=timedelta(days=1))
    return using


def status(using: str, *words: str) -> dict[str, Any]:
    """What the command tells programs."""
    out = StringIO()
    with suppress(SystemExit):
        call_command("email_outbox", "--database", using, "status", "--json", *words, stdout=out)
    return dict(json.loads(out.getvalue()))


def test_anothers_overdue_mail_is_no_finding_here(shared: str) -> None:
    """Somebody works for it: its own health tells of it."""
    worker_row.arrive(shared, "own-worker", OWN, 1)
    assert examine_site(shared).verdict is Health.HEALTHY
    with override_settings(RELIABLE_EMAIL={"ENVIRONMENT": OTHER}):
        found = examine_site(shared)
        assert (found.verdict, found.reason) == (Health.UNHEALTHY, "the oldest message has been due for 2.0 h")


def test_anothers_worker_does_not_stand_in_for_ours(shared: str) -> None:
    """It refuses our rows."""
    assert "no worker was seen" in examine_site(shared, misses_workers=True).reason


def test_overdue_mail_of_an_environment_that_nobody_serves_is_told(shared: str) -> None:
    """A restored copy of another site's outbox: no worker here will ever take it."""
    worker_row.arrive(shared, "own-worker", OWN, 1)
    worker_row.forget(shared, "their-worker")
    found = examine_site(shared)
    assert found.verdict is Health.DEGRADED
    assert "'staging'" in found.reason
    assert "hold or cancel" in found.remedy


def test_status_counts_its_own_unless_all_are_asked_for(shared: str) -> None:
    """Recipients and workers."""
    own, every = status(shared), status(shared, "--all-environments")
    assert (own["recipients"]["queued"], len(own["workers"])) == (1, 0)
    assert (every["recipients"]["queued"], len(every["workers"])) == (4, 1)


def test_the_overview_and_the_metrics_count_their_own(shared: str) -> None:
    """By priority, by state, and the age of what is due."""
    found = queue(shared, environment=OWN)
    assert str(found.states[State.QUEUED]) == "1"
    assert sum(line.due.count for line in found.priorities) == 1
    text = exposition(using=shared)[0].decode()
    assert 'reliable_email_queue_recipients{priority="normal",state="queued"} 1.0' in text
    assert 'reliable_email_workers{state="running"} 0.0' in text


def test_mail_of_another_environment_is_told_well_where_one_of_the_two_has_no_name(shared: str) -> None:
    """No sentence speaks of the workers of ''."""
    OutboxRecipient.objects.using(shared).filter(environment=OTHER).update(due_at=DatabaseNow(-3 * 86400))
    Worker.objects.using(shared).all().delete()
    with override_settings(RELIABLE_EMAIL={"ENVIRONMENT": ""}):
        [remedy] = [one.remedy for one in examine_site().findings if f"of the environment {OTHER!r}" in one.text]
    assert f"RELIABLE_EMAIL['ENVIRONMENT'] = {OTHER!r}; here it is '', and this site's workers" in remedy


@pytest.mark.django_db
def test_an_act_on_all_that_a_search_finds_leaves_anothers_alone(make_site: Callable[..., None]) -> None:
    """The list shows both; what is done to a whole list is done to one's own."""
    for environment in (OTHER, OWN):
        make_site(outbox_mailers("default", 9), ENVIRONMENT=environment)
        send(f"somebody@{environment}.example.com")
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    sent = {"act": "cancel", "scope": "filter", "confirmed": "1", "reason": "r"}
    assert client.post(reverse("reliable_email:act"), sent).status_code == 302
    found = OutboxRecipient.objects.using("default").values_list("environment", "state")
    assert dict(found) == {OWN: State.CANCELLED, OTHER: State.QUEUED}


def test_each_environment_has_idempotency_keys_of_its_own(shared: str) -> None:
    """Staging, which has sent the same invoice, keeps production's from nobody."""
    with override_settings(RELIABLE_EMAIL={"ENVIRONMENT": OTHER}):
        send("own@example.com", idempotency_key="k")
    send("own@example.com", idempotency_key="k")  # the second time here
    rows = OutboxRecipient.objects.using(shared).filter(address="own@example.com")
    assert sorted(rows.values_list("environment", flat=True)) == [OWN, OTHER]
