"""A site with an outbox on a PostgreSQL of its own, and one route."""

import os
import secrets

import django

SECRET_KEY = secrets.token_hex()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["RECOVERY_DATABASE_PORT"],
        "USER": "postgres",
        "NAME": "postgres",
    }
}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["RECOVERY_PORT"])},
    },
}
if django.VERSION < (6, 1):
    EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"LEASE_SECONDS": 5, "FINAL_REPLY_SECONDS": 5}
