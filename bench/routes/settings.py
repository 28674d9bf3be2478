"""A site with an outbox on PostgreSQL, and one route whose port and quota the environment names."""

import os

import django

SECRET_KEY = os.environ["ROUTES_SECRET"]  # the same in all processes: what routes are known by is keyed with it
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": os.environ.get("ROUTES_DATABASE", "reliable_email_routes"),
    }
}
_QUOTA = os.environ.get("ROUTES_QUOTA", "")
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ.get("ROUTES_PORT", "25"))}
        | ({"quota": _QUOTA} if _QUOTA else {}),
    },
    "other": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ.get("ROUTES_PORT", "25"))},
    },
}
if django.VERSION < (6, 1):
    EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
