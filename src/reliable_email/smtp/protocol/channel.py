"""The two byte streams of a session, and which reply answers which command.

Every command written puts an `Expectation` into a queue, every reply takes one out: that queue is the only way to know
what a reply is about. So before a command is written nothing may be waiting, neither a byte in the parser nor a reply
that nobody asked for. A server that said more than it was asked has broken the pairing, and every later reply would be
read as the answer to something else (RFC 2920 §3.1 is strict about the order for this reason).
"""

from collections import deque

from reliable_email.records import dataclass
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Transcript
from reliable_email.smtp.protocol.exchange import STAGE_OF, Command, Exchange, Verb, refusal
from reliable_email.smtp.said import Said
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, ReplyParser

_JOIN_BYTES = 65536
_SMALL_BYTES = 4096


class Trouble(Exception):
    """The session cannot go on; `failure` says why. Never leaves the session."""

    def __init__(self, failure: WireFailure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(slots=True)
class Expectation:
    """A reply that is outstanding, and whose command it will answer; the set-up's where there is no owner."""

    command: Command
    owner: Exchange | None = None


class Channel:
    """The two byte streams of a session, with the replies that are expected.

    Attributes:
        expected: outstanding replies, the next one first.
        queued_bytes, sent_bytes: offsets in the client's stream.
        stage: of the last reply that was taken.
        turn: a number that is another one whenever another reply is waited for.
        set_up_lines: what was said that belongs to no message, without secrets.
    """

    __slots__ = (
        "_out", "_parser", "_transcript", "expected", "queued_bytes", "sent_bytes", "set_up_lines", "stage", "turn",
    )  # fmt: skip

    def __init__(self, transcript: Transcript | None = None) -> None:
        self.expected: deque[Expectation] = deque([Expectation(Command(Verb.GREETING, b""))])
        self.queued_bytes = 0
        self.sent_bytes = 0
        self.stage = Stage.GREETING
        self.turn = 0
        self.set_up_lines: list[Said] = []
        self._out: deque[bytes] = deque()
        self._parser = ReplyParser()
        self._transcript = transcript

    # Writing.

    def output(self) -> bytes:
        """The next bytes to write; the same until `sent()` takes them off."""
        if len(self._out) > 1 and len(self._out[0]) < _SMALL_BYTES:
            # Small pieces (commands) share a segment; big ones (content) are not copied.
            joined = [self._out.popleft()]
            length = len(joined[0])
            while self._out and length + len(self._out[0]) <= _JOIN_BYTES:
                joined.append(self._out.popleft())
                length += len(joined[-1])
            self._out.appendleft(b"".join(joined))
        return self._out[0] if self._out else b""

    @property
    def has_output(self) -> bool:
        """True if bytes are waiting to be written."""
        return bool(self._out)

    def sent(self, count: int) -> None:
        """The kernel took the first `count` bytes of `output()`."""
        self.sent_bytes += count
        first = self._out.popleft()
        if count < len(first):
            self._out.appendleft(first[count:])

    def queue(self, data: bytes) -> None:
        """Add bytes that no reply answers (content)."""
        self._out.append(data)
        self.queued_bytes += len(data)

    def write(self, command: Command, owner: Exchange | None = None, *, shown: str | None = None) -> None:
        """Queue a command and expect its reply. `shown` replaces it in the transcript, where it holds a secret."""
        if not self.expected:  # else the reply that is waited for is still the same one, with the same clock
            self.turn += 1
        self.expected.append(Expectation(command, owner))  # in the order of the bytes: replies have no other address
        self.queue(command.line)
        if owner is None:
            self.set_up_lines.append(command.line if shown is None else f"C: {shown}")
        elif shown is None:
            owner.lines.append(command.line)
        else:
            owner.lines += ("(the content)", f"C: {shown}")
        if self._transcript is not None:
            self._transcript("C", shown if shown is not None else command.line.decode("utf-8", "replace").rstrip())

    def require_silence(self) -> None:
        """Raise if an unread byte is waiting. Call it before every command that starts a new group.

        Raises:
            Trouble: the server has said something that nobody asked for.
        """
        if not self._parser.is_empty:
            raise self.desync()

    # Reading.

    @property
    def is_silent(self) -> bool:
        """True if no unread byte of the server is waiting."""
        return self._parser.is_empty

    @property
    def is_quiet(self) -> bool:
        """True if no byte is waiting and no reply is outstanding."""
        return not self.expected and self._parser.is_empty

    def feed(self, data: bytes) -> None:
        """Add bytes that were read."""
        self._parser.feed(data)

    def next_reply(self) -> Reply | None:
        """The next whole reply.

        Raises:
            ReplyError: the bytes are none.
        """
        return self._parser.next_reply()

    def show(self, reply: Reply, *, shown: str | None = None) -> None:
        """Put a reply into the transcript, and beside what it answers."""
        owner = self.expected[0].owner if self.expected else None
        lines = self.set_up_lines if owner is None else owner.lines
        lines.append(reply if shown is None else f"S: {shown}")
        if self._transcript is not None:
            self._transcript("S", shown if shown is not None else str(reply))

    def take(self) -> Expectation:
        """Remove and return the expectation that the current reply answers."""
        expectation = self.expected.popleft()
        self.turn += 1
        self.stage = STAGE_OF[expectation.command.verb]
        return expectation

    # What is outstanding.

    @property
    def awaited_stage(self) -> Stage:
        """The stage of the reply that is waited for, else of the last one."""
        if not self.expected:
            return self.stage
        first = self.expected[0]
        # Expected from the moment it is queued, and `unknown` only when it is out: until then it is content's time.
        if first.command.verb is Verb.END and first.owner is not None:
            return Stage.FINAL_REPLY if first.owner.is_terminator_sent(self.sent_bytes) else Stage.CONTENT
        return STAGE_OF[first.command.verb]

    def stage_of(self, exchange: Exchange) -> Stage:
        """The stage of the first reply that this exchange waits for."""
        verbs = (one.command.verb for one in self.expected if one.owner is exchange)
        return next((STAGE_OF[verb] for verb in verbs), Stage.MAIL)

    @property
    def has_group_out(self) -> bool:
        """True if only the first reply to a pipelined envelope has come, so the server may have lost the rest."""
        if len(self.expected) < 2:
            return False
        first = self.expected[0]
        return first.command.verb in (Verb.RCPT, Verb.DATA) and not (first.owner and first.owner.is_chained)

    @property
    def is_on_trial(self) -> bool:
        """True if the next reply is the first one to a chained envelope, or belongs to one that does not count."""
        first = self.expected[0] if self.expected else None
        if first is None or first.owner is None or not first.owner.is_chained:
            return False
        return first.command.verb in (Verb.RSET, Verb.MAIL) or first.owner.failure is not None

    # The end.

    def clear(self) -> None:
        """Expect and write nothing any more."""
        self.expected.clear()
        self._out.clear()

    def refused(self, reply: Reply) -> Trouble:
        """Return the trouble of a refusal that ends the session. Only 4yz and 5yz replies are refusals."""
        if not reply.is_refusal:
            return self.desync(reply)
        return Trouble(refusal(self.stage, reply))

    def desync(self, reply: Reply | None = None) -> Trouble:
        """Return the trouble of a reply that answers no command."""
        what = f"“{reply}”" if reply is not None else repr(self._parser.buffered[:80])
        detail = f"the server said {what} where that answers nothing; its replies cannot be matched any more"
        return Trouble(WireFailure(stage=self.stage, kind=FailureKind.PROTOCOL, detail=detail))
