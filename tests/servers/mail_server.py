"""What every server of the trial is: started on a loopback port, killed, started again, and asked for its books."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.servers import cell, debian
from tests.servers.ground import ServerDidNotStart, free_ports, wait_until

Pair = tuple[str, str]  # Message-ID without brackets, recipient

DOMAIN = "example.com"
NO_SUCH_USER = "nouser"  # a recipient whose local part begins so is refused for good
BUSY = "busy"  # for now, each time
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^>\r\n]+)>", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a server says it took.

    Attributes:
        copies: how often it has each message for each recipient.
        discarded: messages that it took and threw away, by the log of what threw them.
    """

    copies: Counter[Pair]
    discarded: frozenset[str] = field(default_factory=frozenset)


def message_id_in(content: bytes) -> str:
    """Return the Message-ID of a message's bytes, without its brackets; empty where there is none."""
    found = _MESSAGE_ID.search(content)
    return found[1].decode("ascii", "replace") if found else ""


class MailServer(ABC):
    """One server with its folder and its port.

    Attributes:
        name: what `make servers` calls it.
        route_options: OPTIONS that its route needs beside host and port.
        has_busy: whether it can refuse recipients for now.
        fates: what becomes of some messages, by a word in front of the sender's address; "" is no fate.
    """

    name: ClassVar[str]
    route_options: ClassVar[Mapping[str, Any]] = {}
    has_busy: ClassVar[bool] = True
    fates: ClassVar[Sequence[str]] = ("",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return why it cannot run here, or None."""

    @abstractmethod
    def start(self) -> None:
        """Start it on its port, with what it had before."""

    @abstractmethod
    def kill(self) -> None:
        """End all its processes by SIGKILL."""

    @abstractmethod
    def books(self) -> Books:
        """Return what it took."""

    def log(self) -> str:
        """Return the end of what it wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def greets(self) -> bool:
        """Return True when it greets a client, who leaves politely."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2.0) as client, client.makefile("rb") as replies:
                greeting = replies.readline()
                client.sendall(b"QUIT\r\n")
                replies.readline()
        except OSError:
            return False
        return greeting.startswith(b"220")


class CellServer(MailServer):
    """A server out of Debian's packages, in a cell."""

    package: ClassVar[str]
    program: ClassVar[str]  # where the package is installed on this machine itself, it is used

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        installed = self._is_installed()
        self.cell = cell.Cell(folder, None if installed else debian.folder_of(self.package))
        self.configure()

    @classmethod
    def _is_installed(cls) -> bool:
        return debian.missing(cls.package) is not None and Path(cls.program).exists()

    @classmethod
    def missing(cls) -> str | None:
        """Return why there is no cell, or no package."""
        return cell.missing() or (None if cls._is_installed() else debian.missing(cls.package))

    @abstractmethod
    def configure(self) -> None:
        """Write its configuration and make its users and folders."""

    @abstractmethod
    def script(self) -> str:
        """Return the shell commands that run it and do not end."""

    def start(self) -> None:
        """Start it, and wait for its greeting."""
        self.cell.start(self.script(), self.folder / "log")
        wait_until(lambda: self.greets() or not self.cell.is_running, f"the start of {self.name}", self.log, 60)
        if not self.cell.is_running:
            raise ServerDidNotStart(self.log())

    def kill(self) -> None:
        """Kill the whole cell."""
        self.cell.kill()


class ProcessServer(MailServer):
    """A server that is one process."""

    _process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""

    def environment(self) -> Mapping[str, str]:
        """Return what it has in its environment beside PATH."""
        return {}

    def is_ready(self) -> bool:
        """Return True when clients may come."""
        return self.greets()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                env={"PATH": os.environ.get("PATH", os.defpath), **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._process
        wait_until(lambda: process.poll() is not None or self.is_ready(), f"the start of {self.name}", self.log)
        if process.poll() is not None:
            raise ServerDidNotStart(self.log())

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(10)
            self._process = None


def found_program(name: str) -> str:
    """Return the path of a program that `missing` has seen."""
    found = shutil.which(name)
    assert found is not None, f"{name}: missing() comes first"
    return found


def taken_files(folder: Path) -> Books:
    """Read books that are one file a message: a line of recipients, then the content."""
    copies: Counter[Pair] = Counter()
    for path in folder.glob("*.taken"):
        recipients, _, content = path.read_bytes().partition(b"\n")
        copies.update((message_id_in(content), one) for one in recipients.decode().split())
    return Books(copies=copies)
