"""Probes over HTTP: liveness asks nothing, readiness gives the verdict, and neither tells a stranger anything."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import mail
from django.test import Client, RequestFactory
from django.urls import reverse

from reliable_email import conf
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from reliable_email.views.health import health
from tests.monitoring.conftest import outbox_mailers

TOKEN = "token-of-the-monitor"
PROTECTED = ["/mail/health/", "/mail/metrics/"]
MakeSite = Callable[..., None]
pytestmark = pytest.mark.urls("tests.urls")


@pytest.fixture
def ask(site: str, make_site: MakeSite, server: ScriptedServer) -> Callable[..., Any]:
    """Asks as a monitor with the second of two tokens."""
    make_site(outbox_mailers(site, server.port, server.port), HEALTH_TOKENS=["another-token", TOKEN])

    def get(path: str = "/mail/health/", *, token: str = TOKEN, **headers: str) -> Any:
        return Client().get(path, headers={"Authorization": f"Bearer {token}", **headers})

    return get


def test_liveness_asks_nothing() -> None:
    """For anybody, without the database (which this test may not use)."""
    response = Client().get("/mail/live/")
    assert (response.status_code, response.content) == (200, b"alive\n")
    assert "no-store" in response["Cache-Control"]


def test_the_pages_have_names() -> None:
    """For templates."""
    assert [reverse(f"reliable_email:{name}") for name in ("live", "health", "metrics")] == [
        "/mail/live/",
        "/mail/health/",
        "/mail/metrics/",
    ]


def test_a_healthy_site_is_200(ask: Callable[..., Any]) -> None:
    """In text where nothing else is asked for."""
    response = ask()
    assert (response.status_code, response.content, response["Content-Type"]) == (
        200,
        b"HEALTHY\n",
        "text/plain; charset=utf-8",
    )
    assert "no-store" in response["Cache-Control"]


def test_an_unhealthy_site_is_503_and_says_what_to_do(ask: Callable[..., Any]) -> None:
    """Verdict, finding, remedy."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    response = ask()
    first, finding, remedy = response.content.decode().splitlines()
    assert (response.status_code, first) == (503, "UNHEALTHY")
    assert finding.startswith("unhealthy: messages are due and no worker was seen within a day, since 20")
    assert remedy.startswith("  Start “manage.py email_worker”")


def test_a_degraded_site_is_200(ask: Callable[..., Any], site: str) -> None:
    """Mail goes out, and no load balancer has a reason to stop sending people here."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    OutboxRecipient.objects.using(site).update(state=State.PARKED, due_at=None)
    response = ask()
    assert (response.status_code, response.content.decode().splitlines()[0]) == (200, "DEGRADED")


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        pytest.param("/mail/health/", "application/json", id="by Accept"),
        pytest.param("/mail/health/?format=json", "text/html", id="by the query"),
    ],
)
def test_programs_get_json(ask: Callable[..., Any], path: str, accept: str) -> None:
    """With stable keys."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    told = ask(path, Accept=accept).json()
    assert set(told) == {"schema", "status", "reason", "since", "at", "findings"}
    assert (told["schema"], told["status"]) == (1, "unhealthy")
    assert set(told["findings"][0]) == {"status", "text", "remedy", "since", "topic", "name", "runbook"}


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Authorization": "Bearer wrong"}, id="a wrong token"),
        pytest.param({"Authorization": "Bearer "}, id="an empty token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="another scheme"),
        pytest.param({"Authorization": "Bearer tökén"}, id="not ASCII"),
    ],
)
def test_strangers_learn_nothing(ask: Callable[..., Any], path: str, headers: dict[str, str]) -> None:
    """Neither a verdict nor a token that was near."""
    response = Client().get(path, headers=headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN.encode() not in response.content
    assert b"HEALTHY" not in response.content


def test_where_no_token_is_set_none_fits(site: str) -> None:
    """An empty setting lets nobody in."""
    assert Client().get("/mail/health/", headers={"Authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize(
    ("user", "status"),
    [
        pytest.param(User(is_staff=True), 200, id="staff"),
        pytest.param(User(is_staff=False), 403, id="a customer"),
        pytest.param(User(is_staff=True, is_active=False), 403, id="somebody who has left"),
        pytest.param(AnonymousUser(), 401, id="nobody"),
    ],
)
def test_staff_need_no_token(site: str, user: Any, status: int) -> None:
    """By the session of the admin."""
    request = RequestFactory().get("/mail/health/")
    request.user = user
    assert health(request).status_code == status


def test_tokens_are_in_no_repr(ask: Callable[..., Any]) -> None:
    """As the encryption keys."""
    assert TOKEN not in repr(conf.get())


@pytest.mark.parametrize("tokens", [[""], ["good", " "], 7])
def test_an_empty_token_is_a_wrong_setting(settings: Any, tokens: Any) -> None:
    """An environment variable that is not set must not open the door."""
    settings.RELIABLE_EMAIL = {"HEALTH_TOKENS": tokens}
    [problem] = conf.key_problems()
    assert "HEALTH_TOKENS" in problem.text
    assert "good" not in problem.text


def test_it_is_asked_outside_of_the_requests_transaction() -> None:
    """Route state is not read inside one, and a verdict without it would be wrong."""
    assert "default" in health._non_atomic_requests  # type: ignore[attr-defined]
