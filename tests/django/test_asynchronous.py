"""Mail from coroutines: under ASGI, by both doors, and what is said where somebody writes it the plain way."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.core.mail import EmailMessage, send_mail
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient
from django.urls import path

from reliable_email import DeliveryError, Priority, asend, asubmit, delivery_of, submit
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, message, received


async def sends(request: HttpRequest) -> JsonResponse:
    """Sends by the default mailer."""
    one, two = message(A), message(B)
    counts = await asyncio.gather(asend(one), asend(two))
    return JsonResponse({"counts": counts, "outcomes": [str(delivery_of(one).recipients[A].outcome)]})


async def submits(request: HttpRequest) -> JsonResponse:
    """Queues with a wish."""
    row = await asubmit(message(A), priority=Priority.HIGH, idempotency_key="order 7")
    return JsonResponse({"id": row.pk})


async def plain(request: HttpRequest) -> JsonResponse:
    """Forgets that it is a coroutine."""
    calls: dict[str, Callable[[], Any]] = {
        "send": lambda: message(A).send(),
        "send_mail": lambda: send_mail("s", "b", "me@example.org", [A]),
        "submit": lambda: submit(message(A)),
    }
    said = {}
    for name, call in calls.items():
        try:
            call()
        except SynchronousOnlyOperation as error:
            said[name] = str(error)
    return JsonResponse(said)


urlpatterns = [path("sends", sends), path("submits", submits), path("plain", plain)]


def get(address: str) -> dict[str, Any]:
    """Ask the site by ASGI."""

    async def ask() -> Any:
        return (await AsyncClient().get(f"/{address}")).json()

    found: dict[str, Any] = async_to_sync(ask)()
    return found


@pytest.fixture
def site(server: ScriptedServer, settings: Any, overrides: list[Any], db: None) -> Callable[..., None]:
    """A site whose default is one of the doors."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []

    def use(door: str) -> None:
        entries: dict[str, Any] = {"routes": {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5)}}
        entries["default"] = (
            {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}}
            if door == "queue"
            else entries["routes"]
        )
        override = use_mailers(entries)
        override.enable()
        overrides.append(override)

    return use


def test_asend_sends_directly(site: Any, server: ScriptedServer) -> None:
    """Also two at once, in one request."""
    site("direct")
    assert get("sends") == {"counts": [1, 1], "outcomes": ["accepted"]}
    assert sorted(received(server)) == [(A,), (B,)]


def test_asend_queues_where_the_mailer_is_an_outbox(site: Any, server: ScriptedServer) -> None:
    """In the request's database connection."""
    site("queue")
    assert get("sends") == {"counts": [1, 1], "outcomes": ["queued"]}
    assert OutboxMessage.objects.count() == 2
    assert received(server) == []


def test_asubmit_gives_the_row(site: Any) -> None:
    """With the wishes of one message, once for one key."""
    site("queue")
    assert get("submits") == get("submits") == {"id": OutboxMessage.objects.get().pk}


def test_a_plain_call_of_the_queue_says_what_to_write(site: Any) -> None:
    """Not only that the database cannot be asked."""
    site("queue")
    said = get("plain")
    assert "await reliable_email.asend(message)" in said["send"]
    assert "await reliable_email.asend(message)" in said["send_mail"]
    assert "await reliable_email.asubmit(" in said["submit"]
    assert not OutboxMessage.objects.exists()


def test_a_named_mailer_and_its_errors(overrides: list[Any], db: None) -> None:
    """As `send()` raises them."""
    with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as picky:
        override = use_mailers(
            {
                "default": {"BACKEND": SMTP, "OPTIONS": {"host": "h"}},
                "other": {"BACKEND": SMTP, "OPTIONS": picky.options()},
            }
        )
        override.enable()
        overrides.append(override)
        one = message(A)
        with pytest.raises(DeliveryError):
            async_to_sync(asend)(one, using="other")
        assert delivery_of(one).rejected == [A]
        assert async_to_sync(asend)(EmailMessage("s", "b", "me@example.org", []), using="other") == 0
