"""A quota that is used up, with twenty thousand messages behind it."""

import os
import subprocess
import sys
import time

from bench.routes.crew import empty, in_state, queue, scalar, until, workers
from reliable_email.delivery.submission import Priority
from reliable_email.testing.server import ScriptedServer

_SECONDS = 60.0
_UPDATES = """SELECT coalesce(sum(n_tup_upd), 0) FROM pg_stat_user_tables
WHERE relname IN ('reliable_email_outboxrecipient', 'reliable_email_outboxmessage')"""


def main() -> None:
    """50 a day; 3,000 normal and 17,000 bulk; two workers."""
    empty()
    queue(3000)
    queue(17000, priority=Priority.BULK)
    with ScriptedServer() as server, workers() as crew:
        environment = {"ROUTES_PORT": str(server.port), "ROUTES_QUOTA": "50/day"}
        for _ in range(2):
            crew.start(**environment)
        until(lambda: in_state("accepted") >= 47, 60)
        time.sleep(15)
        before, began = scalar(_UPDATES), time.time()
        time.sleep(_SECONDS)
        told = crew.stop()
        after = scalar(_UPDATES)
        print(f"sent: {len(server.messages)} of 50 a day; urgent mail has the rest")
        print(f"row updates in {_SECONDS:.0f} s, both workers: {after - before}")
        for one in told:
            count = sum(began <= at < began + _SECONDS for at in one["moments"])
            waits = [line for line in one["lines"] if "quota" in line]
            print(
                f"a worker: {count} statements in {_SECONDS:.0f} s; log lines of the quota: {len(waits)}: {waits[:1]}"
            )
        print(f"verdict: {_verdict(environment)}")
        empty_end = crew.start("--until-empty", **environment)
        seconds = until(lambda: empty_end.poll() is not None, 60)
        print(
            f"--until-empty ended after {seconds:.1f} s, exit code {empty_end.returncode}; sent: {len(server.messages)}"
        )
        sent = len(server.messages)
        crew.start(**environment | {"ROUTES_QUOTA": "200/day"})
        seconds = until(lambda: len(server.messages) > sent, 60)
        print(f"raised to 200 a day: the next went {seconds:.1f} s after the worker was started")
        until(lambda: len(server.messages) >= 190, 30)
        crew.stop()
        print(f"sent in the end: {len(server.messages)} of 200")


def _verdict(environment: dict[str, str]) -> str:
    code = (
        "import django; django.setup()\n"
        "from reliable_email.monitoring.health import examine_site\n"
        "found = examine_site()\n"
        "print(found.verdict, [one.text for one in found.findings])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=os.environ | environment, capture_output=True
    )
    return done.stdout.decode().strip() or done.stderr.decode()[-500:]
