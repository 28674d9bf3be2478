"""CPU time of turning Django messages into bytes: Django's way, and ours with all its checks."""

import email.policy
import time
from collections.abc import Callable, Sequence
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

from bench.speed.rows import Row, medians
from bench.speed.sample import message
from reliable_email.delivery.content import build_submission

_COUNT = 300
_TURNS = 7


def rows() -> list[Row]:
    """One for each kind of message."""
    kinds: dict[str, Callable[[int], EmailMessage]] = {
        "text and HTML": message,
        "text alone": lambda number: EmailMessage(f"Order {number}", f"Order {number}\n" * 20, "a@x.org", ["b@x.org"]),
        "beyond ASCII": _beyond_ascii,
        "an attachment of 100 kB": _attachment,
    }
    return [_row(kind, [make(number) for number in range(_COUNT)]) for kind, make in kinds.items()]


def _row(kind: str, messages: Sequence[EmailMessage]) -> Row:
    measure = {
        "Django": lambda: _microseconds(_by_django, messages),
        "reliable_email": lambda: _microseconds(build_submission, messages),
    }
    figures = medians(measure, turns=_TURNS)
    return Row(what=f"CPU to serialise: {kind}", unit="µs", figures=figures, more_is_better=False)


def _microseconds(write: Callable[[EmailMessage], object], messages: Sequence[EmailMessage]) -> float:
    started = time.process_time()
    for one in messages:
        write(one)
    return (time.process_time() - started) / len(messages) * 1e6


def _by_django(one: EmailMessage) -> bytes:
    """What Django's SMTP backend does with a message: its content, and the two addresses."""
    from django.core.mail.backends import smtp

    if django.VERSION >= (6, 0):
        prepare: Any = smtp.EmailBackend.prep_address  # reads nothing of its backend
        for address in (one.from_email, *one.recipients()):
            prepare(None, address)
        return bytes(one.message(policy=email.policy.SMTP).as_bytes())
    from django.core.mail.message import sanitize_address

    for address in (one.from_email, *one.recipients()):
        sanitize_address(address, "utf-8")
    built: Any = one.message()
    return bytes(built.as_bytes(linesep="\r\n"))


def _beyond_ascii(number: int) -> EmailMessage:
    one = EmailMultiAlternatives(
        f"Ihre Bestellung {number} ist auf dem Weg – grüne Äpfel",
        f"Grüße, Bestellung {number}.\n" * 20,
        "Müller & Söhne <shop@example.org>",
        ["Jörg Grün <joerg@example.net>"],
    )
    one.attach_alternative(f"<p>Grüße, Bestellung {number}.</p>\n" * 20, "text/html")
    return one


def _attachment(number: int) -> EmailMessage:
    one = message(number)
    one.attach("invoice.pdf", bytes(range(256)) * 400, "application/pdf")
    return one
