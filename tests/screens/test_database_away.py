"""A watch outlives its database."""

import pytest
from django.db.utils import OperationalError

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


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_said_once_and_asked_again() -> None:
    """When it is back, so is the view."""
    view = Looker("default").look()
    away = OperationalError("connection refused\nIs the server running?")
    health, lines = watched(view, away, away, view)
    assert health is Health.HEALTHY
    assert [line.partition(" ")[2] if line[0].isdigit() else line for line in lines] == [
        "empty. Status: HEALTHY",
        "The database 'default' does not answer: connection refused Is the server running?",
        "empty. Status: HEALTHY",
    ]


@pytest.mark.django_db(transaction=True)
def test_who_gives_up_while_it_is_away_gets_no_healthy_verdict() -> None:
    """Nothing is known then."""
    assert watched(Looker("default").look(), OperationalError("gone"))[0] is Health.UNHEALTHY
    assert watched()[0] is Health.UNHEALTHY
