"""`check --database` says where the outbox's database keeps its promises less well than it could."""

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings

from reliable_email.diagnosis.durability import check_durability

IDS = ("reliable_email.W007", "reliable_email.W008")


@pytest.fixture
def site(using: str) -> Iterator[str]:
    """A site whose outbox is in this database."""
    mailers = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "smtp", "database": using},
        },
        "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
    }
    older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
    with override_settings(MAILERS=mailers, **older):
        yield using


def test_a_durable_database_is_silent(site: str) -> None:
    """As the tests' databases are, and through Django's own run of the checks, too."""
    assert check_durability(databases=[site]) == []
    assert [one for one in run_checks(databases=[site]) if one.id in IDS] == []


def test_nothing_is_said_of_a_database_that_nobody_asked_about(site: str) -> None:
    """`check` without `--database` opens none."""
    connections[site].close()
    assert check_durability(databases=None) == []
    assert connections[site].connection is None


def test_a_database_that_may_lose_commits_is_named(site: str) -> None:
    """Each in its own words, with the setting and the remedy."""
    connection = connections[site]
    if connection.vendor == "mysql":
        pytest.skip("the setting is the whole server's; who runs the tests decides about it")
    weaker = {"postgresql": "SET synchronous_commit = off", "sqlite": "PRAGMA synchronous = NORMAL"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(weaker)
    try:
        [found] = check_durability(databases=[site])
    finally:
        connection.close()
    assert found.id == "reliable_email.W008"
    assert "synchronous" in found.msg
    assert site in found.msg
    assert found.hint


def test_sqlite_is_wanted_with_immediate_transactions_and_wal(site: str) -> None:
    """The hint is what to put into OPTIONS."""
    connection: Any = connections[site]
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")
    connection.ensure_connection()  # which reads OPTIONS
    before, connection.transaction_mode = connection.transaction_mode, None
    try:
        [found] = check_durability(databases=[site])
    finally:
        connection.transaction_mode = before
    assert found.id == "reliable_email.W007"
    assert "IMMEDIATE" in str(found.hint)
