"""One step of a misfortune, in a process of its own: `python -m bench.compare.site STEP`."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from email.message import MIMEPart
from email.mime.image import MIMEImage
from typing import Any

warnings.simplefilter("ignore")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.compare.settings")

import django  # noqa: E402

django.setup()

from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

QUEUE = os.environ["COMPARE_QUEUE"]


def queue(count: str) -> None:
    """Queue so many messages."""
    for n in range(int(count)):
        send_mail(f"message {n}", f"body {n}\n", None, [f"user{n}@example.net"])


def queue_two_recipients() -> None:
    """Queue one message for a good and a bad address."""
    send_mail("two", "body\n", None, ["good@example.net", "bad@example.net"])


def queue_poison() -> None:
    """Queue five messages, the third of which cannot be sent."""
    for n in range(5):
        headers = {"X-Note": "a\nBcc: victim@example.net"} if n == 2 else {}
        try:
            EmailMessage(f"message {n}", "body\n", None, [f"user{n}@example.net"], headers=headers).send()
        except ValueError as error:
            print(f"refused when it was queued: {type(error).__name__}")


def queue_html_only() -> None:
    """Queue a message that is HTML and nothing else."""
    message = EmailMessage("html", "<p>Hello {{ name }} &amp; {% you %}</p>", None, ["a@example.net"])
    message.content_subtype = "html"
    message.send()


def queue_rich() -> None:
    """Queue what the mail of a real site holds."""
    message = EmailMultiAlternatives("rich", "text\n", None, ["a@example.net"])
    message.attach_alternative("<p>html</p>", "text/html")
    message.attach_alternative("# markdown", "text/markdown")
    message.attach("report.csv", "a,b\n", "text/csv")
    message.attach("report.csv", "c,d\n", "text/csv")
    message.attach("invite.ics", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "text/calendar")
    message.send()


def queue_inline_image() -> None:
    """Queue an inline image, the way of Django 6; before, of the standard library's older classes."""
    image: MIMEPart | MIMEImage
    if django.VERSION >= (6, 0):
        image = MIMEPart()
        image.set_content(b"\x89PNG\r\n", "image", "png", disposition="inline", cid="<logo>")
    else:
        image = MIMEImage(b"\x89PNG\r\n", "png")
        image.add_header("Content-ID", "<logo>")
        image.add_header("Content-Disposition", "inline")
    message = EmailMultiAlternatives("inline", "text\n", None, ["a@example.net"])
    message.attach(image)
    message.send()


def queue_and_roll_back() -> None:
    """Queue an urgent message in a transaction that is rolled back."""
    try:
        with transaction.atomic():
            if QUEUE == "post_office":
                from post_office import mail

                mail.send("a@example.net", "shop@example.org", subject="now", message="body", priority="now")
            elif QUEUE == "reliable_email":
                from reliable_email import Priority, submit

                submit(EmailMessage("now", "body", None, ["a@example.net"]), priority=Priority.HIGH)
            else:
                send_mail("now", "body", None, ["a@example.net"])
            raise RuntimeError("the order could not be saved")
    except RuntimeError:
        pass


def queue_expired() -> None:
    """Queue a message that is worth nothing any more when the queue comes to it."""
    from datetime import timedelta

    from django.utils import timezone

    if QUEUE == "post_office":
        from post_office import mail

        past = timezone.now() - timedelta(minutes=1)
        mail.send("a@example.net", "shop@example.org", subject="code", message="body", expires_at=past)
    elif QUEUE == "reliable_email":
        from reliable_email import submit

        submit(EmailMessage("code", "body", None, ["a@example.net"]), expires_in=timedelta(seconds=-60))
    else:
        print("no expiry")


def queue_scheduled_and_clean_up() -> None:
    """Queue a message for tomorrow, then clean up everything that was created before now."""
    from datetime import timedelta

    from django.utils import timezone

    tomorrow = timezone.now() + timedelta(days=1)
    if QUEUE == "post_office":
        from post_office import mail
        from post_office.models import Email

        mail.send("a@example.net", "shop@example.org", subject="later", message="body", scheduled_time=tomorrow)
        Email.objects.update(created=timezone.now() - timedelta(days=40))
        call_command("cleanup_mail", "--days=30", verbosity=0)
        print(f"{Email.objects.count()} left")
    elif QUEUE == "reliable_email":
        from reliable_email import submit
        from reliable_email.store.tables.messages import OutboxMessage

        submit(EmailMessage("later", "body", None, ["a@example.net"]), send_at=tomorrow)
        OutboxMessage.objects.update(created_at=timezone.now() - timedelta(days=200))
        call_command("email_outbox", "prune", verbosity=0)
        print(f"{OutboxMessage.objects.count()} left")
    else:
        print("no schedule")


def spoil() -> None:
    """Make the first queued row unreadable, as a half-written page or a wrong deployment would."""
    table, column = {
        "post_office": ("post_office_email", "headers"),
        "mailer": ("mailer_message", "message_data"),
        "reliable_email": ("reliable_email_outboxmessage", "content"),
    }[QUEUE]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = (SELECT min(id) FROM {table})", ["\0garbage"])


def drain() -> None:
    """Let the queue send what it has, as its documentation says."""
    if QUEUE == "post_office":
        call_command("send_queued_mail", processes=1, log_level=1)
    elif QUEUE == "mailer":
        call_command("send_mail")
        call_command("retry_deferred")
        call_command("send_mail")
    else:
        call_command("email_worker", "--until-empty", "--connections", "1")


def report() -> None:
    """What the queue says became of each message."""
    for line in sorted(_lines()):
        print(line)


def _lines() -> Iterator[str]:
    if QUEUE == "post_office":
        from post_office.models import Email

        for email in Email.objects.all():
            yield f"{email.to} {email.get_status_display()}"
    elif QUEUE == "mailer":
        from mailer.models import Message, MessageLog

        for message in Message.objects.all():
            yield f"{message.to_addresses} waiting"
        for log in MessageLog.objects.all():
            yield f"{log.to_addresses} {log.get_result_display()}"
    else:
        from reliable_email.store.tables.recipients import OutboxRecipient

        for recipient in OutboxRecipient.objects.all():
            yield f"{recipient.address} {recipient.state} {recipient.cause}"


def migrate() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


STEPS: dict[str, Callable[..., Any]] = {
    step.__name__: step
    for step in (
        migrate,
        queue,
        queue_two_recipients,
        queue_poison,
        queue_html_only,
        queue_rich,
        queue_inline_image,
        queue_and_roll_back,
        queue_expired,
        queue_scheduled_and_clean_up,
        spoil,
        drain,
        report,
    )
}

if __name__ == "__main__":
    STEPS[sys.argv[1]](*sys.argv[2:])
