"""A site with allauth and DRF, in the manner of cookiecutter-django's settings: sign-up, reset, newsletter, error mail.

    python -m tools.sites_trial.allauth_site DOOR

DOOR is direct, failover or queue. Prints what the mail server got, and fails where something is missing.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from reliable_email.testing.server import ScriptedServer

WANTED = ("Please Confirm Your Email", "Password Reset", "News of the week", "Internal Server Error")
SMTP = "reliable_email.backends.ReliableSMTPBackend"


def mailers(door: str, server: ScriptedServer) -> dict[str, Any]:
    """MAILERS as the README has them."""
    route = {"BACKEND": SMTP, "OPTIONS": {"host": server.host, "port": server.port}}
    away = {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": 1, "timeout": 5, "max_attempts": 1}}
    failover = {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["away", "route"]}}
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}}
    match door:
        case "direct":
            return {"default": route}
        case "failover":
            return {"default": failover, "away": away, "route": route}
        case _:
            return {"default": outbox, "routes": failover, "away": away, "route": route}


def configure(door: str, server: ScriptedServer) -> None:
    """Settings in the manner of cookiecutter-django, with this package's lines added."""
    settings.configure(
        SECRET_KEY="only for a trial",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="tools.sites_trial.allauth_urls",
        SITE_ID=1,
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(tempfile.mkdtemp()) / "site.sqlite3"),
                "ATOMIC_REQUESTS": True,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.sites",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "rest_framework",
            "reliable_email",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        ACCOUNT_LOGIN_METHODS={"email"},
        ACCOUNT_SIGNUP_FIELDS=["email*", "password1*", "password2*"],
        ACCOUNT_EMAIL_VERIFICATION="mandatory",
        ADMINS=[("Ann", "ann@example.org")] if django.VERSION < (6, 0) else ["ann@example.org"],
        DEFAULT_FROM_EMAIL="My site <noreply@example.org>",
        SERVER_EMAIL="noreply@example.org",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "mail_admins": {
                    "level": "ERROR",
                    "class": "django.utils.log.AdminEmailHandler",
                    "email_backend": "reliable_email.backends.ErrorMailBackend",
                }
            },
            "loggers": {"django.request": {"handlers": ["mail_admins"], "level": "ERROR", "propagate": False}},
        },
        EMAIL_BACKEND="reliable_email.backends.DefaultMailer",
        MAILERS=mailers(door, server),
    )
    django.setup()


def visit() -> None:
    """What visitors and the staff do."""
    from django.core.mail import EmailMultiAlternatives, get_connection
    from django.test import Client

    client = Client(raise_request_exception=False)
    password = "Correct-horse-9-battery"
    answer = client.post(
        "/accounts/signup/", {"email": "visitor@example.net", "password1": password, "password2": password}
    )
    assert answer.status_code == 302, answer.content
    client.post("/accounts/password/reset/", {"email": "visitor@example.net"})
    letters = []
    for number in range(3):
        letter = EmailMultiAlternatives("News of the week", "Hello.", None, [f"reader{number}@example.net"])
        letter.attach_alternative("<p>Hello.</p>", "text/html")
        letters.append(letter)
    get_connection().send_messages(letters)
    assert client.get("/broken/").status_code == 500


def main(door: str) -> int:
    """1 where a letter is missing."""
    with ScriptedServer() as server:
        configure(door, server)
        from django.core.management import call_command

        call_command("check", fail_level="ERROR")
        call_command("migrate", verbosity=0)
        visit()
        if door == "queue":
            call_command("email_worker", until_empty=True, verbosity=0)
        letters = [one.content.decode("utf-8", "replace") for one in server.messages]
        subjects = [letter.partition("Subject: ")[2].split("\r\n")[0] for letter in letters]
    for subject in subjects:
        print(f"  {subject}")
    missing = [wanted for wanted in WANTED if not any(wanted in subject for subject in subjects)]
    told = f"{len(subjects)} messages, missing: {missing or 'none'}"
    print(f"allauth and DRF, Django {django.get_version()}, {door}: {told}")
    return bool(missing) or len(subjects) != 6


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
