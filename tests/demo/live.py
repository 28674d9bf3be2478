"""`python -m demo.live` as a process, and what it says."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ground import wait_until

ROOT = Path(__file__).parent.parent.parent
_OWN = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "DEMO_VAR", "HOME")


class Live:
    """One that runs.

    Attributes:
        site: where its pages are.
        username, password: as it said.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said
        wait_until(self._is_ready, "its introduction", self.said)
        text = self.said()
        self.site = re.findall(r"http://127\.0\.0\.1:\d+/", text)[0]
        self.username = re.findall(r"login: (\S+)", text)[0]
        self.password = re.findall(r"password: (\S+)", text)[0]

    def said(self) -> str:
        """Everything that it said."""
        return self._said.read_text()

    def processes(self) -> list[int]:
        """It, and those that it started, as long as they live."""
        return [self.process.pid, *children(self.process.pid)]

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "Ctrl-C ends it." in self.said()


@contextmanager
def live(folder: Path, *arguments: str) -> Iterator[Live]:
    """Start it in a home that is empty; whatever happens, nothing of it stays."""
    home, temporary = folder / "home", folder / "temporary"
    home.mkdir()
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    environment = kept | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / "src")}
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.live", *arguments],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started: list[int] = []
    try:
        running = Live(process, said)
        started = running.processes()
        yield running
    finally:
        for pid in (process.pid, *started[1:]):
            if is_running(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be buried."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            its_parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has just ended
        if its_parent == parent:
            found.append(int(path.parent.name))
    return found
