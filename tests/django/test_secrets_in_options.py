"""A secret in any option, variable or key that can hold one is in no error, frame or page about it, right or wrong."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from reliable_email import backends, conf, env
from reliable_email.backends.reading.options import (
    ERROR_MAIL_OPTIONS,
    FAILOVER_OPTIONS,
    OUTBOX_OPTIONS,
    SMTP_OPTIONS,
)
from reliable_email.backends.reading.tokens import GRANTS
from reliable_email.checks import configuration_messages
from reliable_email.outbox.keyring import configured_keyring
from tests.django.test_secrets import page_about, told_by

SECRET = "pl4nted-S3cret-w0rd"
PEM = f"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI{SECRET}\n-----END EC PRIVATE KEY-----\n"
JSON_KEY = f' {{"type": "service_account", "private_key": "{SECRET}"}}'
DOORS: Mapping[str, Collection[str]] = {
    "ReliableSMTPBackend": SMTP_OPTIONS,
    "FailoverBackend": FAILOVER_OPTIONS,
    "OutboxBackend": OUTBOX_OPTIONS,
    "ErrorMailBackend": ERROR_MAIL_OPTIONS,
}
# What may be taken for a place of its own: the secret stands in it, where a name or a path should.
MISPLACED: list[dict[str, Any]] = [
    *({name: content} for name in ("ssl_keyfile", "ssl_certfile", "ssl_cafile") for content in (PEM, JSON_KEY)),
    {"token_provider": SECRET},
    {"token_provider": f"ya29.a0-{SECRET}"},
    {"token_provider": f"eyJ0eXAi.{SECRET}.c2ln"},
    {"token_provider": [SECRET]},
    {"token_provider": {"path": SECRET}},
    {"token_provider": {"grant": "service_account", "key_file": JSON_KEY, "username": "a@example.com"}},
    {"token_provider": {"grant": "certificate", "key_file": PEM, "client_id": "c", "tenant": "t", "thumbprint": "0"}},
    {"host": f"smtp://ana:{SECRET}@h.test"},
    {"host": f"ana:{SECRET}@h.test"},
    {"password": f"{SECRET}\n"},
    {"password": SECRET.encode()},
    {"password": [SECRET]},
]


def refusal(make: Callable[[], object]) -> str:
    """All that a refused configuration tells of itself and its frames."""
    with pytest.raises(ImproperlyConfigured) as caught:
        make()
    return told_by(caught.value) + page_about(caught.value)


def everything_told(make: Callable[[], object]) -> str:
    """The same, or the repr of what was made."""
    try:
        return repr(make())
    except ImproperlyConfigured as error:
        return told_by(error) + page_about(error)


@pytest.mark.parametrize("wrong", [object(), "\0", -1, [[]], "é\n"], ids=["object", "NUL", "number", "list", "line"])
@pytest.mark.parametrize(("door", "name"), [(door, name) for door, names in DOORS.items() for name in names])
def test_whichever_option_is_wrong_the_secrets_beside_it_are_kept(door: str, name: str, wrong: Any) -> None:
    """Every option of every door; what cannot be used is a mistake in the configuration, and no other exception."""
    if door == "ReliableSMTPBackend":
        grant = {"grant": "refresh_token", "service": "google", "client_id": "c", "refresh_token": SECRET}
        options = {"host": "h.test", "username": "ana", "password": SECRET, name: wrong}
        told = everything_told(lambda: backends.ReliableSMTPBackend(alias="x", **{"token_provider": grant} | options))
    else:
        given = {"using": "a", "password": SECRET, name: wrong}
        told = everything_told(lambda: getattr(backends, door)(alias="x", **given))
    assert SECRET not in told


@pytest.mark.parametrize("options", MISPLACED, ids=lambda options: next(iter(options)))
def test_a_secret_where_a_path_or_a_name_should_stand_is_not_repeated(options: dict[str, Any]) -> None:
    """Environments tempt to give a key in place of its file."""
    entry = {"host": "h.test", "username": "ana", "use_tls": True, **options}
    assert SECRET not in refusal(lambda: backends.ReliableSMTPBackend(alias="x", **entry))


@pytest.mark.parametrize("grant", GRANTS)
def test_no_grant_shows_what_it_was_given(grant: str) -> None:
    """Each argument that is one of a secret, with one missing, one too many, and as it is."""
    secrets = {"client_secret": SECRET, "refresh_token": SECRET}
    for more in ({}, {"client_id": "c"}, {"client_id": "c", "tenant": "t", "service": "microsoft"}, {"odd": SECRET}):
        options = {"host": "h.test", "username": "ana", "token_provider": {"grant": grant, **secrets, **more}}
        told = everything_told(lambda given=options: backends.ReliableSMTPBackend(alias="x", **given))  # type: ignore[misc]
        assert SECRET not in told


def environments(folder: Path) -> list[dict[str, str]]:
    """Each cannot work."""
    files = {
        "secret": SECRET.encode(),
        "binary": SECRET.encode() + b"\xff\xfe",
        "url": f"smtp://u:{SECRET}@h:x".encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": str(folder / "secret"), "EMAIL_PORT": "no"},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": str(folder / "binary")},
        {"EMAIL_URL_FILE": str(folder / "url")},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": SECRET},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": f"{SECRET}/with/slashes"},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": f"\0{SECRET}"},
        {"EMAIL_URL_FILE": f"smtp://u:{SECRET}@h"},
        {"EMAIL_TOKEN_PROVIDER": "refresh_token", "EMAIL_HOST": "h", "EMAIL_TOKEN_REFRESH_TOKEN_FILE": f"1//{SECRET}"},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD": SECRET, "EMAIL_HOST_PASSWORD_FILE": str(folder / "secret")},
        {"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD": SECRET, "EMAIL_USE_TLS": "1", "EMAIL_USE_SSL": "1"},
        {"EMAIL_URL": f"smtp://u@h?password={SECRET}&bad=1"},
        {"EMAIL_URL": f"smtp://u@h?password={SECRET}&tls=maybe"},
        {"EMAIL_URL": f"smtp://u:p@h?client_secret={SECRET}"},
        {"EMAIL_URL": f"failover(smtp://u:{SECRET}@h:x smtp://u:{SECRET}@g)"},
        {"EMAIL_URL": f"failover(smtp://u:{SECRET}@h smtpq://u:{SECRET}@g"},
        *({"EMAIL_URL": url.format(SECRET)} for url in URLS),
    ]


URLS = [
    *("{}", "smtp:u:{}@h", "smtp//u:{}@h", "smtp://u:{}@[h", "smtp://u:{} x@h", "smtp://u:{}#x@h", "smtp://u:{}?x@h"),
    *("smtp://u:a/{}@h", "smtp://u:{}@h:25:x", "postmark://{}@h", "smtp://u:{}@h?bad", "{}://u@h"),
]


@pytest.mark.parametrize("number", range(15 + len(URLS)))
def test_an_environment_that_cannot_work_keeps_what_it_holds(number: int, tmp_path: Path) -> None:
    """In a variable, in the file that one names, and where the secret itself stands in place of the file's name."""
    environ = environments(tmp_path)[number]
    assert SECRET not in refusal(lambda: env.mailers({**environ, "OTHER": SECRET}))


KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    "settings",
    [
        {"ENCRYPTION_KEYS": [KEY]},
        {"ENCRYPTION_KEYS": [KEY[:-4]]},
        {"ENCRYPTION_KEYS": [KEY + "é"]},
        {"ENCRYPTION_KEYS": KEY},
        {"ENCRYPTION_KEYS": {KEY: 1}},
        {"ENCRYPTION_KEYS": [KEY, 3]},
        {"ENCRYPTION_KEYS": [KEY], "BATCH": "x"},
        {"ENCRYPTION_KEY": [KEY]},
        {"HEALTH_TOKENS": [KEY]},
        {"HEALTH_TOKENS": [KEY, 3]},
        {"HEALTH_TOKENS": {"x": KEY}},
        {"HEALTH_TOKENS": [KEY], "BATCH": "x"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_keys_and_tokens_of_the_site_are_not_shown(settings: dict[str, Any]) -> None:
    """By the settings' own repr, by checks, and by what is made of them."""
    with override_settings(RELIABLE_EMAIL=settings):
        for look in (conf.get, configuration_messages, configured_keyring, lambda: configured_keyring().seal(b"x")):
            told = everything_told(look)
            for part in (KEY[:16], KEY[12:28], KEY[24:40]):
                assert part not in told
