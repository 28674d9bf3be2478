"""Soaks the outbox: `make soak` (COUNT messages, WORKERS processes, 5 % faults of every kind), then audits it.

Every fault is met at the servers: refusals for now and for good at each command, connections that end before, in and
after the content, replies that never come. Now and then a worker is killed. At the end each recipient must be in one
final state, and the servers must agree: one copy of what was accepted, none of what was rejected, at most one of what
is unknown. Exit code 1 otherwise.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reliable_email.testing.actions import as_action
from reliable_email.testing.script import Script
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.server import Act, ScriptedServer, accept_then, close, half, real, reset

ROOT = Path(__file__).resolve().parent.parent.parent
DATABASE = "reliable_email_soak"


class Sometimes:
    """An act that is real but for a share of the times."""

    def __init__(self, share: float, *acts: Act, seed: int) -> None:
        self._share = share
        self._acts = acts
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self, conversation: Conversation) -> None:
        """Do one of them, or what a correct server does."""
        with self._lock:
            act = self._random.choice(self._acts) if self._random.random() < self._share else None
            self.count += act is not None
        as_action(act if act is not None else real())(conversation)


def faulty(share: float, seed: int) -> tuple[Script, list[Sometimes]]:
    """A script whose faults, all stages together, meet about this share of the messages."""
    each = share / 5
    later = "451 4.3.0 try later"
    taken = (accept_then(close()), accept_then(reset()))
    mail = Sometimes(each, later, "421 4.3.2 closing", close(), reset(), seed=seed)
    rcpt = Sometimes(each, "450 4.2.1 mailbox busy", "550 5.1.1 no such user", close(), seed=seed + 1)
    data = Sometimes(each, later, "554 5.7.1 spam", reset(), seed=seed + 2)
    content = Sometimes(each, close(), reset(), seed=seed + 3)
    final = Sometimes(each, later, "554 5.6.0 no", *taken, half("25"), seed=seed + 4)
    script = Script(mail=mail, rcpt=rcpt, data=data, content=content, final_reply=final)
    return script, [mail, rcpt, data, content, final]


def workers(count: int, environment: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """Worker processes that end when nothing is due."""
    command = [sys.executable, "-W", "ignore", "-m", "django", "email_worker", "--until-empty"]
    return [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]


def deliver(count: int, environment: dict[str, str], *, ends_at: float, kills: int) -> int:
    """Run workers to their end, killing one now and then; how many were killed."""
    running = workers(count, environment)
    killed = 0
    while any(one.poll() is None for one in running) and time.monotonic() < ends_at:
        if killed < kills and all(one.poll() is None for one in running):
            threading.Event().wait(3)
            victim = running.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed += 1
            running += workers(1, environment)
        threading.Event().wait(0.2)
    for one in running:
        if one.poll() is None:
            one.terminate()
            one.wait()
    return killed


def verdict(servers: Sequence[ScriptedServer], states: dict[str, str]) -> list[str]:
    """Where the outbox and the servers disagree."""
    copies = Counter(address for server in servers for message in server.messages for address in message.recipients)
    allowed = {"accepted": (1,), "unknown": (0, 1)}
    wrong = [
        f"{address} is {state} and the servers have {copies[address]} copies"
        for address, state in states.items()
        if copies[address] not in allowed.get(state, (0,))
    ]
    return wrong + [f"{address} has a copy and no row" for address in copies if address not in states]


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--share", type=float, default=0.05, help="of messages that meet a fault")
    parser.add_argument("--seconds", type=float, default=1500.0, help="give up after so many")
    parser.add_argument("--kills", type=int, default=4, help="workers killed on the way")
    options = parser.parse_args()
    ends_at = time.monotonic() + options.seconds
    psql = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-q", "-c"]
    for statement in (f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}"):
        subprocess.run([*psql, statement], check=True, stderr=subprocess.DEVNULL)
    (first_script, first_faults), (second_script, second_faults) = faulty(options.share, 1), faulty(options.share, 100)
    with (
        ScriptedServer(first_script, keeps_content=False) as first,
        ScriptedServer(second_script, keeps_content=False) as second,
    ):
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.soak.settings",
            "SOAK_PORTS": f"{first.port},{second.port}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        }
        os.environ.update(environment)
        import django

        django.setup()
        from django.core.mail import EmailMessage
        from django.core.management import call_command
        from django.db import connection
        from django.db.models import F
        from django.db.models.functions import Now

        from reliable_email.mailers import mailers
        from reliable_email.store.tables.recipients import OutboxRecipient

        call_command("migrate", verbosity=0)
        began_at = time.monotonic()
        for start in range(0, options.count, 10_000):
            numbers = range(start, min(options.count, start + 10_000))
            mailers["default"].send_messages(
                [EmailMessage(f"no. {n}", "body\n", "a@example.org", [f"user{n}@example.net"]) for n in numbers]
            )
        queued_at = time.monotonic()
        print(f"queued      {options.count:>8,} messages in {queued_at - began_at:.0f} s")
        connection.close()
        rounds = killed = 0
        while time.monotonic() < ends_at:
            rounds += 1
            killed += deliver(options.workers, environment, ends_at=ends_at, kills=options.kills if rounds == 1 else 0)
            waiting = OutboxRecipient.objects.filter(state="queued")
            if not waiting.exists():
                break
            # What waits for its next attempt is made due, so that the soak need not take three days. No other row is
            # written: both routes close now and then, and the dead rows of each round would slow down the next.
            waiting.filter(due_at__gt=Now()).update(due_at=Now(), attempts=F("attempts"))
        seconds = time.monotonic() - queued_at
        states = dict(OutboxRecipient.objects.values_list("address", "state"))
        wrong = verdict([first, second], states)
        faults = sum(one.count for one in (*first_faults, *second_faults))
        print(
            f"delivered   in {seconds:.0f} s and {rounds} rounds by {options.workers} workers, {killed} of them killed"
        )
        print(
            f"faults met  {faults:>8,} at the servers, {len(first.connections) + len(second.connections):,} connections"
        )
        for state, count in sorted(Counter(states.values()).items()):
            print(f"{state:<11} {count:>8,}")
        for line in wrong[:20]:
            print(f"WRONG: {line}")
        print(f"lost {options.count - len(states)}, contradictions {len(wrong)}")
        audit = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "django", "email_outbox", "audit"], env=environment, check=False
        )
    unfinished = sum(state in ("queued", "claimed", "authorized") for state in states.values())
    return int(bool(wrong or audit.returncode or unfinished or len(states) != options.count))


if __name__ == "__main__":
    sys.exit(main())
