"""A shop's mail in the middle of a bad day."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from reliable_email.models import Tally, Worker
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.store.questions.filters import Filter
from tests.outbox.acts import cancel
from tests.outbox.desk import worker
from tests.outbox.network import Network
from tests.views.letters import USING, queue

SMTP = "reliable_email.backends.ReliableSMTPBackend"
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
    "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["gmail", "sendgrid"]}},
    "gmail": {
        "BACKEND": SMTP,
        "OPTIONS": {
            "provider": "gmail",
            "host": "127.0.0.1",
            "port": 9,
            "username": "shop@example.com",
            "password": "x",
        },
    },
    "sendgrid": {
        "BACKEND": SMTP,
        "OPTIONS": {"provider": "sendgrid", "host": "127.0.0.1", "port": 9, "username": "apikey", "password": "x"},
    },
}
_SUBJECTS = ("Your order 4711", "Password reset", "Your invoice for October", "We have shipped it", "Grüße aus Köln")

_ALONE = ("nouser1@example.com", "nouser2@example.com", "spam@example.org", "lost@example.com", "later@web.de")


def fill() -> None:
    """Recipients in every state that a worker and a person make, two workers, one of them silent, and a list."""
    with transaction.atomic():  # one commit is faster than twenty
        for number, subject in enumerate(_SUBJECTS):
            queue(f"ok{number}@example.com", subject=subject)
        queue("ok8@example.com", "nouser@example.org", "grey@example.net", subject="To three of them")
        for name in _ALONE:
            queue(name, subject=f"For {name}")
    worker(USING, Network(alias="gmail").route()).run()
    with transaction.atomic():
        queue("cancelled@example.com", subject="A mistake")
        cancel(Filter(recipient="cancelled@example.com"), actor="olga", reason="A mistake of mine", using=USING)
        queue(
            "waits1@example.com", "waits2@example.com", subject="A newsletter with a subject that is longer than " * 4
        )
        queue("waits3@a-very-long-domain-name-that-does-not-break-by-itself.example.com", subject="x" * 120)
    suppress(["complained@example.com"], reason="complained", source="by hand", using=USING)
    _workers()
    _minutes()


def _workers() -> None:
    now = timezone.now()
    Worker.objects.all().delete()
    for name, silent in (("mail-1:4242", 2.0), ("mail-2:977", 3600.0)):
        Worker.objects.create(
            name=name, environment="", host=name.partition(":")[0], pid=4242, connections=4, state="running",
            started_at=now - timedelta(hours=5), seen_at=now - timedelta(seconds=silent), settled=1234,
        )  # fmt: skip


def _minutes() -> None:
    start = timezone.now().replace(second=0, microsecond=0)
    Tally.objects.all().delete()
    Tally.objects.bulk_create(
        Tally(minute=start - timedelta(minutes=n), route="gmail", outcome=outcome, cause=cause, count=count + n % 7)
        for n in range(0, 600, 3)
        for outcome, cause, count in (("accepted", "", 12), ("rejected", "mailbox_unknown", 1))
    )
