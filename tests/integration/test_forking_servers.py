"""Servers whose processes are forks of one that has sent mail: no lock is dead in them, no connection shared."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reliable_email.testing.server import ScriptedServer

ROOT = Path(__file__).parent.parent.parent
SITE = "tests.sites.forking"
BIN = Path(sys.executable).parent
REQUESTS = 12

SERVERS = {
    "gunicorn --preload": ["gunicorn", "--preload", "--workers", "3", "--bind", "127.0.0.1:{port}"],
    "gunicorn --preload, threads": ["gunicorn", "--preload", "--workers", "2", "--threads", "3", "--bind",
                                    "127.0.0.1:{port}"],
    "gunicorn, gevent": ["gunicorn", "-k", "gevent", "--workers", "2", "--bind", "127.0.0.1:{port}"],
    "uwsgi": ["uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "3", "--enable-threads",
              "--die-on-term", "--need-app"],
}  # fmt: skip


@pytest.fixture
def mail() -> Iterator[ScriptedServer]:
    """Where the site sends."""
    with ScriptedServer() as one:
        yield one


def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Until something answers there."""
    ends_at = time.monotonic() + 40
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < ends_at


def command(name: str, port: int) -> list[str]:
    """What starts the server, or a skip where it is not installed."""
    program, *words = SERVERS[name]
    found = shutil.which(program, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{program} is not installed")
    if "gevent" in name:
        pytest.importorskip("gevent")
    place = ["--module", f"{SITE}:application"] if program == "uwsgi" else [f"{SITE}:application"]
    return [found, *(word.format(port=port) for word in words), *place]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SERVERS)
def test_forked_processes_send_and_queue(name: str, mail: ScriptedServer, tmp_path: Path) -> None:
    """Direct and queued mail from all of them at once: each arrives once, and each request is answered."""
    port = free_port()
    environment = os.environ | {
        "FORKING_DATABASE": str(tmp_path / "site.sqlite3"),
        "FORKING_PORT": str(mail.port),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "PYTHONWARNINGS": "ignore",
        "HOME": str(tmp_path),
        "FORKING_GEVENT": "1" if "gevent" in name else "",
    }
    steps = [["migrate", "--verbosity", "0"], ["email_worker", "--until-empty", "--verbosity", "0"]]

    def manage(step: list[str]) -> None:
        settings = {"DJANGO_SETTINGS_MODULE": SITE, "FORKING_STEP": "1"}
        subprocess.run([sys.executable, "-m", "django", *step], env=environment | settings, cwd=ROOT, check=True)

    manage(steps[0])
    server = subprocess.Popen(
        command(name, port), env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_for(port, server)

        def ask(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", data=b"", timeout=40) as answer:
                return str(answer.read().decode())

        wanted = [f"{kind}/{kind}{number}" for number in range(REQUESTS) for kind in ("direct", "queue")]
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(ask, wanted))
    finally:
        server.terminate()
        server.communicate(timeout=40)
    assert Counter(one.split()[0] for one in answers) == {"accepted": REQUESTS, "queued": REQUESTS}
    manage(steps[1])
    copies = Counter(address for message in mail.messages for address in message.recipients)
    expected = {f"{kind}{number}@example.net" for number in range(REQUESTS) for kind in ("direct", "queue")}
    assert expected <= set(copies)
    # Each process that loads the site itself sends the first two once more.
    assert {copies[address] for address in expected} == {1}
