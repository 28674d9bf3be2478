"""A site whose mail goes through the queue that COMPARE_QUEUE names, to the server at COMPARE_PORT."""

import os
import secrets
from pathlib import Path

import django

QUEUE = os.environ["COMPARE_QUEUE"]
PORT = int(os.environ["COMPARE_PORT"])
SECRET_KEY = secrets.token_hex()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["COMPARE_DATABASE"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
INSTALLED_APPS = ["django.contrib.contenttypes"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
MEDIA_ROOT = Path(os.environ["COMPARE_DATABASE"]).parent  # post_office keeps attachments there
DEFAULT_FROM_EMAIL = "shop@example.org"
if QUEUE == "reliable_email":
    INSTALLED_APPS += ["reliable_email"]
    MAILERS = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
        "smtp": {
            "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
            "OPTIONS": {"host": "127.0.0.1", "port": PORT, "use_tls": False},
        },
    }
    if django.VERSION < (6, 1):
        EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
    # A lease of five seconds, so that the comparison need not wait a minute for what a killed worker held.
    RELIABLE_EMAIL = {"LEASE_SECONDS": 5, "FINAL_REPLY_SECONDS": 20}
else:
    EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", PORT, 20
    LOGGING_CONFIG = None
if QUEUE == "post_office":
    INSTALLED_APPS += ["post_office"]
    EMAIL_BACKEND = "post_office.EmailBackend"
    POST_OFFICE = {"MAX_RETRIES": 3, "RETRY_INTERVAL": __import__("datetime").timedelta(0), "THREADS_PER_PROCESS": 1}
if QUEUE == "mailer":
    INSTALLED_APPS += ["mailer"]
    EMAIL_BACKEND = "mailer.backend.DbBackend"
    MAILER_LOCK_PATH = os.environ["COMPARE_DATABASE"] + ".lock"
