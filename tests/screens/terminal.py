"""Runs the demo project's commands in a pseudo terminal, and reads what appears there."""

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ground import wait_until

ROOT = Path(__file__).parent.parent.parent
CTRL_C = b"\x03"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OWN = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "NO_COLOR", "COLUMNS", "LINES", "TERM")


class Site:
    """The demo project with a database of its own, an outbox as its default mailer, and a route to `port`."""

    def __init__(self, directory: Path, *, port: int = 9) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in _OWN}
        self.environment = kept | {
            "DEMO_VAR": str(directory),
            "PYTHONPATH": str(ROOT / "src"),
            "EMAIL_BACKEND": "reliable_email.backends.OutboxBackend",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(port),
            "DJANGO_DEBUG": "0",
        }

    def command(self, *arguments: str) -> list[str]:
        """A command line."""
        return [sys.executable, "manage.py", *arguments]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run to its end, without a terminal."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def queue(self, *addresses: str) -> None:
        """Queue one message for these."""
        done = self.run("sendtestemail", *addresses)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def terminal(self, *arguments: str, **more: str) -> Iterator["Terminal"]:
        """A command in a terminal of 100 columns and 40 lines."""
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments),
            env=self.environment | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"} | more,
            cwd=ROOT,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(terminal)
        try:
            yield Terminal(controller, process)
        finally:
            process.kill()
            process.wait()
            os.close(controller)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """What a person sees and types."""

    def __init__(self, controller: int, process: subprocess.Popen[bytes]) -> None:
        self.raw = ""
        self._controller = controller
        self._process = process

    @property
    def text(self) -> str:
        """Everything that was shown, without control codes; lines may be folded."""
        return " ".join(_CONTROL.sub(" ", self.raw).split())

    def wait_for(self, words: str) -> None:
        """Wait until they were shown."""
        wait_until(lambda: words in self._read(), f"{words!r} on the terminal", lambda: self.raw)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._controller, keys)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        wait_until(lambda: bool(self._read()) and self._process.poll() is not None, "the end", lambda: self.raw)
        self._read()
        return self._process.returncode

    def _read(self) -> str:
        while select.select([self._controller], [], [], 0)[0]:
            try:
                piece = os.read(self._controller, 65536)
            except OSError:
                break  # Linux's way to say that the other side has ended
            if not piece:
                break
            self.raw += piece.decode(errors="replace")
        return self.text
