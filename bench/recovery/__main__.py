"""Five faults, and the rate of delivery through each over the undisturbed rate: `make recovery`.

A worker process drains a queue; in the middle something breaks. The time until every message is accepted (or declared
unknown) is what counts, outage and leases included. A private PostgreSQL is started, so that it can be restarted.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliable_email.testing.server import ScriptedServer

ROOT = Path(__file__).resolve().parent.parent.parent
PAUSE = threading.Event().wait  # a wait that no test may patch away


class Postgres:
    """A private server with its default durability."""

    def __init__(self, folder: Path) -> None:
        self.bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.data = folder / "data"
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.data.mkdir()
        shutil.chown(folder, "postgres")
        shutil.chown(self.data, "postgres")
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres")
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=30"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Cut every session."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")

    def kill_backends(self) -> None:
        """End every other session."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"
        command = [self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qc", query]
        subprocess.run(command, check=False, capture_output=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(self.bin / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")


class Crew:
    """Worker processes, one at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.worker = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "django", "email_worker"]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_and_replace(self) -> None:
        """SIGKILL, and a new one at once, as a supervisor does."""
        self.worker.send_signal(signal.SIGKILL)
        self.worker.wait()
        self.worker = self._start()

    def end(self) -> None:
        """Stop."""
        self.worker.terminate()
        try:
            self.worker.wait(15)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait()


def nothing(postgres: Postgres, crew: Crew) -> None:
    """The undisturbed run."""


def restart(postgres: Postgres, crew: Crew) -> None:
    """The database is stopped and started."""
    postgres.stop()
    postgres.start()


def kill_backends(postgres: Postgres, crew: Crew) -> None:
    """Every session is ended, three times."""
    for _ in range(3):
        postgres.kill_backends()
        PAUSE(0.5)


def exhaust_pool(postgres: Postgres, crew: Crew) -> None:
    """Somebody takes every connection for two seconds, the worker's own among them."""
    import psycopg

    held: list[Any] = []
    target = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    postgres.kill_backends()
    with contextlib.suppress(psycopg.OperationalError):
        while len(held) < 30:
            held.append(psycopg.connect(target))
    PAUSE(2)
    for one in held:
        one.close()


def crash(postgres: Postgres, crew: Crew) -> None:
    """One worker is killed and replaced."""
    crew.kill_and_replace()


def repeated_kills(postgres: Postgres, crew: Crew) -> None:
    """Five times, two seconds apart."""
    for _ in range(5):
        crew.kill_and_replace()
        PAUSE(2)


FAULTS: dict[str, Callable[[Postgres, Crew], None]] = {
    "undisturbed": nothing,
    "database restart": restart,
    "backend connections killed": kill_backends,
    "connection pool exhausted": exhaust_pool,
    "one worker crash": crash,
    "repeated kills": repeated_kills,
}


def measure(name: str, postgres: Postgres, server: ScriptedServer, environment: dict[str, str], count: int) -> float:
    """Seconds until everything is final; raises where something was lost or sent twice."""
    from django.core.mail import EmailMessage
    from django.db import connection

    from reliable_email.mailers import mailers
    from reliable_email.store.tables.recipients import OutboxRecipient

    before = len(server.messages)
    first = OutboxRecipient.objects.count()
    batch = [EmailMessage(f"no. {n}", "body\n", "a@example.org", [f"u{first + n}@example.net"]) for n in range(count)]
    mailers["default"].send_messages(batch)
    connection.close()
    crew = Crew(environment)
    try:
        server.wait_for(lambda one: len(one.messages) > before + count // 10, timeout=60)
        began_at = time.monotonic()
        FAULTS[name](postgres, crew)
        ends_at = time.monotonic() + 240
        while _open_count() and time.monotonic() < ends_at:
            PAUSE(0.1)
        seconds = time.monotonic() - began_at
    finally:
        crew.end()
    states = dict(OutboxRecipient.objects.order_by("pk").values_list("address", "state")[first:])
    copies = Counter(address for one in server.messages[before:] for address in one.recipients)
    wrong = [
        f"{address}: {state}, {copies[address]} copies"
        for address, state in states.items()
        if copies[address] not in {"accepted": (1,), "unknown": (0, 1)}.get(state, ())
    ]
    if wrong or len(states) != count:
        raise SystemExit(f"{name}: {len(wrong)} wrong, such as {wrong[:3]}")
    unknown = sum(state == "unknown" for state in states.values())
    print(f"{name:<28} {seconds:6.1f} s, {unknown} unknown, none lost, none twice", flush=True)
    return seconds


def _open_count() -> int:
    from django.db import DatabaseError, connection

    from reliable_email.store.tables.recipients import OutboxRecipient

    try:
        return OutboxRecipient.objects.filter(state__in=("queued", "claimed", "authorized")).count()
    except DatabaseError:
        connection.close()
        return 1


def main() -> None:
    """Measure each fault, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ScriptedServer(keeps_content=False) as server:
        Path(name).chmod(0o755)
        postgres = Postgres(Path(name))
        try:
            os.environ |= {
                "DJANGO_SETTINGS_MODULE": "bench.recovery.settings",
                "RECOVERY_DATABASE_PORT": str(postgres.port),
                "RECOVERY_PORT": str(server.port),
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            }
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            seconds = {one: measure(one, postgres, server, dict(os.environ), options.count) for one in FAULTS}
        finally:
            postgres.stop()
    print("\n| fault | rate over the undisturbed rate |\n|---|---|")
    for one, taken in seconds.items():
        if one != "undisturbed":
            print(f"| {one} | {100 * seconds['undisturbed'] / taken:.0f} % |")


if __name__ == "__main__":
    main()
