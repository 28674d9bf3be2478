"""`make demo-live` as a newcomer uses it: as a process, by its pages."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.live import Live, is_running, live
from tests.demo.visitor import Visitor
from tests.servers.ground import wait_until

pytestmark = pytest.mark.timeout(180)  # several processes, on a machine that may be busy
HERE_ALONE = ("--port", "0", "--calm", "--quiet")


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One that several tests visit; each leaves it running, and Ctrl-C ends it after the last."""
    with live(tmp_path_factory.mktemp("visited"), *HERE_ALONE) as running:
        yield running
        assert running.interrupt() == 0


def came_by(visitor: Visitor, running: Live, recipient: str) -> str:
    """Send a mail by the page; the provider that took it."""
    visitor.visit()
    visitor.press("Send", recipient=recipient)
    assert f"The mail to {recipient} is in the outbox." in visitor.page

    def found() -> list[list[str]]:
        visitor.visit()
        return [row for row in visitor.rows() if row[:2] == ["accepted", recipient]]

    wait_until(lambda: bool(found()), f"the mail to {recipient}", lambda: visitor.page + running.said())
    return found()[0][2]


def test_a_mail_goes_by_the_first_provider_and_by_the_second_while_that_is_down(tmp_path: Path) -> None:
    """Sent, broken and mended by clicks; Ctrl-C ends all of it, and leaves no process and no file."""
    with live(tmp_path, *HERE_ALONE) as running:
        visitor = Visitor(running.site)
        visitor.visit("/admin/login/")
        (form,) = [one for one in visitor.forms() if "password" in one.fields]
        visitor.submit(form, username=running.username, password=running.password, next="/admin/")
        assert "Log out" in visitor.page
        assert f"{running.site}mail/" in running.said()
        visitor.visit("/mail/")
        assert "HEALTHY" in visitor.page
        assert "You are operator." in visitor.page
        assert came_by(visitor, running, "ada@customer.example") == "gmail"
        visitor.press("Take it down", within="provider-gmail")
        assert "gmail is down" in visitor.page
        assert came_by(visitor, running, "grace@customer.example") == "sendgrid"
        visitor.press("Mend it", within="provider-gmail")
        assert "gmail is mended" in visitor.page
        assert came_by(visitor, running, "alan@customer.example") == "gmail"
        processes = running.processes()
        assert len(processes) == 2, "itself and a worker"
        assert running.interrupt() == 0, running.said()
        assert [one for one in processes if is_running(one)] == []
        assert running.said().endswith("Ended; nothing of it is left running.\n")
        assert "Traceback" not in running.said()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list((tmp_path / "home").iterdir()) == []


def test_the_page_obeys_a_strict_policy_and_refuses_strangers_forms(visited: Live) -> None:
    """Nothing inline, nothing from elsewhere; a form without its token and a trouble that is none do nothing."""
    visitor = Visitor(visited.site)
    visitor.visit()
    assert visitor.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert " style=" not in visitor.page
    assert "<style" not in visitor.page
    broken = next(one for one in visitor.forms() if "Take it down" in one.buttons)
    visitor.submit(broken, csrfmiddlewaretoken="")
    assert visitor.status == 403
    visitor.submit(broken, trouble="earthquake")
    assert visitor.status == 400
    visitor.visit()
    visitor.press("Send", recipient="nobody")
    assert visitor.status == 400
    assert "Enter a valid email address." in visitor.page
    wrong = next(one for one in visitor.forms() if "Take it down" in one.buttons)
    assert wrong.fields["is_on"] == "1", "nothing is broken"


def test_it_goes_elsewhere_where_its_port_is_taken(tmp_path: Path, visited: Live) -> None:
    """And makes another password each time."""
    port = visited.site.rpartition(":")[2].strip("/")
    with live(tmp_path, "--port", port, "--calm", "--quiet") as running:
        assert running.site != visited.site
        assert Visitor(running.site).visit().count("<h1>") == 1
        assert running.password != visited.password


def test_a_worker_that_dies_is_replaced(visited: Live) -> None:
    """Mail goes on."""
    visitor = Visitor(visited.site)
    assert came_by(visitor, visited, "ada@customer.example") == "gmail"
    worker = visited.processes()[1]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "another one takes over" in visited.said(), "another worker", visited.said)
    assert came_by(visitor, visited, "grace@customer.example") == "gmail"


def test_no_worker_outlives_it(tmp_path: Path) -> None:
    """Not even where it is killed and can end nothing itself."""
    with live(tmp_path, *HERE_ALONE) as running:
        assert came_by(Visitor(running.site), running, "ada@customer.example") == "gmail"
        worker = running.processes()[1]
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not is_running(worker), "the end of the worker", running.said)


def test_there_is_mail_and_trouble_by_itself(tmp_path: Path) -> None:
    """Without a click."""
    with live(tmp_path, "--port", "0") as running:
        visitor = Visitor(running.site)

        def accepted() -> int:
            visitor.visit()
            return len([row for row in visitor.rows() if row[0] == "accepted"])

        wait_until(lambda: accepted() >= 3, "three mails", running.said)
        wait_until(lambda: "gmail will take the next message and hang up" in running.said(), "a trouble", running.said)

        def unknown() -> bool:
            visitor.visit()
            return any((row[0], *row[2:4]) == ("unknown", "gmail", "outcome_unknown") for row in visitor.rows())

        wait_until(unknown, "what became of it", lambda: visitor.page)
        assert running.interrupt() == 0


_SPINS = "from demo.live.ending import until_signal\nwith until_signal():\n print(1, flush=True)\n while 1: pass"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_no_error_wherever_it_comes(stop: signal.Signals) -> None:
    """Also while it starts: the block ends, without a word."""
    process = subprocess.Popen([sys.executable, "-c", _SPINS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(stop)
    assert process.communicate(timeout=30)[0] == b""
    assert process.returncode == 0
