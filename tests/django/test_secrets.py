"""No secret is in an exception, in a frame of ours that it came through, or on Django's page about it."""

import contextlib
import logging
import traceback
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.test.utils import override_settings
from django.views.debug import ExceptionReporter

import reliable_email
from reliable_email import env
from reliable_email.backends import FailoverBackend, OutboxBackend, ReliableSMTPBackend
from reliable_email.exceptions import DeliveryError
from reliable_email.mailers import MailersHandler
from reliable_email.testing.reset import reset
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer

PASSWORD = "pl4nted-S3cret-w0rd"
TOKEN = "ya29.pl4nted-t0ken-value"
OURS = str(Path(reliable_email.__file__).parent)
FORMS = (
    PASSWORD,
    TOKEN,
    b64encode(PASSWORD.encode()).decode().rstrip("="),
    b64encode(f"\0ana\0{PASSWORD}".encode()).decode().rstrip("="),
    b64encode(TOKEN.encode()).decode().rstrip("="),
)


def token_that_fails() -> str:
    """A project's token provider whose error quotes what it has."""
    raise RuntimeError(f"cannot renew {TOKEN}")


def token_of_the_test() -> str:
    """A token provider."""
    return TOKEN


def told_by(error: BaseException) -> str:
    """All that an error tracker sees of it in our frames: texts, and each local variable."""
    parts, seen, left = [], set(), [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts += [str(one), repr(one), repr(vars(one))]
        parts += [repr(local) for local in _locals(one.__traceback__)]
        left += [part for part in (one.__cause__, one.__context__) if part is not None]
    return "\n".join(parts)


def _locals(trace: TracebackType | None) -> list[object]:
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    return [value for frame in frames if frame.f_code.co_filename.startswith(OURS) for value in frame.f_locals.values()]


def page_about(error: BaseException) -> str:
    """Django's technical error page."""
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
    for frame in (data := reporter.get_traceback_data())["frames"]:
        if not frame["filename"].startswith(OURS):
            frame["vars"] = []
    return "\n".join([str(data.get("exception_value")), *(repr(frame.get("vars")) for frame in data["frames"])])


def assert_clean(text: str) -> None:
    """No form of a secret."""
    for form in FORMS:
        assert form not in text
        assert quote(form, safe="") not in text


WRONG: dict[str, dict[str, Any]] = {
    "unknown option": {"pasword": PASSWORD},
    "both TLS modes": {"use_tls": True, "use_ssl": True},
    "bad port": {"port": "no"},
    "no host": {"host": ""},
    "unverified": {"ssl_verify": False, "use_tls": True},
    "bad pin": {"ssl_pin": "xyz"},
    "missing file": {"ssl_cafile": "/nowhere"},
    "unknown provider": {"provider": "gmial"},
    "bad auth": {"auth": "scram"},
    "bad token provider": {"token_provider": {"grant": "refresh_token", "client_secret": PASSWORD, "bad": TOKEN}},
    "token provider of no kind": {"token_provider": {"grant": "nothing", "refresh_token": TOKEN}},
    "raising token provider": {"token_provider": {"path": "builtins.int", "x": PASSWORD}},
    "bad quota": {"quota": "lots"},
    "bad name": {"tls_server_name": "a b"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mailer_that_cannot_work_keeps_its_password(name: str) -> None:
    """Whatever is wrong with it."""
    options = {"host": "mail.example.test", "username": "ana", "password": PASSWORD, **WRONG[name]}
    with pytest.raises(ImproperlyConfigured) as caught:
        ReliableSMTPBackend(alias="x", **options)
    assert_clean(told_by(caught.value))
    assert_clean(page_about(caught.value))


@pytest.mark.parametrize("door", [FailoverBackend, OutboxBackend])
def test_a_door_keeps_what_it_was_given(door: Callable[..., Any]) -> None:
    """Also options that do not belong to it."""
    with pytest.raises(ImproperlyConfigured) as caught:
        door(alias="x", using=["y"], password=PASSWORD)
    assert_clean(told_by(caught.value))


@pytest.mark.parametrize(
    "environ",
    [
        {"EMAIL_HOST": "h", "EMAIL_HOST_USER": "u", "EMAIL_HOST_PASSWORD": PASSWORD, "EMAIL_PORT": "no"},
        {"EMAIL_URL": f"smtp://u:{PASSWORD}@h:x"},
        {"EMAIL_URL": f"smtpx://u:{PASSWORD}@h"},
        {"EMAIL_URL": f"smtp://u:{PASSWORD}@h?bad=1"},
        {"EMAIL_URL": f"smtp://u:{PASSWORD}@h", "EMAIL_HOST_PASSWORD": PASSWORD},
        {"EMAIL_PROVIDER": "nobody", "EMAIL_HOST_PASSWORD": PASSWORD},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD": PASSWORD, "EMAIL_HOST_PASSWORD_FILE": "/x"},
        {"EMAIL_HOST": "h", "EMAIL_TOKEN_PROVIDER": "refresh_token", "EMAIL_TOKEN_CLIENT_SECRET": PASSWORD},
    ],
)
def test_an_environment_that_cannot_work_keeps_its_secrets(environ: dict[str, str]) -> None:
    """It holds those of the whole site."""
    try:
        env.mailers({**environ, "OTHER_SECRET": TOKEN})
    except ImproperlyConfigured as error:
        assert_clean(told_by(error))


SCRIPTS = {
    "greeting": "554 {}",
    "ehlo": "554 {}",
    "auth": "535 5.7.8 {}",
    "mail": "550 5.7.1 {}",
    "rcpt": "550 5.1.1 {}",
    "data": "554 {}",
    "final_reply": "554 5.6.0 {}",
}


@pytest.mark.parametrize("stage", SCRIPTS)
@pytest.mark.parametrize("form", range(len(FORMS)))
def test_a_server_that_gives_a_secret_back_is_not_repeated(
    stage: str, form: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the error, its report, its frames, nor in the log."""
    if form in (1, 4) and stage in ("greeting", "ehlo"):
        pytest.skip("the token is asked for at AUTH, and no server knows it before")
    caplog.set_level(logging.DEBUG)
    reset()
    echo = Script(**{stage: SCRIPTS[stage].format(FORMS[form])})
    with ScriptedServer(echo, login={"ana": PASSWORD}) as server:
        options = server.options(max_attempts=1, timeout=5)
        if form in (1, 4):
            options |= {"token_provider": token_of_the_test, "password": ""}
            server.rules.tokens["ana"] = TOKEN
        message = EmailMessage("s", "b", "a@example.com", ["b@example.net"])
        with pytest.raises(DeliveryError) as caught:
            ReliableSMTPBackend(alias="x", **options).send_messages([message])
        with (
            pytest.raises(DeliveryError)
            if stage in ("greeting", "ehlo", "auth")
            else contextlib.nullcontext() as opened
        ):
            ReliableSMTPBackend(alias="x", **options).open()
    reset()
    assert_clean(told_by(caught.value))
    assert_clean(page_about(caught.value))
    if opened is not None:
        assert_clean(told_by(opened.value))
    assert_clean(repr(message.delivery))  # type: ignore[attr-defined]
    assert_clean(caplog.text)


def test_a_token_provider_that_fails_is_told_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    """Its words may quote what it has; the message's failure is the route's."""
    reset()
    with ScriptedServer(login={"ana": PASSWORD}) as server:
        options = server.options(token_provider=token_that_fails, password="", max_attempts=1, timeout=5)
        with pytest.raises(DeliveryError) as caught:
            ReliableSMTPBackend(alias="x", **options).send_messages([EmailMessage("s", "b", "a@b.test", ["c@d.test"])])
        with pytest.raises(DeliveryError) as opened:
            ReliableSMTPBackend(alias="x", **options).open()
    reset()
    assert "RuntimeError" in str(caught.value)
    assert_clean(told_by(caught.value) + told_by(opened.value) + caplog.text)


def test_the_handler_of_mailers_keeps_what_it_reads() -> None:
    """What stands in MAILERS, for a backend of somebody else's, too."""
    options = {"host": "h", "username": "ana", "password": PASSWORD, "use_tls": True, "use_ssl": True}
    for backend in ("reliable_email.backends.ReliableSMTPBackend", "django.core.mail.backends.smtp.EmailBackend"):
        entries = {"default": {"BACKEND": backend, "OPTIONS": options}}
        with (
            override_settings(MAILERS=entries),
            pytest.raises(ImproperlyConfigured) as caught,
        ):
            MailersHandler().create_connection("default")
        assert_clean(told_by(caught.value))
