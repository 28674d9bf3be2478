"""nodemailer's smtp-server as a submission server with AUTH PLAIN, LOGIN and XOAUTH2. Needs node and `npm ci`."""

import base64
import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ground import CertificateFiles, ServerDidNotStart, make_certificates, public_folder, wait_until

_PROGRAM = Path(__file__).parent / "node" / "server.mjs"
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenMessage:
    """What the server took: `login` is the mechanism and the user."""

    sender: str
    recipients: tuple[str, ...]
    login: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodemailerSubmission:
    """A running server."""

    folder: Path
    certificates: CertificateFiles
    port: int
    host: str = "localhost"
    username: str = "user@example.com"
    password: str = field(default="s3cret", repr=False)

    def let_tokens_be_valid(self, tokens: Iterable[str]) -> None:
        """Take exactly these access tokens from now on."""
        (self.folder / "tokens").write_text("".join(f"{token}\n" for token in tokens))

    def taken(self, count: int) -> list[TakenMessage]:
        """The messages in order, as soon as there are `count` of them."""
        messages = self.folder / "taken"
        wait_until(lambda: len(list(messages.glob("*.json"))) >= count, f"{count} messages", lambda: "")
        records = [json.loads(path.read_text()) for path in sorted(messages.glob("*.json"))]
        return [
            TakenMessage(
                sender=record["sender"],
                recipients=tuple(record["recipients"]),
                login=record["login"],
                content=base64.b64decode(record["content"]),
            )
            for record in records
        ]


@contextlib.contextmanager
def nodemailer_submission_server(
    *, implicit_tls: bool = False, size_limit: int = 32 * MEBIBYTE
) -> Iterator[NodemailerSubmission]:
    """Start one in a folder of its own; it ends with its standard input, so also when the tests are killed."""
    node = shutil.which("node")
    assert node is not None, "node: tests.services.require() comes first"
    with public_folder("re-node-") as folder:
        certificates = make_certificates(folder)
        (folder / "taken").mkdir()
        (folder / "tokens").touch()
        server = NodemailerSubmission(folder=folder, certificates=certificates, port=0)
        configuration = {
            "key": str(certificates.key),
            "certificate": str(certificates.certificate),
            "implicitTls": implicit_tls,
            "sizeLimit": size_limit,
            "username": server.username,
            "password": server.password,
            "tokens": str(folder / "tokens"),
            "folder": str(folder / "taken"),
            "port": 0,
        }
        (folder / "config.json").write_text(json.dumps(configuration))
        process = subprocess.Popen(
            [node, str(_PROGRAM), str(folder / "config.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline().strip()
                if not line.isdigit():
                    raise ServerDidNotStart(f"{line}\n{process.stdout.read() if process.poll() is not None else ''}")
                # Nobody reads on, and a full pipe would stop the server.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield NodemailerSubmission(folder=folder, certificates=certificates, port=int(line))
            finally:
                process.terminate()
                process.wait(10)
