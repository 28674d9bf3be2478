"""A site that is watched: its outbox is delivered by workers, and a web process tells a monitor about it.

Run as a program: `python -m tests.sites.metered migrate | queue | work | serve`. What it is made of comes from the
environment; `serve` prints the port at which it listens.
"""

import os
import sys

SECRET_KEY = "the same in every process, as it marks what is known of a route"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
ROOT_URLCONF = "tests.sites.metered_urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["METERED_DATABASE"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["METERED_PORT"]), "quota": "1000/day"},
    },
}
EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"HEALTH_TOKENS": [os.environ["METERED_TOKEN"]], "BATCH": 4, "CONNECTIONS": 1}

import django  # noqa: E402

if django.VERSION >= (6, 1):
    del EMAIL_BACKEND


def main(step: str) -> None:
    """One step."""
    from django.core.management import call_command

    django.setup()
    match step:
        case "migrate":
            call_command("migrate", verbosity=0)
        case "queue":
            from django.core.mail import send_mail

            for n in range(20):
                send_mail(f"message {n}", "body", "a@example.org", [f"user{n}@example.net"])
            for n in range(4):
                send_mail(f"for nobody {n}", "body", "a@example.org", ["nobody@example.net", f"other{n}@example.net"])
        case "work":
            call_command("email_worker", "--until-empty", verbosity=0)
        case "serve":
            from wsgiref.simple_server import make_server

            from django.core.wsgi import get_wsgi_application

            server = make_server("127.0.0.1", 0, get_wsgi_application())
            sys.stdout.write(f"{server.server_port}\n")
            sys.stdout.flush()
            server.serve_forever()


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.sites.metered"
    main(*sys.argv[1:])
