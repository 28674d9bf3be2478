"""Servers that are libraries: aiosmtpd and Twisted of PyPI, nodemailer's of npm. `tools/servers` fetches them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.mail_server import Books, ProcessServer, found_program, taken_files

_HERE = Path(__file__).resolve().parent
_PYTHON = _HERE.parents[1] / ".venvs" / "servers" / "bin" / "python"
_NODE = _HERE / "node"


class SmallServer(ProcessServer):
    """One process that keeps one file a message."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "taken").mkdir()

    def books(self) -> Books:
        """Read the files."""
        return taken_files(self.folder / "taken")


class PythonServer(SmallServer):
    """A program in tests/servers/python."""

    program: ClassVar[str]
    package: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        """Return which package is not installed."""
        found = any(_PYTHON.parents[1].glob(f"lib/*/site-packages/{cls.package}"))
        return None if found else f"no {cls.package} in {_PYTHON.parents[1]}: tools/servers"

    def command(self) -> Sequence[str]:
        """Run it with the port and the folder."""
        return [str(_PYTHON), str(_HERE / "python" / self.program), str(self.port), str(self.folder / "taken")]


class Aiosmtpd(PythonServer):
    """It announces no PIPELINING, and reads what is in its buffer."""

    name = "aiosmtpd"
    program = "with_aiosmtpd.py"
    package = "aiosmtpd"


class Twisted(PythonServer):
    """It tells each recipient's copy apart."""

    name = "twisted"
    program = "with_twisted.py"
    package = "twisted"


class Nagle(SmallServer):
    """nodemailer's: each reply is a write of its own, and Nagle's algorithm is on, as it is by default in node."""

    name = "nagle"

    @classmethod
    def missing(cls) -> str | None:
        """Return which part is not installed."""
        if shutil.which("node") is None:
            return "node is not installed"
        found = (_NODE / "node_modules" / "smtp-server").is_dir()
        return None if found else f"no packages: npm ci --prefix {_NODE}"

    def command(self) -> Sequence[str]:
        """Run it with the port and the folder."""
        return [found_program("node"), str(_NODE / "plain.mjs"), str(self.port), str(self.folder / "taken")]
