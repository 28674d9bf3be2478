"""Settings for Django's own test runner: whatever a test mails goes through one of our doors to a real server first.

Django's tests look at `mail.outbox`, which its memory backend fills. That backend is replaced by one that sends each
message by our door to a server in this process, and then stores it as before: what our door refuses, changes or raises
is a failure of Django's test.
"""

import atexit
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import locmem

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

_Memory = locmem.EmailBackend
_counts = {"bridged": 0}
atexit.register(lambda: print(f"Bridged {_counts['bridged']} messages", file=sys.stderr))


@cache
def _server(pid: int) -> Any:
    from reliable_email.testing.server import ScriptedServer

    return ScriptedServer().start()


def _door() -> Any:
    from reliable_email.backends.failover import FailoverBackend
    from reliable_email.backends.smtp import ReliableSMTPBackend

    server = _server(os.getpid())
    options = {"host": server.host, "port": server.port, "timeout": 30}
    direct = ReliableSMTPBackend(alias="direct", **options)
    if os.environ.get("RELIABLE_EMAIL_DOOR") != "failover":
        return direct

    class Failover(FailoverBackend):
        """Over a server that is not there, and one that is."""

        def routes(self) -> list[Any]:
            """Both."""
            away = ReliableSMTPBackend(alias="away", host="127.0.0.1", port=1, timeout=5, max_attempts=1)
            return [away.route(), direct.route()]

    return Failover(alias="failover", using=["away", "direct"])


class Bridge(_Memory):
    """Our door first, then Django's memory."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        """Send, then store."""
        known = list(messages)
        _door().send_messages(known)
        _counts["bridged"] += len(known)
        return int(super().send_messages(known))


Bridge.__name__ = Bridge.__qualname__ = "EmailBackend"
Bridge.__module__ = _Memory.__module__
locmem.EmailBackend = Bridge  # type: ignore[misc]
