"""A site whose mail waits in the queue that SPEED_QUEUE names; SPEED_PORT is its server, SPEED_DATABASE has its tables.

Each queue is as its documentation says, unless SPEED_WAY names another way to set it up.
"""

import os
import secrets
from typing import Any

import django

QUEUE = os.environ["SPEED_QUEUE"]
PORT = int(os.environ["SPEED_PORT"])
WAY = os.environ.get("SPEED_WAY", "")
_DATABASE = os.environ["SPEED_DATABASE"]
SECRET_KEY = secrets.token_hex()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_ENGINE: dict[str, Any] = (
    {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DATABASE,
        # What a careful site sets today; FULL, so that a commit is durable, as PostgreSQL's is.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 60,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
    if "/" in _DATABASE
    else {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "USER": "postgres", "NAME": _DATABASE}
)
if WAY == "prepared":
    _ENGINE["OPTIONS"] = {"prepare_threshold": 5}
DATABASES = {"default": _ENGINE}
INSTALLED_APPS = ["django.contrib.contenttypes"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEFAULT_FROM_EMAIL = "shop@example.org"
LOGGING_CONFIG = None
if QUEUE == "reliable_email":
    INSTALLED_APPS += ["reliable_email"]
    _SMTP: dict[str, Any] = {"host": "127.0.0.1", "port": PORT}
    if WAY == "flights":
        _SMTP |= {"flight": 20, "on_unknown": "resend"}
    if WAY == "quota":
        _SMTP |= {"quota": ["1000000/hour", "10000000/day"]}
    if WAY == "preset":
        _SMTP |= {"provider": "sendgrid", "password": "not-a-secret", "use_tls": False, "allow_plaintext_auth": True}
    if WAY == "encrypted":
        RELIABLE_EMAIL = {"ENCRYPTION_KEYS": ["c3BlZWQtc3BlZWQtc3BlZWQtc3BlZWQtc3BlZWQtISE="]}
    if WAY == "receiver":
        INSTALLED_APPS += ["bench.speed.listening.Listening"]
    MAILERS = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
        "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": _SMTP},
    }
    if django.VERSION < (6, 1):
        EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
else:
    EMAIL_HOST, EMAIL_PORT = "127.0.0.1", PORT
if QUEUE == "post_office":
    INSTALLED_APPS += ["post_office"]
    EMAIL_BACKEND = "post_office.EmailBackend"
    POST_OFFICE = {"BATCH_SIZE": 2000, "THREADS_PER_PROCESS": 5, "LOG_LEVEL": 0} if WAY == "best" else {}
if QUEUE == "mailer":
    INSTALLED_APPS += ["mailer"]
    EMAIL_BACKEND = "mailer.backend.DbBackend"
    MAILER_LOCK_PATH = os.environ["SPEED_FOLDER"] + "/mailer"
