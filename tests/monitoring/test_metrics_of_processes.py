"""Two workers and a web process: whoever is asked tells the same numbers, and they are right."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliable_email.testing.server import Script, ScriptedServer
from tests.monitoring.expositions import labelled, samples, value

_ROOT = Path(__file__).parents[2]
_TOKEN = "token-of-the-scraper"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Takes everything but mail for nobody."""
    with ScriptedServer(Script(rcpt={"nobody@example.net": "550 5.1.1 no such user"})) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, server: ScriptedServer) -> Iterator[Start]:
    """Starts processes of the site, and ends those that are left."""
    environment = {
        **os.environ,
        "METERED_DATABASE": str(tmp_path / "metered.sqlite3"),
        "METERED_PORT": str(server.port),
        "METERED_TOKEN": _TOKEN,
        "PYTHONPATH": str(_ROOT),
    }
    started: list[subprocess.Popen[str]] = []

    def run(step: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-m", "tests.sites.metered", step]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=_ROOT, env=environment, **pipes)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def finish(*processes: subprocess.Popen[str]) -> None:
    """Each has ended well."""
    for process in processes:
        _, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors


def scrape(port: str) -> str:
    """What the web process exposes."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mail/metrics/")
    request.add_header("Authorization", f"Bearer {_TOKEN}")
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return str(response.read().decode())


def test_two_workers_and_two_web_processes_tell_the_same(start: Start, server: ScriptedServer) -> None:
    """Outcomes by cause, latencies by stage, quota, queue: from the database, whoever is asked."""
    finish(start("migrate"))
    web = [start("serve") for _ in range(2)]
    ports = [process.stdout.readline().strip() for process in web if process.stdout is not None]
    before = samples(scrape(ports[0]))
    assert labelled(before, "outcomes_total") == {}
    assert labelled(before, "health") == {("healthy",): 1.0}

    finish(start("queue"))
    waiting = samples(scrape(ports[0]))
    assert labelled(waiting, "queue_recipients") == {("normal", "queued"): 28.0}
    assert labelled(waiting, "health") == {("unhealthy",): 1.0}

    finish(start("work"), start("work"))
    told = [samples(scrape(port)) for port in ports]
    assert told[0] == told[1]
    found = told[0]
    assert len(server.messages) == 24
    # cause, outcome, route
    assert labelled(found, "outcomes_total") == {
        ("", "accepted", "smtp"): 24.0,
        ("mailbox_unknown", "rejected", "smtp"): 4.0,
    }
    assert value(found, "attempt_duration_seconds_count", route="smtp") == 24
    assert value(found, "attempt_duration_seconds_bucket", route="smtp", le="+Inf") == 24
    assert value(found, "attempt_stage_duration_seconds_count", route="smtp", stage="final_reply") == 24
    assert value(found, "attempt_duration_seconds_sum", route="smtp") > 0
    quota = {"route": "smtp", "unit": "recipients", "window_seconds": "86400"}
    assert value(found, "quota_used", **quota) == 24
    assert value(found, "quota_remaining", **quota) == 1000 - 24
    assert labelled(found, "queue_recipients") == {}
    assert labelled(found, "health") == {("healthy",): 1.0}
    assert labelled(found, "route_phase") == {("in_use", "smtp"): 1.0}
