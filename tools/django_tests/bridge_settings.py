"""Settings for Django's own test runner: whatever a test mails goes through one of our doors to a real server first.

Django's tests look at `mail.outbox`, which its memory backend fills. That backend is replaced by one that sends each
message by our door to a server in this process, and then stores it as before: what our door refuses, changes or raises
is a failure of Django's test. Django's SMTP backend, which its own tests ask by name, is replaced by ours.
"""

import atexit
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import locmem, smtp

from reliable_email.backends.smtp import ReliableSMTPBackend
from tools.django_tests import doors

_FOLDER = tempfile.mkdtemp(prefix="django-tests-")
DATABASES: dict[str, Any] = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
if doors.DOOR == "queue":
    _FILE = str(Path(_FOLDER) / "outbox.sqlite3")
    DATABASES[doors.OUTBOX] = {
        "ENGINE": "engine",
        "NAME": _FILE,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": f"{_FILE}.test"},
    }
    # Django's runner has a list of its own, and takes no other.
    sys.modules["__main__"].ALWAYS_INSTALLED_APPS.append("reliable_email")  # type: ignore[attr-defined]
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

_Memory = locmem.EmailBackend
_counts = {"bridged": 0}
atexit.register(lambda: print(f"Bridged {_counts['bridged']} messages", file=sys.stderr))


class Bridge(_Memory):
    """Our door first, then Django's memory."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        """Send, then store."""
        known = list(messages)
        doors.send_to_a_server(known)
        _counts["bridged"] += len(known)
        return int(super().send_messages(known))


Bridge.__name__ = Bridge.__qualname__ = "EmailBackend"
Bridge.__module__ = _Memory.__module__
locmem.EmailBackend = Bridge  # type: ignore[misc]


class InFrontOfIt(ReliableSMTPBackend):
    """What it would send goes by this run's door to its server, as in a project whose default mailer is that door."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send by the door."""
        messages = list(email_messages or ())
        if not any(message.recipients() for message in messages):
            return 0
        server = {"host": self.host, "port": self.port, "timeout": 30}
        return doors.send(messages, server, fail_silently=self.fail_silently)


smtp.EmailBackend = ReliableSMTPBackend if doors.DOOR == "direct" else InFrontOfIt  # type: ignore[misc,assignment]
