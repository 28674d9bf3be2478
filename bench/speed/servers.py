"""What the clients of a benchmark talk to: a sink, links with a delay, a submission server with TLS, a real Postfix."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_CHUNK = 4096


class Missing(Exception):
    """What a benchmark needs is not on this machine, or does not work here."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A server that takes everything; see `sink.c`."""

    port: int

    def counts(self) -> tuple[int, int]:
        """Messages taken so far, and the connections that brought them."""
        with socket.create_connection(("127.0.0.1", self.port)) as talk:
            talk.recv(_CHUNK)
            talk.sendall(b"XCOUNT\r\n")
            _, messages, connections = talk.recv(_CHUNK).split()
        return int(messages), int(connections)


@dataclass(frozen=True, slots=True)
class Link:
    """A link with a delay; see `link.py`."""

    port: int
    process: "subprocess.Popen[str]"

    def turns(self) -> int:
        """Round trips of the first connection that ends."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline().split()[1])


@contextlib.contextmanager
def sink(*words: str) -> Iterator[Sink]:
    """A sink of its own; for the words see `sink.c`.

    Raises:
        Missing: there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Missing("there is no C compiler for the sink")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sink"
        subprocess.run([compiler, "-O2", "-o", str(program), str(_HERE / "sink.c")], check=True)
        with _program([str(program), *words]) as (port, _):
            yield Sink(port)


@contextlib.contextmanager
def link(port: int, seconds: float) -> Iterator[Link]:
    """A link to a server, with a round trip of so many seconds."""
    with _program([sys.executable, "-m", "bench.speed.link", str(port), str(seconds)]) as (link_port, process):
        yield Link(link_port, process)


@contextlib.contextmanager
def submission_server(ca_bundle: Path) -> Iterator[int]:
    """A server with STARTTLS and AUTH in a process of its own; its authority and the system's go into `ca_bundle`."""
    with _program([sys.executable, "-m", "bench.speed.submission", str(ca_bundle)]) as (port, _):
        yield port


@contextlib.contextmanager
def _program(command: list[str]) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A program that prints its port first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


_POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
default_transport = discard
in_flow_delay = 0
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
"""
_POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
pickup unix n - n 60 1 pickup
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextlib.contextmanager
def postfix() -> Iterator[int]:
    """A Postfix that takes mail from this machine and discards it; its queue is in memory where there is /dev/shm.

    Raises:
        Missing: Postfix is not installed, or this is not root.
    """
    import os

    from tests.servers.ground import ServerDidNotStart, answers, end_group, free_ports, wait_until

    if shutil.which("postfix") is None or os.geteuid() != 0:
        raise Missing("it needs Debian's postfix, and root")
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="speed-", dir=base))
    folder.chmod(0o755)
    (port,) = free_ports(1)
    etc = folder / "etc"
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (etc / "main.cf").write_text(_POSTFIX_MAIN.format(folder=folder))
    (etc / "master.cf").write_text(_POSTFIX_MASTER.format(port=port))
    for name in ("postfix-files", "postfix-script", "post-install"):
        if (Path("/etc/postfix") / name).exists():
            shutil.copy(Path("/etc/postfix") / name, etc)

    def log() -> str:
        path = folder / "postfix.log"
        return path.read_text() if path.exists() else ""

    try:
        subprocess.run(["postfix", "-c", str(etc), "start"], check=True, capture_output=True)
        wait_until(lambda: answers(port), "an answer of Postfix", log)
        yield port
    except (ServerDidNotStart, subprocess.CalledProcessError) as error:
        raise Missing(f"Postfix did not start: {error}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            end_group(int((folder / "spool" / "pid" / "master.pid").read_text()), log)
        shutil.rmtree(folder, ignore_errors=True)
