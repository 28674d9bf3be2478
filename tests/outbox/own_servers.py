"""Database servers of a test's own, which it may stop and kill: the machine's own belong to everybody."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.outbox.conftest import database_settings
from tests.servers.ground import answers, free_ports, public_folder, wait_until
from tests.services import skip_unwanted

_NAME = "restarts"
_MYSQL_ROOT = Path(os.environ.get("RELIABLE_EMAIL_MYSQL_ROOT", "/var/tmp/reliable-email-mysql"))  # see tools/mysql


class OwnServer(ABC):
    """One server in a folder, on a port of its own, with its default durability."""

    vendor: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def create(self) -> None:
        """Make its files."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def create_database(self) -> None:
        """Make an empty database in it."""

    def settings(self) -> dict[str, Any]:
        """Return what DATABASES says of that database."""
        return database_settings(self.vendor, _NAME) | {"PORT": self.port}

    def start(self) -> None:
        """Start it, as often as it ends by itself, and wait until it answers."""
        self._launch()
        wait_until(self._is_ready_at_last, f"the start of {self.vendor}", self.log, 60)

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    def _is_ready_at_last(self) -> bool:
        # PostgreSQL refuses to start while a session of a killed one still holds the shared memory: a moment later
        # it does not.
        if self._process is None or self._process.poll() is not None:
            self._launch()
        return self.is_ready()

    def is_ready(self) -> bool:
        """Return whether sessions can begin."""
        return answers(self.port)

    def stop(self, number: signal.Signals) -> None:
        """End all its processes by this signal."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait(60)
            wait_until(lambda: not answers(self.port), f"the end of {self.vendor}", self.log)
            self._process = None

    def log(self) -> str:
        """Return the end of what it wrote."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]


class OwnPostgres(OwnServer):
    """PostgreSQL, as Debian has it."""

    vendor = "postgres"

    def _program(self, name: str) -> list[str]:
        folder = max(Path("/usr/lib/postgresql").glob("*/bin"))
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", str(folder / name)]

    def create(self) -> None:
        """Let initdb make them."""
        shutil.chown(self.folder, "postgres")
        command = [*self._program("initdb"), "-D", str(self.folder / "data"), "-A", "trust", "-U", "postgres"]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def command(self) -> list[str]:
        """Listen on loopback alone."""
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}"]
        return [*self._program("postgres"), "-D", str(self.folder / "data"), *(f"--{one}" for one in options)]

    def is_ready(self) -> bool:
        """After a crash it answers before it has recovered."""
        import psycopg

        try:
            psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self) -> None:
        """By an administrator."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as one:
            one.execute(f"CREATE DATABASE {_NAME}")

    def stop(self, number: signal.Signals) -> None:
        """By SIGINT it ends every session and then itself; by SIGTERM it would wait for them."""
        super().stop(signal.SIGINT if number is signal.SIGTERM else number)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


class OwnMariaDB(OwnServer):
    """MariaDB, as Debian has it."""

    vendor = "mariadb"

    def create(self) -> None:
        """Let its own script make them; root needs no password."""
        shutil.chown(self.folder, "mysql")
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", "--user=mysql"]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([*command, *options], check=True, capture_output=True)

    def command(self) -> list[str]:
        """Listen on loopback alone."""
        where = [f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 's'}", f"--port={self.port}"]
        return ["mariadbd", "--no-defaults", "--user=mysql", "--bind-address=127.0.0.1", *where]

    def is_ready(self) -> bool:
        """Return whether it lets root in."""
        import pymysql

        if not answers(self.port):
            return False
        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user="root").close()
        except (pymysql.err.Error, OSError):
            return False
        return True

    def create_database(self) -> None:
        """By root."""
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=self.port, user="root") as server, server.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_NAME} CHARACTER SET utf8mb4")


class OwnMySQL(OwnMariaDB):
    """MySQL, out of the folder that tools/mysql has made."""

    vendor = "mysql"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = f"/var/lib/mysql-restarts-{secrets.token_hex(4)}"

    def create(self) -> None:
        """Let it make them; root needs no password."""
        (_MYSQL_ROOT / self._data[1:]).mkdir(mode=0o750)
        subprocess.run(["chroot", str(_MYSQL_ROOT), "chown", "mysql", self._data], check=True)
        self._run = ["chroot", str(_MYSQL_ROOT), "mysqld", "--no-defaults", "--user=mysql", f"--datadir={self._data}"]
        self._run.append("--secure-file-priv=")
        subprocess.run([*self._run, "--initialize-insecure"], check=True, capture_output=True)

    def command(self) -> list[str]:
        """Listen on loopback alone."""
        where = [f"--socket={self._data}/s", f"--pid-file={self._data}/pid", f"--port={self.port}"]
        return [*self._run, "--bind-address=127.0.0.1", "--mysqlx=OFF", *where]

    def remove(self) -> None:
        """Delete its files, which are not in the test's folder."""
        shutil.rmtree(_MYSQL_ROOT / self._data[1:], ignore_errors=True)


_SERVERS = {one.vendor: one for one in (OwnPostgres, OwnMariaDB, OwnMySQL)}


def _missing(vendor: str) -> str:
    if os.geteuid():
        return "only root may become the user of a server"
    programs = {
        "postgres": bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
        "mariadb": bool(shutil.which("mariadb-install-db")),
        "mysql": (_MYSQL_ROOT / "usr/sbin/mysqld").exists(),
    }
    return "" if programs[vendor] else f"no programs of {vendor}"


@contextlib.contextmanager
def own_server(vendor: str) -> Iterator[OwnServer]:
    """Start a server of this vendor with an empty database; it is gone afterwards."""
    skip_unwanted(vendor)
    if reason := _missing(vendor):
        pytest.skip(reason)
    with public_folder("re-db-") as folder:
        server = _SERVERS[vendor](folder)
        try:
            server.create()
            server.start()
            server.create_database()
            yield server
        finally:
            server.stop(signal.SIGKILL)
            if isinstance(server, OwnMySQL):
                server.remove()
