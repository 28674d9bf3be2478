"""`email_worker` where something is in its way: signals, names that do not exist, a database that cannot be used."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.utils import InterfaceError, OperationalError, ProgrammingError

from reliable_email.outbox import faultpoints
from reliable_email.store.tables.shared import OutcomeTotal, Worker
from reliable_email.store.tables.states import State
from reliable_email.testing.actions import hang
from reliable_email.testing.server import Script, ScriptedServer
from tests.outbox.desk import states
from tests.outbox.test_commands import server, site

__all__ = ["server", "site"]  # fixtures


def work(using: str, *arguments: str) -> tuple[str, str]:
    """What the command wrote to its two streams."""
    out, err = io.StringIO(), io.StringIO()
    call_command("email_worker", "--database", using, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@contextmanager
def once_at(name: str, act: Callable[[], None]) -> Iterator[None]:
    """Do this once, when a thread passes that point."""
    left = [act]

    def listen(passed: str) -> None:
        if passed == name and left:
            left.pop()()

    faultpoints.listen(listen)
    try:
        yield
    finally:
        faultpoints.reset()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_the_worker_in_order(site: str, name: str) -> None:
    """A closed terminal is as good as SIGTERM: what is in hand is finished."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)  # whoever runs these tests may ignore it (nohup)
    try:
        with once_at("send:begin", lambda: os.kill(os.getpid(), number)):
            out, err = work(site)
    finally:
        signal.signal(number, before)
    assert f"ended by {name}" in out
    assert "is unknown then" in err
    assert states(site) in ([State.ACCEPTED], [State.QUEUED])


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        BrokenPipeError(32, "Broken pipe"),
        ValueError("I/O operation on closed file."),
        AttributeError("'NoneType' object has no attribute 'write'"),
    ],
    ids=["a full disk", "nobody reads", "closed", "no stream"],
)
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["for people", "for programs"])
def test_an_output_that_cannot_be_written_stops_no_mail(
    site: str, error: Exception, words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it, and the exit code is that of the work."""

    class Full(io.StringIO):
        def write(self, words: str) -> int:
            raise error

    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    call_command("email_worker", "--database", site, "--until-empty", *words, stdout=Full())
    assert states(site) == [State.ACCEPTED]
    assert "cannot write to its output" in caplog.text


def test_an_output_that_can_be_written_again_gets_what_comes_later(site: str, tmp_path: Path) -> None:
    """A site may log to the same descriptor, and the disk is not full for ever."""
    with (tmp_path / "output").open("wb") as file:

        class FullOnce(io.StringIO):
            def write(self, words: str) -> int:
                if not self.has_failed:
                    self.has_failed = True
                    raise OSError(28, "No space left on device")
                return super().write(words)

            def fileno(self) -> int:
                return file.fileno()

            has_failed = False

        output = FullOnce()
        call_command("email_worker", "--database", site, "--until-empty", stdout=output)
        os.write(file.fileno(), b"a line of the log")
    assert (tmp_path / "output").read_bytes() == b"a line of the log"
    assert "0 transactions" in output.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_output_that_is_full_to_the_end_changes_no_exit_code(tmp_path: Path) -> None:
    """The interpreter would try to write once more when it ends."""
    code = (
        "import django; django.setup(); "
        "from reliable_email.management.commands.email_worker import Command; "
        "import sys; Command(stdout=sys.stdout)._say('worker')"
    )
    with Path("/dev/full").open("w") as full:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run([sys.executable, "-c", code], stdout=full, env=environ, check=False, timeout=60)
    assert done.returncode == 0


def test_a_hangup_that_nohup_ignores_stays_ignored(site: str) -> None:
    """The worker outlives its terminal, as its user wanted."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with once_at("send:begin", lambda: os.kill(os.getpid(), signal.SIGHUP)):
            out, _ = work(site, "--until-empty")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "ended by" not in out
    assert states(site) == [State.ACCEPTED]


def test_what_the_second_signal_leaves_unknown_is_told_and_counted(site: str, server: ScriptedServer) -> None:
    """The last round is in the worker's row and in the totals, as every other."""

    def interrupt(conversation: Any) -> None:
        """The server has the message, and its reply never comes."""
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        hang()(conversation)

    server.behave(Script(final_reply=interrupt))
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    out, _ = work(site)
    assert states(site) == [State.UNKNOWN]
    assert out.splitlines()[-1].endswith("; 1 recipient is unknown: the last replies were not waited for")
    assert OutcomeTotal.objects.using(site).get(outcome="unknown").count == 1
    assert Worker.objects.using(site).get().settled == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mailers", "smpt"], "There is no mailer 'smpt'. Did you mean 'smtp'?"),
        (["--routes", "smpt"], "There is no route 'smpt'. Did you mean 'smtp'?"),
        (["--routes", "smtp,xyz"], "There is no route 'xyz'. There are: smtp."),
        (["--mailers", ","], "--mailers needs at least one name."),
    ],
)
def test_a_name_that_does_not_exist_is_a_usage_error(site: str, arguments: list[str], words: str) -> None:
    """A worker for it would idle without a word."""
    with pytest.raises(CommandError) as caught:
        work(site, "--until-empty", *arguments)
    assert caught.value.returncode == 2
    assert words in str(caught.value)


def test_a_mailer_may_be_named_as_the_application_names_it(site: str) -> None:
    """The outbox's own alias means the mailer that delivers for it."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    work(site, "--until-empty", "--mailers", "default")
    assert states(site) == [State.ACCEPTED]


@contextmanager
def refusing(using: str, error: Callable[[], Exception]) -> Iterator[None]:
    """Every statement fails like this."""

    def fail(*arguments: Any) -> Any:
        raise error()

    with connections[using].execute_wrapper(fail):
        yield


COMMANDS = {
    "email_worker": ["--until-empty"],
    "email_outbox": ["cancel", "--all"],
    "email_suppression": ["list"],
}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("connection refused"), "is away: connection refused"),
        (OperationalError(1290, "running with the --read-only option"), "is read-only"),
        (ProgrammingError('relation "reliable_email_worker" does not exist'), "cannot be used now"),
        (ProgrammingError(1146, "Table doesn't exist"), "run `manage.py migrate`"),
        (OperationalError("no such table: reliable_email_worker"), "run `manage.py migrate`"),
        (InterfaceError("connection already closed"), "is away"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_that_cannot_be_used_is_one_line(site: str, name: str, error: Exception, words: str) -> None:
    """And exit code 1, not a traceback."""
    arguments = COMMANDS[name]
    order = ["--database", site, *arguments]
    with refusing(site, lambda: error), pytest.raises(CommandError) as caught:
        call_command(name, *order, stdout=io.StringIO())
    assert caught.value.returncode == 1
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
