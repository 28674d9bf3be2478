"""What holds for every test: an environment without EMAIL_*, no network but loopback, nothing left in the process."""

import errno
import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import none

from reliable_email.testing.reset import reset

_TESTS = Path(__file__).parent
_FOLDER_MARKERS = ("integration", "chaos", "browser", "bench", "soak")
# Asked for by name: they measure or run for long.
_ONLY_BY_NAME = frozenset({"bench", "soak"})

for _name in [name for name in os.environ if name.startswith("EMAIL_")]:
    del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    """Let pass what is Python's own: wrap_socket() before 3.13 does not close what it took when the peer has reset."""
    if sys.version_info < (3, 13):
        config.addinivalue_line("filterwarnings", "ignore:unclosed <ssl.SSLSocket:ResourceWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test by its folder; leave out what runs only when its folder or marker is named."""
    asked = f"{config.option.markexpr} {' '.join(config.args)}"
    chosen, left_out = [], []
    for item in items:
        folders = item.path.relative_to(_TESTS).parts if item.path.is_relative_to(_TESTS) else ()
        markers = [name for name in _FOLDER_MARKERS if name in folders]
        for name in markers:
            item.add_marker(name)
        unasked = _ONLY_BY_NAME.intersection(markers) and not any(name in asked for name in markers)
        (left_out if unasked else chosen).append(item)
    items[:] = chosen
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@given(none())
@settings(database=None, max_examples=1, deadline=None)
def _let_hypothesis_register_its_random(value: None) -> None:
    """Search once: Hypothesis looks for what refers to its random numbers the first time, and finds nothing frozen."""


def pytest_collection_finish() -> None:
    """Leave what the collection made out of every later search for garbage: 16,000 tests live until the end."""
    _let_hypothesis_register_its_random()
    gc.collect()
    gc.freeze()


def _is_loopback(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    try:
        return ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        return str(address[0]) in {"localhost", ""}


def _is_local_name(host: object) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name is None or name in {"", "localhost", "localhost.localdomain", socket.gethostname()}:
        return True
    try:
        ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return True


def _no_network(event: str, arguments: tuple[object, ...]) -> None:
    """As on a machine without a network: other addresses are unreachable, other names unknown."""
    if event in {"socket.connect", "socket.sendto"} and not _is_loopback(arguments[1]):
        raise OSError(errno.ENETUNREACH, f"tests reach the loopback only, not {arguments[1]!r}")
    if event == "socket.getaddrinfo" and not _is_local_name(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"tests resolve local names only, not {arguments[0]!r}")


sys.addaudithook(_no_network)


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Leave the database's name as it is: the settings have given each process its own."""


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    """Each test begins without connections, TLS contexts, tokens and route state."""
    yield
    reset()


@pytest.fixture(autouse=True, scope="module")
def _blame_stays_here() -> Iterator[None]:
    """What a module leaves open is reported in that module, not wherever the collector happens to run."""
    yield
    gc.collect()
