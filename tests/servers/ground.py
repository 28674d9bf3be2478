"""What every server stands on: a folder that other users may enter, free ports, a certificate for localhost."""

import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

START_SECONDS = 30.0
_POLL_SECONDS = 0.02
_FIRST_PORT = 15000


class ServerDidNotStart(RuntimeError):
    """The server did not come up, or did not end; what it logged is in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """A certificate for localhost and 127.0.0.1, and the authority that clients must know."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> CertificateFiles:
    """Issue them anew, so that no secret is ever stored."""
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    files = CertificateFiles(ca=folder / "ca.pem", certificate=folder / "cert.pem", key=folder / "key.pem")
    ca.cert_pem.write_to_path(str(files.ca))
    leaf.private_key_pem.write_to_path(str(files.key))
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    files.key.chmod(0o600)
    return files


@contextlib.contextmanager
def public_folder(prefix: str) -> Iterator[Path]:
    """A short path (Unix sockets) that daemons under other users can enter; pytest's own folders are for one user."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago; the caller tries again where another process was faster.

    They lie below those that the system gives to clients: while a killed server is away, no connection of another
    process may take its port.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(_FIRST_PORT, _first_port_of_clients())
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


def _first_port_of_clients() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768


def wait_until(holds: Callable[[], bool], what: str, log: Callable[[], str], seconds: float = START_SECONDS) -> None:
    """Look again until it holds; after `seconds` the log tells why not."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise ServerDidNotStart(f"{what} within {seconds:g} s did not happen:\n{log()}")
        time.sleep(_POLL_SECONDS)


def answers(port: int) -> bool:
    """True when something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def running_in_group(group: int) -> list[int]:
    """The processes of a group, without the dead that nobody has buried."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def end_group(leader: int, log: Callable[[], str]) -> None:
    """SIGTERM to the leader, then SIGKILL to those of its group that stay: a daemon's children hold its ports."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)
        wait_until(lambda: leader not in running_in_group(leader), f"the end of process {leader}", log, seconds=10)
        os.killpg(leader, signal.SIGKILL)
    wait_until(lambda: not running_in_group(leader), f"the end of group {leader}", log, seconds=10)
