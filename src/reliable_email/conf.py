"""Django's settings of this package: the dict `RELIABLE_EMAIL`, `MAILERS`, and the `EMAIL_*` names without MAILERS.

Only this module and `env` read settings or the environment; everything else is given values.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import django
from django.conf import Settings as DjangoSettings
from django.conf import UserSettingsHolder, settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from reliable_email.records import dataclass, field
from reliable_email.values import (
    ValueProblem,
    boolean,
    choice,
    closest,
    integer,
    is_empty,
    seconds,
    secret,
    shown,
    text,
)

NAME = "RELIABLE_EMAIL"
_lazy: Any = settings  # what is behind Django's lazy object has no public name

DEFAULT_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
_DJANGOS = "django.core.mail.backends."
LOCMEM_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def is_set(name: str) -> bool:
    """Return whether the project's own settings define a name; Django's defaults do not count."""
    return bool(_lazy.is_overridden(name)) and hasattr(_lazy._wrapped, name)


def setting(name: str, default: Any = None) -> Any:
    """A setting that the project itself defines, or the default.

    Django 6.1 warns whoever reads one of the deprecated `EMAIL_*` names through `settings`, and raises where MAILERS is
    defined. The project was warned when it started; reading behind the lazy object does not warn it again.
    """
    return getattr(_lazy._wrapped, name) if is_set(name) else default


def settings_of(backend: str) -> dict[str, Any]:
    """Return the project's settings from which another package's backend may read its credentials, by name.

    Those are named after the package or the service: ANYMAIL and MAILGUN_API_KEY for "anymail.backends.mailgun.…".
    """
    stems = {part.upper() for part in backend.split(".") if part.lower() not in _COMMON_PARTS}
    if any("SES" in stem.split("_") for stem in stems):
        stems.add("AWS")
    found = {}
    for name in dir(_lazy._wrapped):
        if name.isupper() and any(name.startswith(stem) or _is_stem(name, stem) for stem in stems) and is_set(name):
            found[name] = getattr(_lazy._wrapped, name)
    return found


_COMMON_PARTS = frozenset({"backend", "backends", "core", "django", "mail"})
_SHORTEST_STEM = 5


def _is_stem(name: str, stem: str) -> bool:
    """Return whether a setting's first word is what a name begins with: POSTMARK of "postmarker"."""
    first = name.partition("_")[0]
    return len(first) >= _SHORTEST_STEM and first != "DJANGO" and stem.startswith(first)


def is_debug() -> bool:
    """Return whether this is a development site."""
    return bool(settings.DEBUG)


def allows_async_unsafe() -> bool:
    """Django's variable by which notebooks may ask the database inside an event loop."""
    return bool(os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"))


def uses_localtime() -> bool:
    """Django's EMAIL_USE_LOCALTIME: whether the Date header is in local time."""
    return bool(settings.EMAIL_USE_LOCALTIME)


def secret_keys() -> tuple[str, ...]:
    """Django's SECRET_KEY and its fallbacks; none where the site has none."""
    found = (setting("SECRET_KEY", ""), *setting("SECRET_KEY_FALLBACKS", ()))
    return tuple(str(one) for one in found if one)


def default_charset() -> str:
    """Django's DEFAULT_CHARSET."""
    return str(settings.DEFAULT_CHARSET)


def mailers() -> Mapping[str, Mapping[str, Any]] | None:
    """The setting MAILERS, on every Django version; None where the project has none.

    In a project's tests every alias is the locmem backend. Django 6.1 sees to that in `setup_test_environment()`;
    older versions know nothing of MAILERS, so it is done here.
    """
    found: Mapping[str, Mapping[str, Any]] | None = setting("MAILERS")
    if found is not None and django.VERSION < (6, 1) and is_in_tests():
        return {alias: {"BACKEND": LOCMEM_BACKEND} for alias in found}
    return found


def is_in_tests() -> bool:
    """Return whether Django's test environment replaces the project's mailers, which no test has overridden."""
    if not has_test_environment():
        return False
    layer = _lazy._wrapped
    while isinstance(layer, UserSettingsHolder) and isinstance(
        layer.default_settings, (DjangoSettings, UserSettingsHolder)
    ):
        own = vars(layer)
        # Who asks for memory or the console in a test wants no other mailer's server either.
        if "MAILERS" in own or not str(own.get("EMAIL_BACKEND", _DJANGOS)).startswith(_DJANGOS):
            return False
        layer = layer.default_settings
    return True


def has_test_environment() -> bool:
    """Return whether Django's test environment is set up.

    Its own note of that decides. `mail.outbox` is there as soon as anybody has made a locmem backend, as a preview does
    in production.
    """
    # Not imported: whoever has set it up has done so, and it costs every start of a site.
    test_utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(test_utils, "_TestState", None), "saved_data")


def email_backend() -> str:
    """The setting EMAIL_BACKEND, of which Django's default is its SMTP backend."""
    return str(setting("EMAIL_BACKEND", DEFAULT_BACKEND))


def _key(default: Any, read: Callable[[Any], Any], help_text: str) -> Any:
    return field(default=default, metadata={"read": read, "help": help_text})


def _count(at_least: int = 0) -> Callable[[object], int]:
    return lambda value: integer(value, at_least=at_least)


def _at_least_seconds(least: float) -> Callable[[object], float]:
    return lambda value: seconds(value, at_least=least)


def _days(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 10_000:
        return float(value)
    raise ValueProblem(f"must be a number of days above zero, not {shown(value)}")


def _share(value: object) -> float:
    """A part of a whole, from 0 to 1."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ValueProblem(f"must be a number from 0 to 1, not {shown(value)}")


def _secrets(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(map(secret, value.split(","))) if value else ()
    if isinstance(value, (list, tuple)):
        return tuple(map(secret, value))
    raise ValueProblem("must be a list of texts")


def _tokens(value: object) -> tuple[str, ...]:
    tokens = tuple(token.strip() for token in _secrets(value))
    if not all(tokens):
        raise ValueProblem("must not contain an empty token (is its environment variable empty?)")
    return tokens


def _announcer(value: object) -> str:
    return choice(value, ("", "celery", "tasks"))


def _environment(value: object) -> str:
    word = text(value)
    if len(word) > 64:
        raise ValueProblem("must not be longer than 64 characters")
    return word


_SECRET_KEYS = frozenset({"encryption_keys", "health_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The dict `RELIABLE_EMAIL`. A key is an attribute's name in capitals; `help` in its metadata describes it."""

    environment: str = _key(
        "", _environment, "The name of this deployment. A worker delivers only messages queued under its own name."
    )
    # The worker
    lease_seconds: float = _key(
        60.0, _at_least_seconds(5), "Seconds for which a claim is valid unless the worker renews it."
    )
    poll_seconds: float = _key(
        1.0, _at_least_seconds(0.05), "Seconds between two looks of an idle worker for due messages."
    )
    connections: int = _key(8, _count(1), "The maximum number of connections to mail servers of one worker process.")
    batch: int = _key(100, _count(1), "The maximum number of recipients of one claim.")
    domain_connections: int = _key(
        0,
        _count(),
        "The maximum number of connections that may deliver to one recipient domain at once; 0 for no limit.",
    )
    final_reply_seconds: float = _key(
        600.0,
        _at_least_seconds(1),
        "Seconds that a worker waits for the final reply (RFC 5321 recommends ten minutes).",
    )
    stop_seconds: float = _key(30.0, seconds, "Seconds that a stopping worker waits for the replies to its messages.")
    crash_limit: int = _key(5, _count(1), "Park a message after this number of workers have crashed while sending it.")
    notify: bool = _key(True, boolean, "Wake workers by LISTEN/NOTIFY on PostgreSQL.")
    announce: str = _key(
        "", _announcer, 'Announce queued messages to a task queue: "celery", "tasks" (django.tasks), or "" for none.'
    )
    # Messages
    expires_days: float = _key(3.0, _days, "Days after which a message expires, unless it has its own `expires_in`.")
    max_queued_bytes: int = _key(64_000_000, _count(1), "The largest message that can be queued, in bytes as sent.")
    content_days: int = _key(7, _count(), "Days for which content is kept after a message is finished.")
    journal_days: int = _key(90, _count(30), "Days for which outcomes, attempts and idempotency keys are kept.")
    encryption_keys: tuple[str, ...] = _key(
        (),
        _secrets,
        "Fernet keys to encrypt stored content. The first one encrypts, all decrypt; empty for no encryption.",
    )
    mask_addresses: bool = _key(
        False, boolean, "Show addresses as a…@example.com in the admin, in logs and in commands."
    )
    # Routes
    quota_soft_limit: float = _key(
        0.95, _share, "The share of a quota that priority normal may use; the rest is for priority high."
    )
    quota_reserve: float = _key(0.2, _share, "The share of a quota that bulk mail leaves to messages of priority high.")
    probe_seconds: float = _key(
        900.0, _at_least_seconds(10), "Seconds between two probes of a standby route by a worker."
    )
    # Monitoring
    tracing: bool = _key(False, boolean, "Create OpenTelemetry spans from the request to the delivery.")
    health_queue_seconds: float = _key(
        600.0, seconds, "UNHEALTHY if a message has been due for more than this number of seconds."
    )
    health_worker_seconds: float = _key(
        120.0, seconds, "Seconds without a sign of life after which a worker counts as missing."
    )
    health_unknown: int = _key(0, _count(), "DEGRADED if more than this number of recipients have an unknown outcome.")
    health_parked: int = _key(0, _count(), "DEGRADED if more than this number of recipients are parked.")
    health_tokens: tuple[str, ...] = _key(
        (), _tokens, "Bearer tokens that give access to the health and metrics pages; staff have access anyway."
    )

    def __repr__(self) -> str:
        shown_values = ", ".join(
            f"{one.name}={'…' if one.name in _SECRET_KEYS else repr(getattr(self, one.name))}" for one in fields(self)
        )
        return f"Settings({shown_values})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """One key of `RELIABLE_EMAIL` that cannot be used."""

    key: str
    text: str
    hint: str
    is_unknown: bool = False


@cache
def get() -> Settings:
    """The settings of this app, read once.

    Raises:
        ImproperlyConfigured: naming each key whose value cannot be used. An unknown key is left to the system check.
    """
    found, problems = _read_settings()
    bad = [problem.text for problem in problems if not problem.is_unknown]
    if bad:
        raise ImproperlyConfigured(" ".join(bad))
    return found


def key_problems() -> list[KeyProblem]:
    """Return the problems in `RELIABLE_EMAIL`, unknown keys included."""
    return _read_settings()[1]


def _read_settings() -> tuple[Settings, list[KeyProblem]]:
    given = setting(NAME, {})
    if not isinstance(given, Mapping):
        problem = KeyProblem(key="", text=f"{NAME} must be a dict, not {shown(given)}.", hint="Write a dict.")
        return Settings(), [problem]
    readers: dict[str, Callable[[Any], Any]] = {one.name.upper(): one.metadata["read"] for one in fields(Settings)}
    values: dict[str, Any] = {}
    problems = []
    for key, value in given.items():
        if key not in readers:
            guess = closest(str(key), readers)
            hint = f"Did you mean {guess!r}?" if guess else f"Known are: {', '.join(readers)}."
            problems.append(
                KeyProblem(key=str(key), text=f"{NAME} has an unknown key {key!r}.", hint=hint, is_unknown=True)
            )
            continue
        if is_empty(value):
            continue
        try:
            values[key.lower()] = readers[key](value)
        except ValueProblem as problem:
            hint = next(one.metadata["help"] for one in fields(Settings) if one.name.upper() == key)
            problems.append(KeyProblem(key=key, text=f"{NAME}[{key!r}] {problem}.", hint=hint))
    return Settings(**values), problems


@receiver(setting_changed, dispatch_uid="reliable_email.conf")
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        get.cache_clear()
