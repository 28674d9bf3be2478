"""The site's mail as a check of django-health-check, by that package's own view."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core import mail
from django.test import RequestFactory
from health_check.views import HealthCheckView

from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

CHECK = "reliable_email.integrations.health_check.EmailCheck"


@pytest.fixture
def ask(site: str) -> Callable[..., tuple[int, str]]:
    """Status and text of its view with our check alone."""

    def get(**options: Any) -> tuple[int, str]:
        view = HealthCheckView.as_view(checks=[(CHECK, {"database": site, **options})])
        response = async_to_sync(view)(RequestFactory().get("/", {"format": "text"}))
        return response.status_code, response.content.decode()

    return get


def test_healthy_is_ok(ask: Callable[..., tuple[int, str]]) -> None:
    """As every other check."""
    code, text = ask()
    assert (code, text.strip().endswith(": OK")) == (200, True)


def test_unhealthy_is_unavailable_with_its_remedy(ask: Callable[..., tuple[int, str]]) -> None:
    """The text is the finding's."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    code, text = ask()
    assert code == 500
    assert "Unavailable: messages are due and no worker was seen within a day. Start “manage.py email_worker”" in text


def test_degraded_is_a_warning_that_can_be_tolerated(site: str, ask: Callable[..., tuple[int, str]]) -> None:
    """Its view answers 500 for warnings."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    OutboxRecipient.objects.using(site).update(state=State.PARKED, due_at=None)
    code, text = ask()
    assert (code, "Warning: 1 recipient is parked" in text) == (500, True)
    assert ask(tolerates_degraded=True)[0] == 200
