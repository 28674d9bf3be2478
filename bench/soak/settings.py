"""A site with an outbox on PostgreSQL, whose two routes lead to the servers at SOAK_PORTS."""

import os
import secrets

SECRET_KEY = secrets.token_hex()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": os.environ.get("SOAK_DATABASE", "reliable_email_soak"),
    }
}
FIRST, SECOND = os.environ.get("SOAK_PORTS", "0,0").split(",")
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
    "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["first", "second"]}},
    "first": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(FIRST)},
    },
    "second": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(SECOND)},
    },
}
EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"LEASE_SECONDS": 10, "FINAL_REPLY_SECONDS": 5}

import django  # noqa: E402

if django.VERSION >= (6, 1):
    del EMAIL_BACKEND
