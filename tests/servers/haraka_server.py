"""Haraka out of npm, with one plugin that keeps what it takes. Needs `npm ci --prefix tests/servers/haraka`."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.mail_server import Books, ProcessServer, found_program, taken_files

_FOLDER = Path(__file__).parent / "haraka"
_PROGRAM = _FOLDER / "node_modules" / "haraka" / "bin" / "haraka"
_FILES = {
    "plugins": "books\n",
    "me": "localhost\n",
    "log.ini": "level=info\n",
    # Without [message] it dies at its first greeting.
    "connection.ini": "[main]\n[message]\ngreeting[]=Haraka\nclose=bye\n[headers]\nmax_lines=1000\nmax_received=100\n"
    "[haproxy]\n[uuid]\nbanner_chars=6\n[max]\nbytes=26214400\n",
}


class Haraka(ProcessServer):
    """It announces PIPELINING, and refuses what stands in its buffer behind the final dot."""

    name = "haraka"

    @classmethod
    def missing(cls) -> str | None:
        """Return which part is not installed."""
        if shutil.which("node") is None:
            return "node is not installed"
        return None if _PROGRAM.exists() else f"no packages: npm ci --omit=optional --prefix {_FOLDER}"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("config", "plugins", "queue", "taken"):
            (folder / name).mkdir()
        shutil.copy(_FOLDER / "books.js", folder / "plugins")
        for name, text in _FILES.items():
            (folder / "config" / name).write_text(text)
        (folder / "config" / "smtp.ini").write_text(f"listen=127.0.0.1:{self.port}\nnodes=0\n")

    def command(self) -> Sequence[str]:
        """Return how its one process is run."""
        return [found_program("node"), str(_PROGRAM), "-c", str(self.folder)]

    def environment(self) -> Mapping[str, str]:
        """Return where it finds its configuration."""
        return {"HARAKA": str(self.folder)}

    def books(self) -> Books:
        """Read what the plugin kept."""
        return taken_files(self.folder / "taken")
