"""`email_worker` in a terminal and through a pipe."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from demo.providers import DEFECT
from reliable_email.testing import certificates
from reliable_email.testing.actions import until_told
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.screens.terminal import CTRL_C, ROOT, Site
from tests.thoroughness import each

pytestmark = pytest.mark.timeout(180)  # many processes, on a machine that may be busy


def test_a_terminal_shows_what_the_worker_does(folder: Path) -> None:
    """Its transactions, the outbox, its routes; what stays at the end is the last view and the sum."""
    pytest.importorskip("rich")
    with ScriptedServer() as server:
        site = Site(folder, port=server.port)
        with site.terminal("email_worker") as terminal:
            terminal.wait_for("HEALTHY queued 0")
            site.queue("ada@example.com")
            terminal.wait_for("accepted 1 1 in the last minute")
            terminal.wait_for("1 transactions, 1 of them in the last minute; Ctrl-C ends")
            terminal.wait_for("in use")
            terminal.type(CTRL_C)
            assert terminal.end() == 0
    assert terminal.text.endswith("1 transaction, ended by SIGINT")
    assert "Traceback" not in terminal.raw


def test_the_first_ctrl_c_says_what_it_waits_for(folder: Path) -> None:
    """A message in hand is finished; a second one ends without its reply."""
    pytest.importorskip("rich")
    with ScriptedServer(Script(final_reply=until_told())) as server:
        site = Site(folder, port=server.port)
        with site.terminal("email_worker") as terminal:
            site.queue("ada@example.com")
            terminal.wait_for("authorized 1")
            terminal.type(CTRL_C)
            terminal.wait_for("ends when the messages in hand are finished; once more ends at once")
            terminal.type(CTRL_C)
            terminal.end()
    assert "unknown 1" in terminal.text


def test_what_is_logged_appears_above_the_view(folder: Path, tmp_path: Path) -> None:
    """Also by a handler that got hold of the terminal before: the view is wiped, and drawn again below the line."""
    pytest.importorskip("rich")
    (tmp_path / "sitecustomize.py").write_text("import logging\nlogging.basicConfig(format='LOGGED %(message)s')\n")
    with ScriptedServer(tls="starttls", certificate=certificates.defective(DEFECT)) as server:
        site = Site(folder, port=server.port)
        site.queue("ada@example.com")
        more = {"EMAIL_HOST": "localhost", "EMAIL_USE_TLS": "1", "EMAIL_SSL_CAFILE": str(server.ca_file)}
        with site.terminal("email_worker", PYTHONPATH=f"{tmp_path}:{ROOT / 'src'}", **more) as terminal:
            terminal.wait_for("accepted 1")
            terminal.type(CTRL_C)
            assert terminal.end() == 0
    (written,) = re.findall(r"(?:^|\n|\x1b\[2K)LOGGED .*", terminal.raw)
    assert "Basic Constraints of CA cert not marked critical" in terminal.text
    assert terminal.raw.count("LOGGED") == 1, written


@pytest.mark.parametrize("arguments", each([(), ("--plain",)], 2))
def test_a_pipe_gets_two_plain_lines(folder: Path, arguments: tuple[str, ...]) -> None:
    """Who it is, and what it did."""
    with ScriptedServer() as server:
        site = Site(folder, port=server.port)
        site.queue("ada@example.com")
        done = site.run("email_worker", "--until-empty", *arguments)
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert first.startswith("worker ")
    assert last == "1 transaction, ended"
    assert done.stdout.replace("\n", "").isprintable()


def test_sigterm_in_a_pipe_ends_it_in_order(folder: Path) -> None:
    """As a service manager does."""
    site = Site(folder)
    process = subprocess.Popen(
        site.command("email_worker"), env=site.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("worker ")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "0 transactions, ended by SIGTERM\n"
    assert process.returncode == 0
