"""A site whose router reads from a replica: whoever looks at the outbox or acts on it does so where it is written.

A replica is behind, and can be read only. There is no database by its name here: every statement there would fail.
"""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.core.management import call_command
from django.db import router
from django.test import Client, override_settings
from django.urls import reverse

from reliable_email import models
from reliable_email.outbox.operations import suppressed
from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.operations.suppression_list import unwanted_by_direct_sends
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.away import away_errors
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.testing.server import ScriptedServer
from reliable_email.urls import urlpatterns

PAGES = (
    *("overview", "messages", "routes", "failures", "workers", "suppressions", "people", "record"),
    *("live", "health", "metrics"),
)
OF_A_MESSAGE = ("message", "content", "source")
ADMINS = (OutboxMessage, models.RouteState, models.Worker, models.Action, models.Suppression)
COMMANDS = (
    ["email_outbox", "status"],
    ["email_outbox", "list"],
    ["email_outbox", "show", "1"],
    ["email_outbox", "hold", "--all", "--reason", "r"],
    ["email_outbox", "release", "--all", "--reason", "r"],
    ["email_outbox", "cancel", "--all", "--reason", "r"],
    ["email_outbox", "requeue", "--all", "--reason", "r"],
    ["email_outbox", "prune"],
    ["email_outbox", "audit"],
    ["email_routes", "list"],
    ["email_routes", "show", "smtp"],
    ["email_routes", "pause", "smtp", "--reason", "r"],
    ["email_routes", "resume", "smtp", "--reason", "r"],
    ["email_routes", "history"],
    ["email_outbox", "export", "ok@example.com"],
    ["email_outbox", "erase", "ok@example.com", "--reason", "r"],
    ["email_suppression", "add", "gone@example.com"],
    ["email_suppression", "list"],
    ["email_suppression", "remove", "listed@example.com"],
)


class ReplicaRouter:
    """Reads of the outbox go elsewhere; the site's own people are read where they are."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Where nothing may be written."""
        return "replica" if model._meta.app_label == "reliable_email" else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """The only one that there is."""
        return "default"


@pytest.fixture
def mailers() -> Any:
    """An outbox over one route, and a router that sends reads away."""
    with ScriptedServer() as server:
        smtp = {"host": "127.0.0.1", "port": server.port}
        settings: dict[str, Any] = {
            "MAILERS": {
                "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
                "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": smtp},
            },
            "DATABASE_ROUTERS": [ReplicaRouter()],
        }
        if django.VERSION < (6, 1):
            settings["EMAIL_BACKEND"] = "reliable_email.backends.DefaultMailer"
        with override_settings(**settings):
            assert router.db_for_read(OutboxMessage) == "replica"
            assert outbox_database() == "default"
            yield settings["MAILERS"]


@pytest.fixture
def queued(mailers: Any, db: None) -> int:
    """A message that waits."""
    send_mail("subject", "body", "a@example.org", ["ok@example.com"])
    return int(OutboxMessage.objects.using("default").get().pk)


@pytest.fixture
def operator(db: None) -> Client:
    """Somebody who may do everything."""
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.create_superuser("olga"))
    return client


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_reads_and_writes_where_the_outbox_is_written(queued: int, command: list[str]) -> None:
    """An exit code may say that something is wrong with the queue; no statement goes to the replica."""
    command = [str(queued) if word == "1" else word for word in command]
    suppressed.suppress(["listed@example.com"], reason="r", source="s")
    with suppress(SystemExit):
        call_command(*command, stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.parametrize("name", PAGES)
def test_every_page_reads_where_the_outbox_is_written(queued: int, operator: Client, name: str) -> None:
    """What somebody has just done is shown at once."""
    assert operator.get(reverse(f"reliable_email:{name}")).status_code in (200, 503)


@pytest.mark.parametrize("name", OF_A_MESSAGE)
def test_a_messages_pages_read_where_the_outbox_is_written(queued: int, operator: Client, name: str) -> None:
    """Its story too, and its content."""
    assert operator.get(reverse(f"reliable_email:{name}", args=[queued])).status_code == 200


def test_every_page_is_among_those_that_were_looked_at() -> None:
    """Whoever adds one is told here; the rest are acts, or parts of a message."""
    acts = {"act", "release_hold", "act_on_route", "suppress_address", "allow_address", "erase_person", "export_person"}
    assert {one.name for one in urlpatterns} == {*PAGES, *OF_A_MESSAGE, *acts, "html", "attachment"}


def _act(client: Client, name: str, **fields: Any) -> None:
    answer = client.post(reverse(f"reliable_email:{name}"), {"reason": "r", **fields}, follow=True)
    assert answer.status_code == 200
    assert re.search(r"in the record|The record has", answer.content.decode())


def _allow(client: Client, pk: int) -> None:
    suppressed.suppress(["gone@example.com"], reason="r", source="s")
    entry = models.Suppression._base_manager.using("default").get().pk
    _act(client, "allow_address", entry=entry)


ACTS: dict[str, Callable[[Client, int], None]] = {
    "cancel a message": lambda client, pk: _act(
        client, "act", act="cancel", scope="message", message=pk, confirmed="1"
    ),
    "pause a route": lambda client, pk: _act(client, "act_on_route", verb="pause_route", route="smtp"),
    "suppress an address": lambda client, pk: _act(client, "suppress_address", address="gone@example.com"),
    "allow an address": _allow,
}


@pytest.mark.parametrize("name", ACTS)
def test_every_act_of_a_page_goes_where_the_outbox_is_written(queued: int, operator: Client, name: str) -> None:
    """A replica would refuse it."""
    ACTS[name](operator, queued)


@pytest.mark.parametrize("model", ADMINS, ids=lambda model: model.__name__)
def test_the_admin_reads_where_the_outbox_is_written(queued: int, operator: Client, model: Any) -> None:
    """Lists and single rows, with those of a message below it."""
    suppressed.suppress(["gone@example.com"], reason="r", source="s")
    note("cancel", actor="somebody", target="everything")
    kind = f"admin:reliable_email_{model._meta.model_name}"
    assert operator.get(reverse(f"{kind}_changelist")).status_code == 200
    row = model._base_manager.using("default").first()
    if row is not None:
        assert operator.get(reverse(f"{kind}_change", args=[row.pk])).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_worker_works_where_the_outbox_is_written(mailers: Any) -> None:
    """It claims, asks the suppression list, settles and counts there; so does a direct send."""
    suppressed.suppress(["gone@example.com"], reason="r", source="s")
    assert unwanted_by_direct_sends(["gone@example.com"]) == ["gone@example.com"]
    send_mail("subject", "body", "a@example.org", ["ok@example.com", "gone@example.com"])
    call_command("email_worker", "--until-empty", stdout=io.StringIO())
    found = OutboxRecipient.objects.using("default").values_list("address", "state")
    assert dict(found) == {"ok@example.com": "accepted", "gone@example.com": "rejected"}


def test_a_mistake_of_ours_is_not_a_database_that_is_away() -> None:
    """An assertion that fails must be seen."""
    assert not issubclass(AssertionError, away_errors())
