"""The services that some tests need, and whether they are here.

A test asks with `require("postfix")`: where the service is missing it is skipped with the reason. Where
RELIABLE_EMAIL_REQUIRE is "all", or names the service in its comma-separated list, it fails instead: a machine that
should have the service must not be quiet about it. "all" leaves out MySQL, which Debian's stable release does not have
(tools/mysql starts one). RELIABLE_EMAIL_WITHOUT names services to do without, though they may be here.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.servers.roll import SERVERS

_CONNECT_SECONDS = 2.0
MARIADB_PORT = 3306
MYSQL_PORT = int(os.environ.get("RELIABLE_EMAIL_MYSQL_PORT", "3307"))  # beside MariaDB
NODE_DIRECTORY = Path(__file__).parent / "servers" / "node"


def _listens(port: int) -> str | None:
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS).close()
    except OSError as error:
        return f"nothing answers at 127.0.0.1:{port} ({error})"
    return None


def _programs(*names: str) -> str | None:
    missing = [name for name in names if shutil.which(name, path=_search_path()) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _postfix() -> str | None:
    if reason := _programs("postfix", "dovecot"):
        return reason
    return "Postfix's master runs as root only" if os.geteuid() else None


def _node() -> str | None:
    if reason := _programs("node"):
        return reason
    if not (NODE_DIRECTORY / "node_modules" / "smtp-server").is_dir():
        return f"no packages: npm ci --prefix {NODE_DIRECTORY}"
    return None


@cache
def _packages() -> str | None:
    """What a reader of the tutorial has: `venv` with pip in it, and an index that pip reaches."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        steps = (
            [getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(python.parents[1])],
            [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "sqlparse"],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{' '.join(step[1:4])} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
    return None


def _chromium() -> str | None:
    if reason := _programs("chromium", "chromedriver"):
        return reason
    if not (NODE_DIRECTORY / "node_modules" / "axe-core").is_dir():
        return f"no axe-core: npm ci --prefix {NODE_DIRECTORY}"
    return None


# What is missing, in words; None where all is there.
SERVICES: Mapping[str, Callable[[], str | None]] = {
    "postgres": lambda: _listens(5432),
    "mariadb": lambda: _listens(MARIADB_PORT),
    "mysql": lambda: _listens(MYSQL_PORT),
    "redis": lambda: _listens(6379),
    "rabbitmq": lambda: _listens(5672),
    "postfix": _postfix,
    "node": _node,
    "faketime": lambda: _programs("faketime"),
    "chromium": _chromium,
    "prometheus": lambda: _programs("prometheus", "promtool"),
    "packages": _packages,
    **{name: server.missing for name, server in SERVERS.items()},
}

_DEMANDED_BY_NAME_ONLY = frozenset({"mysql"})


def _named_in(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def skip_unwanted(name: str) -> None:
    """Skip the test where RELIABLE_EMAIL_WITHOUT names this service, or all."""
    if _named_in("RELIABLE_EMAIL_WITHOUT") & {"all", name}:
        pytest.skip(f"{name}: not wanted, says RELIABLE_EMAIL_WITHOUT")


def require(*names: str) -> None:
    """Skip the test unless all these services are here; fail it where they are demanded."""
    demanded = _named_in("RELIABLE_EMAIL_REQUIRE")
    for name in names:
        skip_unwanted(name)
        reason = SERVICES[name]()
        if reason is None:
            continue
        if name in demanded or ("all" in demanded and name not in _DEMANDED_BY_NAME_ONLY):
            pytest.fail(f"{name} is demanded by RELIABLE_EMAIL_REQUIRE, but: {reason}", pytrace=False)
        pytest.skip(f"{name}: {reason}")
