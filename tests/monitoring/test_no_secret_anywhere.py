"""Secrets that come back in any reply, or stand in any option, are on no surface: rows, logs, pages, JSON, metrics."""

import json
import logging
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import StringIO
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reliable_email.backends import ReliableSMTPBackend
from reliable_email.backends.routes import mailer
from reliable_email.exceptions import DeliveryError
from reliable_email.monitoring.metrics import exposition
from reliable_email.monitoring.tracing import instrument, uninstrument
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing import deliver_outbox, outbox_over
from reliable_email.testing.reset import reset
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.test_secrets import page_about, told_by
from tests.smtp.test_oauth import serving
from tests.thoroughness import IS_THOROUGH

PASSWORD = "pl4nted-S3cret/w0rd"
CLIENT_SECRET = "c1ient+pl4nted-secret"
REFRESH = "1//r3fresh-pl4nted"
TOKEN = "ya29.pl4nted-t0ken"
KEY = Fernet.generate_key().decode()
HEALTH_TOKEN = "h3alth-pl4nted-t0ken"
SECRETS = (PASSWORD, CLIENT_SECRET, REFRESH, TOKEN, KEY, HEALTH_TOKEN)
PAGES = ("", "messages/", "routes/", "failures/", "workers/", "record/", "suppressions/", "people/", "health/")
FORMS = {
    "plain": lambda secret: secret,
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "behind the name": lambda secret: b64encode(f"\0ana\0{secret}".encode()).decode(),
    "percent": lambda secret: quote(secret, safe=""),
    "every percent": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
}
POSITIONS = {
    "greeting": {"greeting": "554 no {}"},
    "welcome": {"greeting": "220 hello {}"},
    "EHLO": {"ehlo": "554 no {}", "helo": "554 no {}"},
    "capability": {"ehlo": "250-here\n250-X-{}\n250 AUTH PLAIN LOGIN"},
    "challenge": {"auth_command": "334 {}"},
    "AUTH": {"auth": "535 5.7.8 no {}"},
    "AUTH for now": {"auth": "454 4.7.0 no {}"},
    "AUTH as such": {"auth_command": "504 5.5.4 no {}"},
    "MAIL": {"mail": "550 5.7.1 no {}"},
    "RCPT": {"rcpt": "550 5.1.1 no {}"},
    "RCPT for now": {"rcpt": "450 4.2.0 no {}"},
    "DATA": {"data": "554 no {}"},
    "final": {"final_reply": "554 5.6.0 no {}"},
    "final in lines": {"final_reply": "554-no\n554-{}\n554 sorry"},
    "taken": {"final_reply": "250 2.0.0 taken {}"},
    "no reply": {"mail": "hello {}"},
}
pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.urls")]


def echoed(name: str, places: Iterable[str], *forms: str, alone_at: str) -> pytest.MarkDecorator:
    """Try all forms in one reply at each place, and each form alone at one place; in a thorough run at each.

    How a form is found does not depend on the place, and where it would show does not depend on the form. But a form
    may be found only because another one in the same reply had the reply looked at.
    """
    together = [(place, forms) for place in places]
    alone = [(place, (form,)) for place in (places if IS_THOROUGH else [alone_at]) for form in forms]
    ids = [f"{place}-{' and '.join(tried)}" for place, tried in together + alone]
    return pytest.mark.parametrize((name, "forms"), together + alone, ids=ids)


def written(secret: str, forms: tuple[str, ...]) -> str:
    """The secret in each of these forms."""
    return " ".join(FORMS[form](secret) for form in forms)


@cache
def spellings(secret: str) -> set[str]:
    """What nobody may read."""
    return {form(secret).rstrip("=") for form in FORMS.values()} | {quote_plus(secret), repr(secret)[1:-1]}


def assert_clean(told: dict[str, str]) -> None:
    """No form of a secret on any surface; which one is named, not the secret."""
    found = [
        (name, n)
        for name, text in told.items()
        for n, one in enumerate(SECRETS)
        for form in spellings(one)
        if form in text
    ]
    assert not found


def rows() -> str:
    """Every value of every row of the app's tables."""
    models = apps.get_app_config("reliable_email").get_models()
    return repr([row for model in models for row in model._base_manager.values()])


def said_by(*arguments: str) -> str:
    """What a command prints, whatever its exit code."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except (CommandError, SystemExit) as error:
        return out.getvalue() + str(error)
    return out.getvalue()


@contextmanager
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[dict[str, str]]:
    """Look at every surface at the end of the block."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(provider)
    caplog.set_level(logging.DEBUG)
    told: dict[str, str] = {}
    try:
        yield told
        told["rows"] = rows()
        number = OutboxMessage.objects.latest("pk").pk
        client = Client()
        client.force_login(User.objects.create_superuser("olga"))
        for page in (*PAGES, f"messages/{number}/", f"messages/{number}/content/"):
            told[f"page {page}"] = client.get(f"/mail/{page}").content.decode()
        told["metrics"] = exposition()[0].decode()
        for command in (("email_outbox", "status"), ("email_outbox", "show", str(number)), ("email_routes", "list")):
            told[" ".join(command)] = said_by(*command)
            told[" ".join(command) + " JSON"] = said_by(*command, "--json")
        told["reprs"] = repr(mailer("route1")) + repr(mail.mailers["route1"] if hasattr(mail, "mailers") else "")
        told["traces"] = "".join(span.to_json() for span in exporter.get_finished_spans())
        told["logs"] = caplog.text + repr([vars(record) for record in caplog.records])
        told["test_email"] = said_by("test_email", "--to", "a@example.net", "--verbose", "--json")
    finally:
        uninstrument()
        provider.shutdown()


def letter() -> EmailMessage:
    """A small message."""
    return EmailMessage("hello", "text", "shop@example.org", ["a@example.net"])


def through_both_doors(entry: dict[str, Any], caplog: pytest.LogCaptureFixture, **keys: Any) -> None:
    """Send by the queue and directly, and look everywhere."""
    with (
        override_settings(RELIABLE_EMAIL={"HEALTH_TOKENS": [HEALTH_TOKEN], **keys}),
        outbox_over(entry),
        watched(caplog) as told,
    ):
        letter().send()
        deliver_outbox()
        one = letter()
        try:
            ReliableSMTPBackend(alias="direct", **entry["OPTIONS"]).send_messages([one])
        except DeliveryError as error:
            told["error"], told["error page"] = told_by(error), page_about(error)
        told["report"] = repr(one.delivery) + json.dumps([str(o) for o in one.delivery.recipients.values()])  # type: ignore[attr-defined]
    reset()
    assert len(told) >= 20
    assert_clean(told)


@echoed("position", POSITIONS, "plain", "behind the name", "every percent", alone_at="final")
def test_a_secret_that_a_server_gives_back_is_on_no_surface(
    position: str, forms: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """In whichever reply, by both doors."""
    echo = written(PASSWORD, forms)
    script = Script(**{stage: text.replace("{}", echo) for stage, text in POSITIONS[position].items()})
    with ScriptedServer(script, script, script, script, login={"ana": PASSWORD}) as server:
        options = server.options(max_attempts=1, timeout=5)
        entry = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}
        through_both_doors(entry, caplog)


ANSWERS = {
    "refused": lambda echo: (400, {"error": "invalid_grant", "error_description": echo}),
    "server error": lambda echo: (500, {"error": "server_error", "error_description": echo}),
    "named by it": lambda echo: (400, {"error": echo}),
    "no JSON": lambda echo: (400, echo.encode()),
    "no object": lambda echo: (200, [echo]),
    "no token": lambda echo: (200, {"token": echo}),
    "a token of an odd kind": lambda echo: (200, {"access_token": TOKEN, "token_type": echo, "expires_in": echo}),
}


@echoed("answer", ANSWERS, "plain", "base64", "percent", alone_at="refused")
def test_a_secret_that_a_token_endpoint_gives_back_is_on_no_surface(
    answer: str, forms: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The form that was posted, repeated in any field; and a token that the mail server repeats."""
    echo = " ".join(written(one, forms) for one in (CLIENT_SECRET, REFRESH))
    script = Script(auth=f"535 5.7.8 no {written(TOKEN, forms)}")
    with serving() as endpoint, ScriptedServer(script, script, script, login={"ana": PASSWORD}) as server:
        endpoint.answer = lambda posted: ANSWERS[answer](echo)
        grant = {
            "grant": "refresh_token",
            "client_id": "client",
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH,
            "token_url": endpoint.url,
        }
        options = server.options(max_attempts=1, timeout=5) | {"token_provider": grant}
        options.pop("password")
        entry = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}
        through_both_doors(entry, caplog)


@pytest.mark.parametrize("position", ["welcome", "capability", "challenge", "AUTH", "MAIL", "RCPT for now", "final"])
def test_one_token_that_is_name_and_password_is_on_no_surface(position: str, caplog: pytest.LogCaptureFixture) -> None:
    """As providers of APIs have it, on a site that encrypts what it stores."""
    script = Script(**{stage: text.replace("{}", TOKEN) for stage, text in POSITIONS[position].items()})
    with ScriptedServer(script, script, script, script, login={TOKEN: TOKEN}) as server:
        options = server.options(max_attempts=1, timeout=5, username=TOKEN, password=TOKEN)
        entry = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}
        through_both_doors(entry, caplog, ENCRYPTION_KEYS=[KEY])
