"""Servers whose processes are forks of one that has sent mail: no lock is dead in them, no connection shared."""

import json
import os
import shutil
import signal
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

from reliable_email.testing.actions import both, pause, real
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.thoroughness import only_thoroughly

pytestmark = only_thoroughly  # a dozen servers, each with processes that import a whole site
ROOT = Path(__file__).parent.parent.parent
SITE = "tests.sites.forking"
BIN = Path(sys.executable).parent
REQUESTS = 12
WAIT_SECONDS = 120.0  # for a machine that has other things to do

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
    with ScriptedServer(Script(final_reply=both(pause(0.05), real()))) as one:  # so that all processes have to send
        yield one


def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Until something answers there."""
    ends_at = time.monotonic() + WAIT_SECONDS
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


@pytest.mark.timeout(600)
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
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", data=b"", timeout=WAIT_SECONDS) as answer:
                return str(answer.read().decode())

        wanted = [f"{kind}/{kind}{number}" for number in range(REQUESTS) for kind in ("direct", "queue")]
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(ask, wanted))
    finally:
        server.terminate()
        server.communicate(timeout=WAIT_SECONDS)
    assert Counter(one.split()[0] for one in answers) == {"accepted": REQUESTS, "queued": REQUESTS}
    manage(steps[1])
    copies = Counter(address for message in mail.messages for address in message.recipients)
    expected = {f"{kind}{number}@example.net" for number in range(REQUESTS) for kind in ("direct", "queue")}
    assert expected <= set(copies)
    # Each process that loads the site itself sends the first two once more.
    assert {copies[address] for address in expected} == {1}
    assert_no_connection_is_shared(mail)


def makers(mail: ScriptedServer) -> dict[int, set[bytes]]:
    """For each connection the processes that have made the direct messages which came by it."""
    found: dict[int, set[bytes]] = {}
    for message in mail.messages:
        if message.recipients[0].startswith(("direct", "parent@")):
            headers = message.content.partition(b"\r\n\r\n")[0].splitlines()
            found.setdefault(message.connection, set()).update(one for one in headers if one.startswith(b"X-Process"))
    return found


def assert_no_connection_is_shared(mail: ScriptedServer) -> None:
    """Each belongs to one process, and the parent's to the parent."""
    assert all(len(processes) == 1 for processes in makers(mail).values()), makers(mail)


@pytest.mark.timeout(600)
def test_celerys_children_send_queue_and_deliver(mail: ScriptedServer, tmp_path: Path) -> None:
    """Prefork: the parent has sent and queued and holds every lock when it forks; its children do all of it at once."""
    celery = pytest.importorskip("celery")
    folder = tmp_path / "tasks"
    folder.mkdir()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": SITE,
        "FORKING_DATABASE": str(tmp_path / "site.sqlite3"),
        "FORKING_PORT": str(mail.port),
        "FORKING_BROKER": str(folder),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "PYTHONWARNINGS": "ignore",
    }

    def manage(*step: str) -> str:
        words = [sys.executable, "-m", "django", *step]
        settings = {"FORKING_STEP": "1"}
        done = subprocess.run(words, env=environment | settings, cwd=ROOT, check=False, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout

    manage("migrate", "--verbosity", "0")
    words = [
        "celery",
        "-A",
        SITE,
        "worker",
        "--concurrency",
        "3",
        "--without-mingle",
        "--without-gossip",
        "-l",
        "error",
    ]
    log = tmp_path / "log"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", *words], env=environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
        )
    try:
        options = {"data_folder_in": str(folder), "data_folder_out": str(folder), "control_folder": f"{folder}-control"}
        with celery.Celery("caller", broker="filesystem://", set_as_current=False) as app:
            app.conf.update(broker_transport_options=options, task_ignore_result=True)
            for number in range(REQUESTS):
                for kind in ("direct", "queue"):
                    app.send_task("post", (kind, f"{kind}{number}"))
        names = [f"{kind}{number}" for number in range(REQUESTS) for kind in ("direct", "queue")]
        expected = {f"{name}@example.net" for name in (*names, "parent", "parent-queued")}
        try:
            mail.wait_for(
                lambda one: expected <= {two for got in one.messages for two in got.recipients}, timeout=WAIT_SECONDS
            )
        except AssertionError as error:
            raise AssertionError(log.read_text()) from error
        worker.terminate()
        worker.wait(WAIT_SECONDS)
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)
    copies = Counter(address for message in mail.messages for address in message.recipients)
    assert copies == dict.fromkeys(expected, 1)
    assert_no_connection_is_shared(mail)
    assert len(set.union(*makers(mail).values())) > 2  # the parent, and more than one child
    told = json.loads(manage("email_outbox", "status", "--json"))
    assert told["recipients"]["accepted"] == REQUESTS + 1, told
