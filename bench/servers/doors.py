"""A process that sends the letters by one door: `python -m bench.servers.doors direct|queue`, set up by `trial`.

It prints how many recipients are settled as it goes, and at the end one JSON line: of each recipient what it was told.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bench.servers.letters import Letter, letters, waits_for_ever

_BATCH = 10
_THREADS = 4
_CONNECTIONS = 6
_PAUSE_SECONDS = 0.5
_HURRY_SECONDS = 2.0  # so often is made due what waits for its next attempt: nobody waits for hours here
_LATE_REPLY = timedelta(seconds=10)
PAUSE = threading.Event().wait


def _message(letter: Letter) -> Any:
    from django.core.mail import EmailMessage

    return EmailMessage(
        f"letter {letter.message_id}",
        "Text.\n" * 20,
        letter.sender,
        list(letter.recipients),
        headers={"Message-ID": f"<{letter.message_id}>"},
    )


def _tell(line: object) -> None:
    print(json.dumps(line), flush=True)


class Direct:
    """Threads that send batches, half of them by the failover and half by the route itself."""

    def __init__(self, post: Sequence[Letter], *, resends: bool, until: float) -> None:
        self._messages = {letter: _message(letter) for letter in post}
        self._resends = resends
        self._until = until
        self._once_unknown: set[tuple[str, str]] = set()
        self._settled = 0
        self._lock = threading.Lock()

    def send(self) -> list[list[object]]:
        """Send all, and again what is deferred, until nothing is or the time is up."""
        left = list(self._messages)
        while left and time.monotonic() < self._until:
            batches = [left[start : start + _BATCH] for start in range(0, len(left), _BATCH)]
            threads = [threading.Thread(target=self._work, args=(batches,)) for _ in range(_THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            left = [letter for letter in left if self._is_to_be_sent_again(letter)]
            PAUSE(_PAUSE_SECONDS if left else 0)
        return [self._told(letter, who) for letter in self._messages for who in letter.recipients]

    def _work(self, batches: list[list[Letter]]) -> None:
        from reliable_email.mailers import mailers

        while time.monotonic() < self._until:
            with self._lock:
                if not batches:
                    break
                batch = batches.pop()
            _send_all(mailers["failover" if len(batches) % 2 else "server"], [self._messages[one] for one in batch])
            with self._lock:
                self._note(batch)

    def _note(self, batch: Sequence[Letter]) -> None:
        for letter in batch:
            report = self._messages[letter].delivery
            for who in letter.recipients:
                if any(one.outcomes.get(who) == "unknown" for one in report.attempts):
                    self._once_unknown.add((letter.message_id, who))
                self._settled += report.recipients[who].outcome != "deferred"
        _tell(self._settled)

    def _is_to_be_sent_again(self, letter: Letter) -> bool:
        report = self._messages[letter].delivery
        again = {"deferred", "unknown"} if self._resends else {"deferred"}
        return any(report.recipients[who].outcome in again for who in letter.recipients if not waits_for_ever(who))

    def _told(self, letter: Letter, who: str) -> list[object]:
        report = getattr(self._messages[letter], "delivery", None)
        if report is None:
            return [letter.message_id, who, "unsent", False, ""]
        one = report.recipients[who]
        return [
            letter.message_id,
            who,
            one.outcome,
            (letter.message_id, who) in self._once_unknown or one.outcome == "unknown",
            f"{one.cause} {one.reply or one.failure}",
        ]


def _send_all(mailer: Any, messages: Sequence[Any]) -> None:
    from reliable_email.exceptions import DeliveryError

    with contextlib.suppress(DeliveryError):  # the reports tell
        mailer.send_messages(messages)


class Queue:
    """The outbox, and a worker process with several connections."""

    def __init__(self, post: Sequence[Letter], *, until: float) -> None:
        self._until = until
        from django.core.management import call_command

        from reliable_email.mailers import mailers

        call_command("migrate", verbosity=0)
        mailers["default"].send_messages([_message(letter) for letter in post])

    def send(self) -> list[list[object]]:
        """Let the worker deliver until only those who are busy for ever are left, or the time is up."""
        from django.db import connection

        command = [sys.executable, "-W", "ignore", "-m", "django", "email_worker", "--verbosity", "0"]
        worker = subprocess.Popen([*command, "--connections", str(_CONNECTIONS)], stdout=subprocess.DEVNULL)
        hurried_at = time.monotonic()
        while self._open_count() and time.monotonic() < self._until and worker.poll() is None:
            PAUSE(_PAUSE_SECONDS / 2)
            if time.monotonic() > hurried_at + _HURRY_SECONDS:
                hurried_at = time.monotonic()
                self._hurry()
        ended_early = worker.poll() is not None
        worker.terminate()
        worker.wait(60)
        connection.close()
        if ended_early:
            raise SystemExit("the worker ended by itself")
        return self._told()

    def _open_count(self) -> int:
        from reliable_email.store.tables.recipients import OutboxRecipient

        rows = OutboxRecipient.objects.filter(state__in=("queued", "claimed", "authorized"))
        _tell(OutboxRecipient.objects.count() - rows.count())
        to_be_sent_again = OutboxRecipient.objects.filter(state="unknown", due_at__isnull=False)
        return sum(some.exclude(address__startswith="busy").count() for some in (rows, to_be_sent_again))

    def _hurry(self) -> None:
        from django.db.models.functions import Now

        from reliable_email.store.tables.recipients import OutboxRecipient

        waiting = OutboxRecipient.objects.filter(due_at__gt=Now())
        waiting.filter(state="queued").update(due_at=Now())
        # A late reply must have had its time, as in the worker.
        waiting.filter(state="unknown", settled_at__lt=Now() - _LATE_REPLY).update(due_at=Now())

    def _told(self) -> list[list[object]]:
        from reliable_email.store.tables.recipients import OutboxRecipient

        return [
            [
                row.message.message_id.strip("<>"),
                row.address,
                row.state,
                row.unknowns > 0,
                f"{row.cause} {row.reply_code} {row.reply_enhanced} {row.reply_text} {row.detail}",
            ]
            for row in OutboxRecipient.objects.select_related("message").order_by("pk")
        ]


def main(door: str) -> None:
    """Send by this door."""
    until = time.monotonic() + float(os.environ["SERVERS_SECONDS"])
    post = list(letters(**json.loads(os.environ["SERVERS_LETTERS"])))
    resends = json.loads(os.environ["SERVERS_OPTIONS"]).get("on_unknown") == "resend"
    import django

    django.setup()
    began_at = time.monotonic()
    told = (Direct(post, resends=resends, until=until) if door == "direct" else Queue(post, until=until)).send()
    _tell({"told": told, "seconds": time.monotonic() - began_at})


if __name__ == "__main__":
    main(sys.argv[1])
