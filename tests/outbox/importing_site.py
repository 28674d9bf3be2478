"""A site in a process of its own that has both other apps: fills their queues, imports them, prints what came of it."""

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import django
from django.conf import settings

directory = Path(tempfile.mkdtemp())
settings.configure(
    SECRET_KEY="only for tests",
    USE_TZ="naive" not in sys.argv,
    TIME_ZONE="Europe/Berlin",
    MEDIA_ROOT=str(directory),
    POST_OFFICE={"LOCK_FILE_NAME": f"post_office_{directory.name}"},
    MAILER_LOCK_PATH=str(directory / "send_mail"),
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "post_office", "mailer", "reliable_email"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "site.sqlite3")}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MAILERS={
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
        "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
    },
)
django.setup()

from django.core.files.base import ContentFile  # noqa: E402
from django.core.mail import EmailMessage  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

call_command("migrate", verbosity=0)

from mailer.engine import acquire_lock, release_lock  # noqa: E402
from mailer.models import DontSendEntry, Message  # noqa: E402
from post_office.lockfile import default_lockfile  # noqa: E402
from post_office.models import Attachment, Email  # noqa: E402

from reliable_email.outbox.intake.enqueue import QueueOptions  # noqa: E402
from reliable_email.outbox.operations import importing  # noqa: E402
from reliable_email.outbox.operations.importing import Source, import_queue  # noqa: E402
from reliable_email.store.tables.messages import OutboxMessage  # noqa: E402
from reliable_email.store.tables.shared import Suppression  # noqa: E402

common = {"from_email": "site@example.org", "to": ["ada@example.com"]}
queued = Email.objects.create(
    status=2, priority=2, subject="Queued", message="100 {% off %}", html_message="<p>Hi</p>", **common
)
attachment = Attachment.objects.create(name="a.csv", mimetype="text/csv", file=ContentFile(b"a,b\n", name="a.csv"))
attachment.emails.add(queued)
Email.objects.create(status=0, subject="Sent", message="x", **common)
Email.objects.create(status=2, subject="Expired", message="x", expires_at=timezone.now(), **common)
old = Message(priority=1)
old.email = EmailMessage("Pickled", "Body", "site@example.org", ["bob@example.com"])
old.save()
Message.objects.create(priority=2, message_data="no pickle")
DontSendEntry.objects.create(to_address="Never@example.com", when_added=timezone.now())


def run(*arguments: str) -> dict[str, object]:
    """The command's JSON."""
    out = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command("email_outbox", "import", "--from", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())  # type: ignore[no-any-return]


class Counted:
    """A progress that a test can look at."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def begin(self, what: str, total: Callable[[], int]) -> None:
        """See `Progress`."""
        self.total += total()

    def advance(self, count: int) -> None:
        """See `Progress`."""
        self.done += count


def counted(source: Source) -> list[int]:
    """How many there are to look at, and how many were looked at."""
    progress = Counted()
    options = QueueOptions(mailer="smtp", using="default", environment="", gives_up_after=timedelta(days=3))
    import_queue(source, options, progress=progress)
    return [progress.total, progress.done]


def refused(source: str, lock: Callable[[], Callable[[], None]]) -> str:
    """What an import says while the other app's sender holds its lock."""
    release = lock()
    try:
        call_command("email_outbox", "import", "--from", source, "--apply")
    except CommandError as error:
        return str(error)
    finally:
        release()
    return ""


def post_office_lock() -> Callable[[], None]:
    """As its sender takes it; by a process that lives."""
    lock = Path(f"{default_lockfile}.lock")
    lock.write_text("1")
    return lock.unlink


def mailer_lock() -> Callable[[], None]:
    """As its sender takes it, in another thread, since a thread is not refused what it has."""
    with ThreadPoolExecutor(1) as other:
        _, lock = other.submit(acquire_lock).result()
    return lambda: release_lock(lock)


def taken_meanwhile() -> dict[str, int]:
    """What becomes of a row that is sent between the look and the taking."""
    late = Email.objects.create(status=2, subject="Late", message="x", **common)
    before = importing._is_still_waiting

    def send_first(source: Source, row: object) -> bool:
        Email.objects.filter(pk=late.pk).update(status=0)
        return before(source, row)

    importing._is_still_waiting = send_first
    try:
        told = run("post_office", "--apply")
    finally:
        importing._is_still_waiting = before
    return {"queued": int(str(told["queued"])), "gone": int(str(told["gone"]))}


told = {
    "refused": [refused("post_office", post_office_lock), refused("mailer", mailer_lock)],
    "counted": [counted(Source.POST_OFFICE), counted(Source.MAILER)],
    "dry": [run("post_office"), run("mailer")],
    "after_dry": OutboxMessage.objects.count(),
    "applied": [run("post_office", "--apply"), run("mailer", "--apply")],
    "again": [run("post_office", "--apply"), run("mailer", "--apply")],
    "messages": [
        {
            "subject": one.subject,
            "content": bytes(one.content or b"").decode(),
            "priority": one.priority,
            "to": [recipient.address for recipient in one.recipients.all()],
        }
        for one in OutboxMessage.objects.order_by("id")
    ],
    "suppressed": list(Suppression.objects.values_list("address", flat=True)),
    "meanwhile": taken_meanwhile(),
    "left": [Email.objects.filter(status=2).count(), Message.objects.count()],
}
json.dump(told, sys.stdout)
