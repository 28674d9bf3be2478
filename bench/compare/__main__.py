"""Runs every misfortune on every queue and prints the table: `make compare` (docs/comparison.md)."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, accept_then, both, close, hang

QUEUES = {"reliable_email": "django-reliable-email", "post_office": "django-post_office", "mailer": "django-mailer"}
ROOT = Path(__file__).resolve().parent.parent.parent
STEP_SECONDS = 60


class Site:
    """One queue, its database and the server that it sends to; the database is a copy of `tables`, or a new one."""

    def __init__(self, queue: str, server: ScriptedServer, folder: str, *, tables: Path | None = None) -> None:
        self.queue = queue
        self.server = server
        self.database = Path(folder) / f"{queue}.sqlite3"
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.compare.settings",
            "COMPARE_QUEUE": queue,
            "COMPARE_PORT": str(server.port),
            "COMPARE_DATABASE": str(self.database),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        }
        if tables is None:
            self.run("migrate")
        else:
            shutil.copy(tables, self.database)

    def run(self, *step: str) -> str:
        """A step, to its end; what it printed, and the last line of an error."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bench.compare.site", *step],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=STEP_SECONDS,
                check=False,
                cwd=ROOT,
            )
        except subprocess.TimeoutExpired:
            return f"nothing for {STEP_SECONDS} s"
        error = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        return "\n".join([*done.stdout.strip().splitlines(), *error])

    def start(self, *step: str) -> subprocess.Popen[str]:
        """A step that goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "bench.compare.site", *step],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )

    @property
    def copies(self) -> Counter[str]:
        """How often each recipient has got a message."""
        return Counter(address for message in self.server.messages for address in message.recipients)

    def delivered(self, count: int) -> str:
        """Of so many messages to user0, user1, …: taken, lost, twice."""
        copies = self.copies
        twice = sum(number - 1 for number in copies.values())
        lost = count - len(copies)
        return (
            f"{len(copies)} of {count} arrived"
            + (f", {twice} twice" if twice else "")
            + (f", {lost} not" if lost else "")
        )


def killed(site: Site) -> str:
    """`kill -9` in the middle of a batch of 20; two more runs."""
    site.run("queue", "20")
    site.server.behave(Script(final_reply=[None] * 14 + [accept_then(hang())]), Script())
    worker = site.start("drain")
    site.server.wait_for(lambda server: len(server.messages) >= 15 or worker.poll() is not None, timeout=STEP_SECONDS)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    site.server.behave()
    said = [site.run("drain"), site.run("drain")]
    stuck = next((line for text in said for line in text.splitlines() if "lock" in line.lower()), "")
    ids = {message.header("Message-ID") for message in site.server.messages}
    unknown = sum(" unknown " in line for line in site.run("report").splitlines())
    return ", ".join(
        part
        for part in (
            site.delivered(20),
            f"{unknown} declared unknown" if unknown else "",
            f"“{stuck}”" if stuck else "",
            "" if len(ids) == len(site.copies) else "with other Message-IDs",
        )
        if part
    )


def server_closes(site: Site) -> str:
    """The server closes the connection behind the third message, once."""
    site.run("queue", "20")
    site.server.behave(Script(final_reply=[None, None, both("250 2.0.0 queued", close())]), Script())
    site.run("drain")
    return f"{site.delivered(20)}, by {len(site.server.connections)} connections"


def reply_lost(site: Site) -> str:
    """The server takes the message, and the connection ends before its reply; three runs."""
    site.run("queue", "1")
    site.server.behave(*[Script(final_reply=accept_then(close()))] * 8)
    for _ in range(3):
        site.run("drain")
    ids = {message.header("Message-ID") for message in site.server.messages}
    return f"{len(site.server.messages)} copies, {len(ids)} Message-IDs; it says: {site.run('report')}"


def one_refused(site: Site) -> str:
    """One of two recipients does not exist."""
    site.run("queue_two_recipients")
    site.server.behave(Script(rcpt={"bad@example.net": "550 5.1.1 no such user"}))
    site.run("drain")
    return "it says: " + "; ".join(site.run("report").splitlines())


def poison(site: Site) -> str:
    """The third of five messages has a header that no mail may have."""
    said = site.run("queue_poison")
    site.run("drain")
    arrived = len(site.server.messages)
    return f"{arrived} of 4 good ones arrived" + (f"; {said}" if said else "")


def unreadable(site: Site) -> str:
    """The first of three rows cannot be read."""
    site.run("queue", "3")
    site.run("spoil")
    site.run("drain")
    rows = [line for line in site.run("report").splitlines() if "user0@" in line]
    return f"{len(site.server.messages)} arrived; the bad row: {rows[0] if rows else 'gone without a trace'}"


def html_only(site: Site) -> str:
    """A message that is HTML alone, with braces in it."""
    said = site.run("queue_html_only")
    site.run("drain")
    if not site.server.messages:
        return f"not sent: {said}"
    message = message_from_bytes(site.server.messages[0].content, policy=default)
    body = message.get_content().strip()  # type: ignore[attr-defined]
    return f"arrives as {message.get_content_type()}: {body}"


def rich(site: Site) -> str:
    """Two alternatives, two attachments of one name, an invitation."""
    said = site.run("queue_rich")
    site.run("drain")
    if not site.server.messages:
        return f"not sent: {said}"
    message = message_from_bytes(site.server.messages[0].content, policy=default)
    kinds = Counter(part.get_content_type() for part in message.walk() if not part.is_multipart())
    return ", ".join(f"{count}× {kind}" if count > 1 else kind for kind, count in kinds.items())


def inline_image(site: Site) -> str:
    """An inline image, the way of Django 6."""
    said = site.run("queue_inline_image")
    site.run("drain")
    if not site.server.messages:
        return f"not sent: {said.splitlines()[-1] if said else ''}"
    message = message_from_bytes(site.server.messages[0].content, policy=default)
    images = [part for part in message.walk() if part.get_content_type() == "image/png"]
    return (
        f"arrives, {images[0]['Content-ID']} {images[0].get_content_disposition()}" if images else "the image is lost"
    )


def rolled_back(site: Site) -> str:
    """An urgent message in a transaction that is rolled back."""
    site.run("queue_and_roll_back")
    site.run("drain")
    return "sent all the same" if site.server.messages else "not sent"


def expired(site: Site) -> str:
    """A message whose time is over when the queue comes to it."""
    said = site.run("queue_expired")
    site.run("drain")
    rows = site.run("report")
    return said or f"{'sent' if site.server.messages else 'not sent'}; it says: {rows}"


def cleaned_up(site: Site) -> str:
    """A message for tomorrow, queued long ago, and a clean-up of old mail."""
    return site.run("queue_scheduled_and_clean_up")


MISFORTUNES: dict[str, Callable[[Site], str]] = {
    "`kill -9` in mid batch of 20, two more runs": killed,
    "the server closes once, behind 3 of 20": server_closes,
    "the reply to the message is lost, three runs": reply_lost,
    "one of two recipients is refused": one_refused,
    "one message that cannot be sent": poison,
    "one row that cannot be read": unreadable,
    "HTML alone": html_only,
    "alternatives, attachments of one name, an invitation": rich,
    "an inline image": inline_image,
    "an urgent message that is rolled back": rolled_back,
    "a message whose time is over": expired,
    "clean-up of old mail, one for tomorrow among it": cleaned_up,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", choices=QUEUES, action="append", help="these alone")
    parser.add_argument("--only", help="misfortunes whose description has this word")
    options = parser.parse_args()
    queues = options.queue or list(QUEUES)
    print("| misfortune | " + " | ".join(QUEUES[queue] for queue in queues) + " |")
    print("|---" * (len(queues) + 1) + "|")
    for name, misfortune in MISFORTUNES.items():
        if options.only and options.only not in name:
            continue
        cells = []
        for queue in queues:
            with tempfile.TemporaryDirectory() as folder, ScriptedServer() as server:
                cells.append(misfortune(Site(queue, server, folder)).replace("\n", "; ").replace("|", "/"))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
