"""What the sites have in common: MAILERS as the docs have them, a visit, and what the mail server got.

    python -m tools.sites_trial.allauth_site DOOR

DOOR is direct, failover or queue.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from reliable_email.testing.server import ScriptedServer

SMTP = "reliable_email.backends.ReliableSMTPBackend"
ERRORS = "reliable_email.backends.ErrorMailBackend"
ADMIN = "ann@example.org"


def mailers(door: str, server: ScriptedServer) -> dict[str, Any]:
    """MAILERS as docs/how-to/move-from-django.md and error-mail.md have them."""
    route = {"BACKEND": SMTP, "OPTIONS": {"host": server.host, "port": server.port}}
    away = {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": 1, "timeout": 5, "max_attempts": 1}}
    failover = {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["away", "route"]}}
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}}
    apart = {**outbox, "OPTIONS": {"using": "routes", "transactional": False, "priority": "high"}}
    errors = {"BACKEND": ERRORS, "OPTIONS": {"using": "queued_errors" if door == "queue" else "default"}}
    match door:
        case "direct":
            return {"default": route, "errors": errors}
        case "failover":
            return {"default": failover, "away": away, "route": route, "errors": errors}
        case _:
            routes = {"routes": failover, "away": away, "route": route}
            return {"default": outbox, **routes, "queued_errors": apart, "errors": errors}


def configure(door: str, server: ScriptedServer, **site: Any) -> None:
    """Settings of the site, with this package's lines added."""
    moved_in = {
        "SECRET_KEY": "only for a trial",
        "DEBUG": False,
        "ALLOWED_HOSTS": ["*"],
        "SITE_ID": 1,
        "USE_TZ": True,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(tempfile.mkdtemp()) / "site.sqlite3"),
                "ATOMIC_REQUESTS": True,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            }
        },
        "ADMINS": [("Ann", ADMIN)] if django.VERSION < (6, 0) else [ADMIN],
        "DEFAULT_FROM_EMAIL": "My site <noreply@example.org>",
        "SERVER_EMAIL": "noreply@example.org",
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "STATIC_URL": "/static/",
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "mail_admins": {
                    "level": "ERROR",
                    "class": "django.utils.log.AdminEmailHandler",
                    **({"using": "errors"} if django.VERSION >= (6, 1) else {"email_backend": ERRORS}),
                }
            },
            "loggers": {"django.request": {"handlers": ["mail_admins"], "level": "ERROR", "propagate": False}},
        },
        "MAILERS": mailers(door, server),
        **({} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"}),
    }
    settings.configure(**(moved_in | site))
    django.setup()


def trial(
    name: str, door: str, wanted: Sequence[str], visit: Callable[[], None], *, count: int, site: dict[str, Any]
) -> int:
    """Let people visit; 1 where a letter is missing.

    Args:
        wanted: words of the subjects that have to arrive.
        count: how many letters there are.
        site: the site's own settings.
    """
    with ScriptedServer() as server:
        configure(door, server, **site)
        from django.core.management import call_command

        call_command("check", fail_level="ERROR")
        call_command("migrate", verbosity=0)
        visit()
        if door == "queue":
            assert not server.messages, "mail that left before the worker"
            call_command("email_worker", until_empty=True, verbosity=0)
        subjects = [one.header("Subject") or "" for one in server.messages]
    for subject in subjects:
        print(f"  {subject}")
    missing = [one for one in wanted if not any(one in subject for subject in subjects)]
    told = f"{len(subjects)} messages of {count}, missing: {missing or 'none'}"
    print(f"{name}, Django {django.get_version()}, {door}: {told}")
    return bool(missing) or len(subjects) != count


def send_newsletter() -> None:
    """Three letters over one connection."""
    from django.core.mail import EmailMultiAlternatives, get_connection

    letters = []
    for number in range(3):
        letter = EmailMultiAlternatives("News of the week", "Hello.", None, [f"reader{number}@example.net"])
        letter.attach_alternative("<p>Hello.</p>", "text/html")
        letters.append(letter)
    get_connection().send_messages(letters)
