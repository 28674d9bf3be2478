"""A site whose router reads from a replica: whoever acts on the outbox does so where it is written."""

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.db import router
from django.test import override_settings

from reliable_email.outbox.operate import note
from reliable_email.store.away import away_errors
from reliable_email.store.messages import OutboxMessage
from reliable_email.store.queries import outbox_database


class ReplicaRouter:
    """Reads go elsewhere."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """Where nothing may be written."""
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """The only one that there is."""
        return "default"


@pytest.fixture(autouse=True)
def replica() -> Any:
    """A router that sends reads away."""
    with override_settings(DATABASE_ROUTERS=[ReplicaRouter()]):
        yield


@pytest.mark.django_db
def test_acts_and_looks_go_to_the_database_that_is_written() -> None:
    """There is no database by the replica's name: every statement there would fail."""
    assert router.db_for_read(OutboxMessage) == "replica"
    assert outbox_database() == "default"
    note("cancel", actor="somebody", target="everything")
    for command in (["email_outbox", "cancel", "--all"], ["email_outbox", "prune"], ["email_suppression", "list"]):
        call_command(*command, stdout=io.StringIO())
    call_command("email_suppression", "add", "ok@example.com", stdout=io.StringIO())


def test_a_mistake_of_ours_is_not_a_database_that_is_away() -> None:
    """An assertion that fails must be seen."""
    assert not issubclass(AssertionError, away_errors())
