"""The tables of the first version with a million rows, migrated while processes of both versions queue and deliver."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connection

from bench.routes.crew import scalar, until, workers
from reliable_email.store.questions.audit import audit
from reliable_email.testing.server import ScriptedServer

_FIRST = "dac01e0"
_ROWS = 1_000_000
_QUEUED = 20_000  # of them: due, so that workers have something to do meanwhile


def main() -> None:
    """Fill, start a worker and a web process of the first version, migrate, start a worker of this one, audit."""
    with tempfile.TemporaryDirectory() as folder:
        if not _unpack(Path(folder)):
            print(f"skipped: this checkout's history does not reach back to {_FIRST}")
            return
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with ScriptedServer(keeps_content=False) as server, workers() as crew:
            environment = {"ROUTES_PORT": str(server.port), "ROUTES_EARLIER": folder, "PYTHONPATH": folder}
            subprocess.run(_earlier("migrate"), env=os.environ | environment, check=True)
            _fill()
            old_worker = subprocess.Popen(_earlier("worker"), env=os.environ | environment)
            old_site = subprocess.Popen(_earlier("queue"), env=os.environ | environment, stdout=subprocess.PIPE)
            until(lambda: len(server.messages) > 500, 60)
            with _watched() as waited:
                began = time.monotonic()
                call_command("migrate", "reliable_email", verbosity=0)
                seconds = time.monotonic() - began
            at_end = len(server.messages)
            crew.start(ROUTES_PORT=str(server.port))
            until(lambda: _by_worker_of_this_version() > 500, 60)
            old_worker.send_signal(signal.SIGTERM)
            old_site.send_signal(signal.SIGTERM)
            queued_meanwhile = int(old_site.communicate(timeout=60)[0])
            old_worker.wait(60)
            until(lambda: _waiting() == 0, 300)
            crew.stop()
            copies = Counter(address for message in server.messages for address in message.recipients)
        _tell(seconds, waited, at_end, queued_meanwhile, copies)


def _unpack(folder: Path) -> bool:
    """Put the modules of the first version into a folder; false where git does not have them."""
    done = subprocess.run(["git", "archive", f"{_FIRST}:src"], capture_output=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True


def _earlier(verb: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "bench.routes.earlier", verb]


def _fill() -> None:
    """Write messages, recipients and attempts as the first version writes them; the newest recipients are due."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reliable_email_outboxmessage (mailer, environment, priority, created_at, message_id, sender, "
            "from_domain, subject, headers, content, content_size, is_7bit, needs_smtputf8, encryption_key, "
            "content_digest, on_unknown, traceparent) SELECT 'smtp', '', 1, now(), '<' || n || '@example.org>', "
            "'site@example.org', 'example.org', 'Hi', '', convert_to('Subject: Hi' || chr(13) || chr(10) || chr(13) "
            "|| chr(10) || 'Hello.' || chr(13) || chr(10), 'UTF8'), 24, true, false, '', '', 'hold', '' "
            f"FROM generate_series(1, {_ROWS}) AS n"
        )
        cursor.execute(
            "INSERT INTO reliable_email_outboxrecipient (message_id, position, address, state, mailer, environment, "
            "priority, due_at, gives_up_at, settled_at, claim, claimed_by, "
            "authorized_route, attempts, crashes, unknowns, "
            "pinned_route, refused_by, route, stage, cause, reply_enhanced, reply_text, detail, provider_message_id) "
            "SELECT id, 0, 'u' || id || '@example.com', "
            f"CASE WHEN id > {_ROWS - _QUEUED} THEN 'queued' ELSE 'accepted' END, 'smtp', '', 1, "
            f"CASE WHEN id > {_ROWS - _QUEUED} THEN now() END, now() + interval '3 days', "
            f"CASE WHEN id <= {_ROWS - _QUEUED} THEN now() END, 1, '', '', 0, 0, 0, '', "
            "'[]', '', '', '', '', '', '', '' FROM reliable_email_outboxmessage"
        )
        cursor.execute(
            "INSERT INTO reliable_email_attempt (message_id, claim, worker, route, peer, finished_at, seconds, stage, "
            "cause, reply_enhanced, reply_text, detail, outcomes, provider_message_id) SELECT id, 1, 'w', 'smtp', '', "
            f"now(), 0.1, 'final_reply', '', '', '', '', '{{\"0\": \"accepted\"}}', '' "
            f"FROM reliable_email_outboxmessage WHERE id <= {_ROWS - _QUEUED}"
        )
        for table in ("outboxmessage", "outboxrecipient", "attempt"):
            cursor.execute(f"ANALYZE reliable_email_{table}")


@contextmanager
def _watched() -> Iterator[list[float]]:
    """How long each of a site's small writes and reads took, over and over, while the block runs."""
    took: list[float] = []
    end = threading.Event()

    def watch() -> None:
        with psycopg.connect(host="127.0.0.1", user="postgres", dbname=os.environ["ROUTES_DATABASE"]) as own:
            while not end.wait(0.005):
                began = time.monotonic()
                own.execute("UPDATE reliable_email_outboxmessage SET subject = 'Hi' WHERE id = 1")
                own.execute("UPDATE reliable_email_outboxrecipient SET detail = '' WHERE message_id = 1")
                own.execute("UPDATE reliable_email_attempt SET detail = '' WHERE message_id = 1")
                own.commit()
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield took
    finally:
        end.set()
        thread.join()


def _by_worker_of_this_version() -> int:
    """How many transactions the worker that was started last has settled."""
    return int(scalar("SELECT settled FROM reliable_email_worker ORDER BY id DESC LIMIT 1"))


def _waiting() -> int:
    return int(scalar("SELECT count(*) FROM reliable_email_outboxrecipient WHERE due_at IS NOT NULL"))


def _tell(seconds: float, waited: list[float], at_end: int, queued_meanwhile: int, copies: Counter[str]) -> None:
    sent = _QUEUED + queued_meanwhile
    print(f"{_ROWS:,} messages, as many recipients, {_ROWS - _QUEUED:,} attempts: migrated in {seconds:.1f} s")
    print(
        f"a write meanwhile took {max(waited) * 1000:.0f} ms at most, {sorted(waited)[len(waited) // 2] * 1000:.1f} ms "
        f"in the middle ({len(waited):,} writes of three statements)"
    )
    print(f"sent by the first version's worker by then: {at_end:,}; in the end, by both: {len(copies):,} of {sent:,}")
    print(f"lost: {sent - len(copies)}; twice: {sum(count > 1 for count in copies.values())}")
    findings = audit().findings
    print(f"audit findings: {len(findings)} {findings[:2]}; in the end: {_states()}")


def _states() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT state, count(*) FROM reliable_email_outboxrecipient GROUP BY state ORDER BY state")
        return dict(cursor.fetchall())
