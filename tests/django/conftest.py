"""Backends and messages for the tests of the doors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.test.utils import override_settings

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.mailers import mailers
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer

SENDER = "a@example.org"
SMTP = "reliable_email.backends.ReliableSMTPBackend"
DEFAULT_MAILER = "reliable_email.backends.DefaultMailer"
_SETTING_OF = {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD", "max_attempts": "EMAIL_MAX_RETRIES"}

Configure = Callable[[dict[str, Any]], BaseEmailBackend]


def message(*recipients: str, **fields: Any) -> EmailMessage:
    """A small message."""
    options = {"subject": "hello", "body": "Text.\n", "from_email": SENDER} | fields
    return EmailMessage(to=list(recipients or ("b@example.net",)), **options)


def backend_for(server: ScriptedServer, **options: Any) -> ReliableSMTPBackend:
    """A backend for a scripted server, with short times."""
    chosen = server.options() | {"timeout": 5, "final_reply_timeout": 1, "local_hostname": "client.test"} | options
    return ReliableSMTPBackend(alias="scripted", **chosen)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers that end with the test."""
    servers: list[ScriptedServer] = []

    def start(*scripts: Script, **options: Any) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, **options).start())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def use_mailers(entries: dict[str, Any]) -> override_settings:
    """MAILERS as a project of any Django version has them."""
    if django.VERSION >= (6, 1):
        return override_settings(MAILERS=entries)
    return override_settings(MAILERS=entries, EMAIL_BACKEND=DEFAULT_MAILER)


@contextlib.contextmanager
def use_email_settings(**values: Any) -> Iterator[None]:
    """A project without MAILERS, with these settings and this package's backend."""
    with override_settings():
        _set_email_settings(values)
        yield


def _set_email_settings(values: Mapping[str, Any]) -> None:
    if hasattr(django_settings, "MAILERS"):
        del django_settings.MAILERS
    for name, value in {"EMAIL_BACKEND": SMTP, **values}.items():
        setattr(django_settings, name, value)


@pytest.fixture
def overrides() -> Iterator[list[override_settings]]:
    """Settings that end with the test."""
    kept: list[override_settings] = []
    yield kept
    for override in reversed(kept):
        override.disable()


@pytest.fixture(params=["MAILERS", "EMAIL_*"])
def configure(request: pytest.FixtureRequest, overrides: list[override_settings]) -> Configure:
    """Configures the default mailer with these options; gives its backend as Django would make it."""

    def by_mailers(options: dict[str, Any]) -> BaseEmailBackend:
        override = use_mailers({"default": {"BACKEND": SMTP, "OPTIONS": options}})
        override.enable()
        overrides.append(override)
        return mailers["default"]

    def by_settings(options: dict[str, Any]) -> BaseEmailBackend:
        override = override_settings()
        override.enable()
        overrides.append(override)
        _set_email_settings({_SETTING_OF.get(name, f"EMAIL_{name.upper()}"): one for name, one in options.items()})
        return mailers["default"]

    return by_mailers if request.param == "MAILERS" else by_settings


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A correct server, without TLS."""
    with ScriptedServer() as one:
        yield one
