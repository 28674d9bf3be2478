"""CPU time of turning Django messages into bytes: Django's way, and ours with all its checks."""

import email.policy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

from bench.speed.rows import OURS, Row, Scale, medians
from bench.speed.sample import message
from reliable_email.delivery.content.building import build_submission

_COUNT = 300


def rows(scale: Scale) -> Iterator[Row]:
    """One for each kind of message."""
    kinds: dict[str, Callable[[int], EmailMessage]] = {
        "text and HTML": message,
        "text alone": lambda number: EmailMessage(f"Order {number}", f"Order {number}\n" * 20, "a@x.org", ["b@x.org"]),
        "beyond ASCII": _beyond_ascii,
        "an attachment of 100 kB": _attachment,
    }
    count = scale.count(_COUNT)
    for kind, make in kinds.items():
        goal = 10.0 if make is message else None
        yield _row(kind, [make(number) for number in range(count)], turns=scale.turns * 2 + 1, goal=goal)


def _row(kind: str, messages: Sequence[EmailMessage], *, turns: int, goal: float | None) -> Row:
    measure = {
        "Django": lambda: _microseconds(_by_django, messages),
        OURS: lambda: _microseconds(build_submission, messages),
    }
    return Row(
        what=f"CPU to serialise: {kind}",
        unit="µs",
        figures=medians(measure, turns=turns),
        more_is_better=False,
        goals={"Django": goal} if goal is not None else {},
    )


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
