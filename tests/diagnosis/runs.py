"""Runs `manage.py test_email` in this process, with settings of its own, and keeps what came of it."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import django
from django.core.management import CommandError, call_command
from django.test.utils import override_settings

from reliable_email.testing.reset import reset

SMTP = "reliable_email.backends.ReliableSMTPBackend"
FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
CONSOLE = "django.core.mail.backends.console.EmailBackend"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run.

    Attributes:
        code: the exit code.
        out: standard output.
        error: what a usage error said.
    """

    code: int
    out: str
    error: str = ""


def smtp(**options: Any) -> dict[str, Any]:
    """An entry of MAILERS that sends by SMTP."""
    return {"BACKEND": SMTP, "OPTIONS": {"timeout": 3, "local_hostname": "client.example.com", **options}}


@contextlib.contextmanager
def mailers(entries: Mapping[str, Any], **settings: Any) -> Iterator[None]:
    """A project with these mailers."""
    if django.VERSION < (6, 1):
        settings["EMAIL_BACKEND"] = "reliable_email.backends.DefaultMailer"
    chosen = {"DEFAULT_FROM_EMAIL": "shop@example.com", "MAILERS": dict(entries), **settings}
    with override_settings(**chosen):
        yield


def test_email(*arguments: str, entries: Mapping[str, Any], **settings: Any) -> Run:
    """One run, in a process that remembers nothing."""
    reset()
    out, error, code = io.StringIO(), "", 0
    with mailers(entries, **settings):
        try:
            call_command("test_email", *arguments, stdout=out, no_color=True)
        except CommandError as raised:
            error, code = str(raised), raised.returncode
        except SystemExit as ended:
            code = int(ended.code or 0)
    reset()
    return Run(code=code, out=out.getvalue(), error=error)


test_email.__test__ = False  # type: ignore[attr-defined]

_ALIKE = (
    (re.compile(r"[ \d]{6}\.\d ms"), "    12.3 ms"),
    (re.compile(r"\b(?<!since )\d{4}-\d\d-\d\d\b"), "2026-01-31"),
    (re.compile(r"\b\d+ days (ago|left)"), r"30 days \1"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "5f1c…a94e"),
    (re.compile(r"sha256//[A-Za-z0-9+/]{43}="), "sha256//dU5V…="),
    (re.compile(r"\b(for|within) \d+\.\d s\b"), r"\1 15.0 s"),
)


def alike(text: str, *, ports: Mapping[int, int], seconds: str = "0.25") -> str:
    """The text with what differs from run to run made alike: times, dates, fingerprints, and the servers' ports."""
    text = re.sub(r"\b(in|after) \d+\.\d\ds", rf"\1 {seconds}s", text)
    for pattern, replacement in _ALIKE:
        text = pattern.sub(replacement, text)
    for port, shown in ports.items():
        text = re.sub(rf"\b{port}\b", str(shown), text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
