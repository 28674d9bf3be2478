"""A watch outlives its database."""

import django
import pytest
from django.db.utils import OperationalError
from django.test import override_settings

from reliable_email.diagnosis.verdict import Health
from reliable_email.management.screens.looking import Looker
from reliable_email.management.screens.outbox_view import OutboxView
from reliable_email.management.screens.watching import PlainWatchScreen, watch


class Looks:
    """What there is to see, look by look; Ctrl-C at the end."""

    def __init__(self, *found: OutboxView | Exception) -> None:
        self._found = iter(found)

    def __call__(self) -> OutboxView:
        """The next one."""
        one = next(self._found, None)
        if one is None:
            raise KeyboardInterrupt
        if isinstance(one, Exception):
            raise one
        return one


def watched(*found: OutboxView | Exception) -> tuple[Health, list[str]]:
    """The verdict at the end, and the lines."""
    lines: list[str] = []
    health = watch(Looks(*found), PlainWatchScreen(lines.append), using="default", sleep=lambda seconds: None)
    return health, lines


@pytest.fixture
def view(transactional_db: None) -> OutboxView:
    """An empty outbox, with which all is well."""
    mailers = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
        "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
    }
    older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
    with override_settings(MAILERS=mailers, **older):
        return Looker("default").look()


def test_a_database_that_is_away_is_said_once_and_asked_again(view: OutboxView) -> None:
    """When it is back, so is the view."""
    away = OperationalError("connection refused\nIs the server running?")
    health, lines = watched(view, away, away, view)
    assert health is Health.HEALTHY
    assert [line.partition(" ")[2] if line[0].isdigit() else line for line in lines] == [
        "empty. Status: HEALTHY",
        "The database 'default' does not answer: connection refused Is the server running?",
        "empty. Status: HEALTHY",
    ]


def test_who_gives_up_while_it_is_away_gets_no_healthy_verdict(view: OutboxView) -> None:
    """Nothing is known then."""
    assert watched(view, OperationalError("gone"))[0] is Health.UNHEALTHY
    assert watched()[0] is Health.UNHEALTHY
