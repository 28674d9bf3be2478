"""A queue of its own on SQLite: the table is about decisions, and these are the same on every database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from reliable_email.delivery import registry
from tests.outbox.conftest import _TABLES, created_database


@pytest.fixture(scope="session")
def engines_database(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of a database with the app's tables, without an fsync for each commit."""
    name = str(tmp_path_factory.mktemp("engines") / "engines.sqlite3")
    with created_database("sqlite", "engines", name):
        with django_db_blocker.unblock():
            call_command("migrate", "reliable_email", database="engines", verbosity=0)
            with connections["engines"].cursor() as cursor:
                cursor.execute("PRAGMA synchronous=OFF")
        yield "engines"


@pytest.fixture
def using(engines_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of a database whose tables are empty."""
    with django_db_blocker.unblock():
        yield engines_database
        for model in _TABLES:
            manager: Any = model._base_manager
            manager.using(engines_database).all().delete()


@pytest.fixture
def no_suppressions() -> Iterator[None]:
    """A site on whose suppression list nobody is."""
    lookup = registry.suppression_lookup
    registry.register_suppressions(None)
    yield
    registry.register_suppressions(lookup)
