"""A site with one route to the server at SERVERS_PORT, with an outbox on SQLite; it counts its connections there."""

import json
import os
import secrets
import sys

import django

_FOLDER = os.environ["SERVERS_FOLDER"]
_PORT = int(os.environ["SERVERS_PORT"])

SECRET_KEY = secrets.token_hex()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_FOLDER}/outbox.sqlite3"}}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "failover"}},
    "failover": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["server"]}},
    "server": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": _PORT, **json.loads(os.environ["SERVERS_OPTIONS"])},
    },
}
if django.VERSION < (6, 1):
    EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"LEASE_SECONDS": 10, "FINAL_REPLY_SECONDS": 5}

# One byte for each connection, by all processes.
_connections = os.open(f"{_FOLDER}/connections", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _count_connections(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and arguments[1] == ("127.0.0.1", _PORT):
        os.write(_connections, b".")


sys.addaudithook(_count_connections)
