"""Ends a process at point n, lets a fresh worker finish, and counts what was lost, doubled or left in doubt."""

import multiprocessing
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connections

from reliable_email import models
from reliable_email.delivery.submission import OnUnknown
from reliable_email.store.questions.audit import audit
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.chaos import crew
from tests.outbox.desk import let_leases_end, let_time_pass, queue
from tests.outbox.desk import worker as make_worker

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.crew"])
_WAIT_SECONDS = 30.0
_SETTLED = {State.ACCEPTED, State.REJECTED, State.UNKNOWN}


@dataclass
class Toll:
    """What a series of crashes has cost.

    Attributes:
        points: at how many the process was ended.
        lost: recipients that ended in no settled state, or accepted without a copy.
        duplicates: copies beyond the first.
        unknown: recipients that were left in doubt.
        findings: of the audit.
    """

    points: int = 0
    messages: int = 0
    lost: int = 0
    duplicates: int = 0
    unknown: int = 0
    names: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.points} points, {self.messages} messages, lost {self.lost}, duplicates {self.duplicates}, "
            f"unknown {self.unknown}, audit findings {len(self.findings)}"
        )


def vendor_of(using: str) -> str:
    """The conftest's word for it."""
    connection: Any = connections[using]
    if connection.vendor == "mysql":
        return "mariadb" if connection.mysql_is_mariadb else "mysql"
    return {"postgresql": "postgres", "sqlite": "sqlite"}[connection.vendor]


def empty(using: str) -> None:
    """Nothing is queued."""
    for model in (models.Attempt, models.OutboxRecipient, models.OutboxMessage, models.Worker):
        model._base_manager.using(using).all().delete()


def scripted_server() -> ScriptedServer:
    """A server that knows one address is wrong."""
    return ScriptedServer(Script(rcpt={"nouser@example.com": "550 5.1.1 user unknown"}))


def kill_worker_everywhere(using: str, *, step: int = 1) -> Toll:
    """SIGKILL at every step-th point of a worker's way."""
    return _everywhere(using, crew.run_worker, signal.SIGKILL, _fill, step)


def suspend_worker_everywhere(using: str, *, step: int = 1) -> Toll:
    """Asleep over the end of its lease at every step-th point, while another worker goes on, and then awake again."""
    return _everywhere(using, crew.run_worker, signal.SIGSTOP, _fill, step)


def kill_flying_worker_everywhere(using: str, *, step: int = 1) -> Toll:
    """SIGKILL at every step-th point of a worker that has several messages in flight; all of them allow a resend."""
    return _everywhere(using, crew.run_flying_worker, signal.SIGKILL, _fill_resendable, step)


def kill_two_lines_everywhere(using: str, *, step: int = 1) -> Toll:
    """SIGKILL at every step-th point of a worker with two connections, which write the journal together."""
    return _everywhere(using, crew.run_two_lines, signal.SIGKILL, _fill_twice, step)


def kill_enqueue_everywhere(using: str, *, step: int = 1) -> Toll:
    """SIGKILL at every step-th point of a caller that queues."""
    return _everywhere(using, crew.run_enqueue, signal.SIGKILL, lambda using: None, step)


def _fill(using: str) -> None:
    queue(using, "ok1@example.com")
    queue(using, "ok2@example.com", "nouser@example.com", "ok3@example.com")
    queue(using, "ok4@example.com")


def _fill_twice(using: str) -> None:
    for n in range(5):
        queue(using, f"ok{n}@example.com")
    queue(using, "nouser@example.com", "ok5@example.com")


def _fill_resendable(using: str) -> None:
    for n in range(4):
        queue(using, f"ok{n}@example.com", on_unknown=OnUnknown.RESEND)
    queue(using, "ok8@example.com", "nouser@example.com", "ok9@example.com", on_unknown=OnUnknown.RESEND)


def _everywhere(using: str, target: Callable[..., None], number: int, fill: Callable[[str], None], step: int) -> Toll:
    toll = Toll()
    at = 1
    while True:
        empty(using)
        fill(using)
        with scripted_server() as server:
            name = _run(using, target, server.port, at, number)
            _finish(using, server)
        _count(using, server, toll, at, name or "end")
        if name is None:
            return toll
        toll.points += 1
        toll.names[name] += 1
        at += step


def kill_command(using: str, *arguments: str, at: int, point: str = "") -> str | None:
    """SIGKILL at point `at` of a command, or of its points of one name; the name, or None where it ended before."""
    return _run(using, crew.run_command, 0, at, signal.SIGKILL, point, *arguments)


def _run(using: str, target: Callable[..., None], port: int, at: int, number: int, *more: str) -> str | None:
    """Run the process into its point; the point's name, or None where it ended before."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    connections.close_all()
    arguments: tuple[Any, ...] = (vendor_of(using), str(connections[using].settings_dict["NAME"]))
    process = _CONTEXT.Process(target=target, args=(*arguments, port, at, int(number), theirs, *more))
    process.start()
    theirs.close()
    name = None
    try:
        if ours.poll(_WAIT_SECONDS):
            name = ours.recv_bytes().decode()
    except EOFError:
        pass
    assert process.pid is not None
    if name is not None and number == signal.SIGSTOP:
        _await_sleep(process.pid)
        if not _holds_the_only_lock(using):
            let_leases_end(using)
            _work(using, port)
        os.kill(process.pid, signal.SIGCONT)
    process.join(_WAIT_SECONDS)
    assert process.exitcode is not None, f"the process hangs after {name}"
    assert process.exitcode == (-number if name is not None and number == signal.SIGKILL else 0), process.exitcode
    ours.close()
    process.close()
    return name


def _await_sleep(pid: int) -> None:
    ends_at = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < ends_at:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return
        time.sleep(0.002)
    raise AssertionError("the process did not fall asleep")


def _finish(using: str, server: ScriptedServer) -> None:
    """A fresh worker takes what is left, as often as it needs: a dead client's locks live on for a moment."""
    for _ in range(50):
        let_leases_end(using)
        let_time_pass(using)
        _work(using, server.port)
        rows = OutboxRecipient.objects.using(using)
        if set(rows.values_list("state", flat=True)) <= _SETTLED and not rows.exclude(due_at=None).exists():
            return
        time.sleep(0.02)


def _holds_the_only_lock(using: str) -> bool:
    """Whether the sleeper is inside a transaction that this test would have to wait for."""
    if connections[using].vendor == "mysql":
        # InnoDB locks more than the rows that are meant (index records, gaps), and others wait for those.
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
                "ON id = trx_mysql_thread_id WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            return bool(cursor.fetchone()[0])
    if connections[using].vendor != "sqlite":
        return False
    try:
        with sqlite3.connect(connections[using].settings_dict["NAME"], timeout=0, isolation_level=None) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        probe.close()
    return False


def _work(using: str, port: int) -> None:
    from django.test import override_settings

    from reliable_email.backends.failover import routes_for

    options = {"host": "127.0.0.1", "port": port, "use_tls": False}
    mailers = {"routes": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}}
    with override_settings(MAILERS=mailers):
        make_worker(using, *routes_for("routes"), lease_seconds=1.0, listen=False).run()


def _count(using: str, server: ScriptedServer, toll: Toll, at: int, name: str) -> None:
    copies = Counter(address for message in server.messages for address in message.recipients)
    toll.messages += models.OutboxMessage.objects.using(using).count()
    for row in OutboxRecipient.objects.using(using):
        count = copies[row.address]
        toll.duplicates += max(0, count - 1)
        toll.unknown += row.state == State.UNKNOWN
        is_right = {
            State.ACCEPTED: count >= 1,
            State.REJECTED: count == 0 and row.address.startswith("nouser"),
            State.UNKNOWN: True,
        }.get(State(row.state), False)
        if not is_right:
            toll.lost += 1
            why = f"{row.cause} {row.detail}"
            toll.findings.append(f"point {at} {name}: {row.address} is {row.state} with {count} copies ({why})")
    known = set(OutboxRecipient.objects.using(using).values_list("address", flat=True))
    toll.duplicates += sum(count for address, count in copies.items() if address not in known)
    together = sum(address.startswith("together") for address in known)
    if together not in (0, 3):
        toll.findings.append(f"point {at} {name}: {together} of three messages of one transaction")
    toll.findings += [f"point {at} {name}: {one.text}" for one in audit(using).findings]
