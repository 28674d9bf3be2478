"""The records of a `ScriptedServer`: every message that it took, and the story of every connection."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum

from reliable_email.records import dataclass, field


class Ending(StrEnum):
    """The end of a connection."""

    QUIT = "quit"  # the client said QUIT and was answered
    CLIENT_CLOSED = "client_closed"
    CLIENT_RESET = "client_reset"
    SERVER_CLOSED = "server_closed"  # by script, or after a 421
    SERVER_RESET = "server_reset"
    TLS_FAILED = "tls_failed"
    STOPPED = "stopped"  # the server was closed while the connection was open


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """One complete message.

    Attributes:
        sender: the reverse-path, "" for the null path.
        recipients: the forward-paths that the server took, in order.
        content: the bytes after DATA, dots unstuffed, without the terminator; empty where content is not kept.
        size: bytes of the content, also where it is not kept.
        sha256: hexadecimal digest of the content, also where it is not kept.
        connection: number of the connection, from 1.
        is_tls: whether it came through TLS.
        user: who had logged in.
        parameters: ESMTP parameters of MAIL, keys in upper case, "" for those without a value.
        recipient_parameters: the same of RCPT, by forward-path.
        is_chunked: whether it came by BDAT.
        has_bare_line_ends: whether a CR or an LF outside CRLF was in it.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    size: int
    sha256: str
    connection: int
    is_tls: bool = False
    user: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    recipient_parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_chunked: bool = False
    has_bare_line_ends: bool = False

    def header(self, name: str) -> str | None:
        """The unfolded value of a header field of the content, or None."""
        from email import message_from_bytes
        from email.policy import default

        value = message_from_bytes(self.content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", policy=default)[name]
        return None if value is None else str(value)


@dataclass(slots=True, kw_only=True)
class ConnectionRecord:
    """One connection as the server saw it; grows while the connection lives.

    Attributes:
        number: from 1, in the order in which they were accepted.
        peer: the client's address and port.
        commands: command lines in order, without line ends; answers to 334 are not commands.
        raw: every byte that the client sent (after decryption), content only where it is kept.
        sent: the first MiB of what the server sent (before encryption).
        is_tls: whether TLS is up.
        tls_version: such as "TLSv1.3".
        server_name: the name the client asked for (SNI).
        tls_error: why the handshake failed.
        user: who logged in.
        message_count: messages that were taken.
        content_bytes: bytes of content read in all, stuffing included.
        ending: how it ended, None while it is open.
    """

    number: int
    peer: tuple[str, int]
    commands: list[str] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    sent: bytearray = field(default_factory=bytearray)
    is_tls: bool = False
    tls_version: str | None = None
    server_name: str | None = None
    tls_error: str | None = None
    user: str | None = None
    message_count: int = 0
    content_bytes: int = 0
    ending: Ending | None = None

    @property
    def verbs(self) -> list[str]:
        """The first word of each command, in upper case."""
        return [command.split(" ", 1)[0].upper() for command in self.commands]


class Digest:
    """Size and SHA-256 of content that arrives in pieces, and the content itself where it is kept."""

    __slots__ = ("_ends_in_cr", "_has_bare_line_ends", "_hash", "_kept", "size")

    def __init__(self, *, keeps_content: bool) -> None:
        self._hash = hashlib.sha256()
        self._kept = bytearray() if keeps_content else None
        self._has_bare_line_ends = False
        self._ends_in_cr = False
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add content."""
        self.size += len(piece)
        self._hash.update(piece)
        if self._kept is not None:
            self._kept += piece
        # A CR at the end is judged together with what follows it.
        line_ends = b"\r" + piece if self._ends_in_cr else piece
        self._ends_in_cr = line_ends.endswith(b"\r")
        pairs = line_ends.count(b"\r\n")
        if line_ends.count(b"\r") - self._ends_in_cr != pairs or line_ends.count(b"\n") != pairs:
            self._has_bare_line_ends = True

    @property
    def has_bare_line_ends(self) -> bool:
        """True if a CR or an LF stood outside CRLF."""
        return self._has_bare_line_ends or self._ends_in_cr

    @property
    def content(self) -> bytes:
        """The part of the content that was kept."""
        return bytes(self._kept or b"")

    @property
    def sha256(self) -> str:
        """Hexadecimal digest so far."""
        return self._hash.hexdigest()
