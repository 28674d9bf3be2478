"""The tables that users get."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

OURS = "reliable_email"


def _tables() -> set[str]:
    return {name for name in connection.introspection.table_names() if name.startswith(f"{OURS}_")}


@pytest.mark.django_db
def test_models_and_migrations_say_the_same() -> None:
    """Nobody's `makemigrations` finds work in our app."""
    call_command("makemigrations", OURS, check_changes=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_taken_back_and_made_again() -> None:
    """Uninstalling leaves no table of ours; a second installation makes the same ones."""
    tables = _tables()
    assert tables
    try:
        call_command("migrate", OURS, "zero", verbosity=0)
        assert _tables() == set()
    finally:
        call_command("migrate", OURS, verbosity=0)
    assert _tables() == tables
