"""A session and its server as a dialogue of lines, without sockets: the way the protocol tests speak."""

from collections.abc import Callable

from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol.events import Broken, ContentWanted, Event, Finished, NotAsked
from reliable_email.smtp.protocol.session import Session
from reliable_email.smtp.protocol.wire_content import BytesContent, stuffed
from reliable_email.smtp.transaction import Job, RecipientResult, Transaction, Verdict

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
EHLO = "250-server.test\n250-PIPELINING\n250-SIZE 10000\n250-8BITMIME\n250 SMTPUTF8"
PLAIN_EHLO = "250-server.test\n250 SIZE 10000"


def job(*recipients: str, sender: str = "a@example.org", content: bytes = MESSAGE, key: object = None) -> Job:
    """A small message."""
    return Job(
        sender=sender, recipients=recipients or ("b@example.net",), content=BytesContent.from_bytes(content), key=key
    )


def in_segment(*replies: str) -> bytes:
    """Replies as the bytes of one segment."""
    return b"".join(part.encode() + b"\r\n" for reply in replies for part in reply.split("\n"))


class Dialogue:
    """Says the server's lines and collects what the client writes and reports."""

    def __init__(
        self,
        *,
        tls: TLSMode = TLSMode.NONE,
        credentials: Credentials | None = None,
        mechanism: str = "auto",
        may_send_secrets: bool = True,
        use_pipelining: bool = True,
        split: Callable[[bytes], list[bytes]] = lambda data: [data],
    ) -> None:
        self.transcript: list[tuple[str, str]] = []
        self.session = Session(
            tls=tls,
            credentials=credentials,
            mechanism=mechanism,
            may_send_secrets=may_send_secrets,
            local_hostname="client.test",
            use_pipelining=use_pipelining,
            transcript=lambda direction, text: self.transcript.append((direction, text)),
        )
        self.events: list[Event] = []
        self.written = b""
        self._split = split

    def server(self, *lines: str) -> "Dialogue":
        """The server says these replies (a line feed inside one makes a multi-line reply), each when it is its turn."""
        for line in lines:
            self.flush()
            self.raw(in_segment(line))
        return self

    def raw(self, data: bytes) -> "Dialogue":
        """The server sends these bytes."""
        for piece in self._split(data):
            self.events += self.session.receive(piece)
        return self

    def client(self) -> list[str]:
        """What the client has written since the last call, as lines; all of it is taken as sent."""
        data = self.flush()
        return data.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n") if data else []

    def flush(self, limit: int | None = None) -> bytes:
        """Hand output to the imaginary kernel, up to `limit` bytes."""
        taken = b""
        while (data := self.session.output()) and (limit is None or len(taken) < limit):
            piece = data if limit is None else data[: limit - len(taken)]
            self.session.sent(len(piece))
            taken += piece
        self.written += taken
        return taken

    def ready(self, ehlo: str = EHLO) -> "Dialogue":
        """Greeting and EHLO are done."""
        self.server("220 server.test ESMTP")
        self.flush()
        self.server(ehlo)
        self.flush()
        self.events.clear()
        return self

    def begin(self, *jobs: Job) -> "Dialogue":
        """Begin jobs; the first one's envelope goes out."""
        for one in jobs:
            self.events += self.session.begin(one)
        return self

    def give_content(self, *, following: Job | None = None) -> "Dialogue":
        """Answer the ContentWanted that was seen, and chain the next envelope behind it."""
        wanted = self.wanted
        assert wanted is not None
        for chunk in stuffed(wanted.content.chunks()):
            self.session.content(chunk)
        self.events += self.session.finish()
        if following is not None:
            self.events += self.session.begin(following)
        return self

    def lost(self, kind: FailureKind = FailureKind.DISCONNECTED) -> "Dialogue":
        """The connection ends."""
        self.events += self.session.lost(kind, "gone")
        return self

    @property
    def wanted(self) -> ContentWanted | None:
        """The last request for content."""
        return next((event for event in reversed(self.events) if isinstance(event, ContentWanted)), None)

    @property
    def transactions(self) -> list[Transaction]:
        """Finished jobs, in order."""
        return [event.transaction for event in self.events if isinstance(event, Finished)]

    @property
    def not_asked(self) -> list[NotAsked]:
        """Chained jobs that came to nothing, in order."""
        return [event for event in self.events if isinstance(event, NotAsked)]

    @property
    def results(self) -> dict[str, RecipientResult]:
        """The only finished job's results."""
        (transaction,) = self.transactions
        return dict(transaction.results)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The only finished job's verdicts."""
        return {address: result.verdict for address, result in self.results.items()}

    @property
    def broken(self) -> WireFailure | None:
        """Why the connection has to be closed."""
        return next((event.failure for event in self.events if isinstance(event, Broken)), None)
