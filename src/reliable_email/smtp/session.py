"""One SMTP client session without I/O: bytes in, events out, bytes to write on request (RFC 5321, 2920, 3207, 4954).

How to drive it
===============
Write what `output()` gives and report every write with `sent()`; feed what was read to `receive()` and act on the
events; when the connection dies, say so with `lost()`. No call blocks, no clock is read, and how the server's bytes
were split into reads makes no difference to the events.

Set-up is a chain of phases, looked up in `_AFTER`; each phase waits for exactly one reply:

    GREETING -> HELLO -> [STARTTLS -> HANDSHAKE -> HELLO] -> [AUTH] -> READY          anything -> CLOSED

In READY, jobs are exchanged. Every command written puts a `Command` into a queue, every reply takes one out: that
queue is the only way to know what a reply is about, and three rules keep it true.

Rule 1: before a command is written, nothing may be waiting: no reply outstanding (but those of its own pipelined
        group) and no byte in the parser. A server that said more than it was asked has broken the pairing, and every
        later reply would be read as the answer to something else. The connection is given up, nothing is believed.
Rule 2: a command is pipelined only where RFC 2920 §3.1 allows it: RSET, MAIL, RCPT anywhere in a group, DATA last,
        a group of at most 100 RCPT; and the content with its terminator may stand first in the next group.
Rule 3: a positive reply before the terminator is out is never acceptance; a refusal is believed at any time.

One message ends and the next begins in one flight (`content . MAIL RCPT* DATA`): `finish()`, then `begin()`. So at
most two exchanges are open at once, and at most one of them can have its terminator out: one `unknown` per connection.
With BDAT (`fly()`, RFC 3030) there may be as many as the caller lets fly, each of which may become unknown.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto

from reliable_email.smtp import auth
from reliable_email.smtp.capabilities import Capabilities, parse_capabilities
from reliable_email.smtp.exchange import STAGE_OF, Command, Exchange, Verb
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode, Transcript
from reliable_email.smtp.replies import Reply, ReplyError, ReplyParser
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Content, Job, RecipientResult, Transaction

# RFC 5321 §4.5.3.1.8 promises room for 100 recipients; a bigger group gains nothing and fills socket buffers.
MAX_RCPT_IN_GROUP = 100

TERMINATOR = b".\r\n"


class Phase(Enum):
    """Where the connection is; see the module."""

    GREETING = auto()
    HELLO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()
    AUTH = auto()
    READY = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class UpgradeWanted:
    """The server is ready for TLS: do the handshake, then call `tls_established()`."""


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """An access token is needed: call `authenticate()` with it. `renew`: the last one was refused."""

    renew: bool


@dataclass(frozen=True, slots=True)
class Established:
    """Set-up is finished; jobs may begin."""


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """The server awaits the content: `content()` for each chunk, then `finish()`; or `withhold()`."""

    job: Job
    content: Content
    recipients: tuple[str, ...]
    refused: dict[str, RecipientResult]


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's story is told; the times in it are still zero."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection must be closed now; the exchanges on it were finished before."""

    failure: WireFailure


Event = UpgradeWanted | TokenWanted | Established | ContentWanted | Finished | Broken


class Session:
    """See the module.

    Args:
        tls: when TLS is to start. With IMPLICIT the session begins after the handshake.
        credentials: whom to log in as, or None.
        mechanism: "auto" or the one SASL mechanism that may be used.
        may_send_secrets: whether credentials may go without TLS (a loopback peer, or the operator's word).
        local_hostname: what EHLO says.
        use_pipelining: the off switch.
        transcript: called with each line, secrets left out.
    """

    def __init__(
        self,
        *,
        tls: TLSMode,
        credentials: Credentials | None = None,
        mechanism: str = "auto",
        may_send_secrets: bool = False,
        local_hostname: str = "localhost",
        use_pipelining: bool = True,
        transcript: Transcript | None = None,
    ) -> None:
        self.phase = Phase.GREETING
        self.capabilities = Capabilities()
        self.is_secure = tls is TLSMode.IMPLICIT
        self.greeting: Reply | None = None
        self._tls = tls
        self._credentials = credentials
        self._mechanism = mechanism
        self._may_send_secrets = may_send_secrets
        self._local_hostname = local_hostname
        self._use_pipelining = use_pipelining
        self._transcript = transcript
        self._parser = ReplyParser()
        self._expected: deque[Command] = deque([Command(Verb.GREETING, b"")])
        self._owners: deque[Exchange | None] = deque([None])  # whose command, side by side with _expected
        self._exchanges: deque[Exchange] = deque()  # begun and not finished, oldest first
        self._wanted: Exchange | None = None  # the one whose content is awaited
        self._needs_reset = False
        self._sasl: auth.Mechanism | None = None
        self._token = ""
        self._token_was_renewed = False
        self._out: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent_bytes = 0
        self._stage = Stage.GREETING

    # What the driver asks.

    @property
    def stage(self) -> Stage:
        """What the session is waiting for."""
        if self._wanted is not None:
            return Stage.CONTENT
        if self._expected:
            owner = self._owners[0]
            if owner is not None and owner.terminator_end is not None and self._expected[0].verb is Verb.END:
                return Stage.FINAL_REPLY if owner.is_terminator_sent(self._sent_bytes) else Stage.CONTENT
            return STAGE_OF[self._expected[0].verb]
        return self._stage

    @property
    def is_pipelining(self) -> bool:
        """Whether commands go in groups."""
        return self._use_pipelining and self.capabilities.pipelining

    @property
    def is_idle(self) -> bool:
        """Whether the connection could be kept for a later message."""
        return self.phase is Phase.READY and not self._exchanges and not self._expected and self._parser.is_empty

    @property
    def has_group_out(self) -> bool:
        """Whether a pipelined envelope is out of which only the first reply came: see rule 2 and its breakers."""
        return len(self._expected) > 1 and self._expected[0].verb in (Verb.RCPT, Verb.DATA)

    @property
    def open_exchanges(self) -> int:
        """Jobs begun and not finished."""
        return len(self._exchanges)

    def output(self) -> bytes:
        """The next bytes to write; empty where there is nothing. The same bytes until `sent()` takes them off."""
        if len(self._out) > 1 and len(self._out[0]) < 4096:
            # Small pieces (commands) share a segment; big ones (content) are not copied.
            joined = [self._out.popleft()]
            length = len(joined[0])
            while self._out and length + len(self._out[0]) <= 65536:
                joined.append(self._out.popleft())
                length += len(joined[-1])
            self._out.appendleft(b"".join(joined))
        return self._out[0] if self._out else b""

    def sent(self, count: int) -> None:
        """The kernel took the first `count` bytes of `output()`."""
        self._sent_bytes += count
        first = self._out.popleft()
        if count < len(first):
            self._out.appendleft(first[count:])

    # What the driver tells.

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes that were read."""
        events: list[Event] = []
        if self.phase is Phase.CLOSED:
            return events
        self._parser.feed(data)
        try:
            while (reply := self._parser.next_reply()) is not None:
                self._on_reply(reply, events)
                if self.phase is Phase.CLOSED:
                    return events
        except ReplyError as error:
            self._break(self._unreadable(error), events)
            return events
        self._advance(events)
        return events

    def lost(self, kind: FailureKind, detail: str, *, verify_code: int | None = None) -> list[Event]:
        """The connection ended, or the time did; every open exchange is finished by what is known."""
        events: list[Event] = []
        if self.phase is not Phase.CLOSED:
            failure = WireFailure(stage=self.stage, kind=kind, detail=detail, verify_code=verify_code)
            self._break(failure, events)
        return events

    def tls_established(self) -> list[Event]:
        """The handshake after `UpgradeWanted` is done: everything learned before it is forgotten (RFC 3207 §4.2)."""
        self.is_secure = True
        self.capabilities = Capabilities()
        self._write(Command(Verb.EHLO, f"EHLO {self._local_hostname}\r\n".encode()))
        self.phase = Phase.HELLO
        return []

    def authenticate(self, token: str) -> list[Event]:
        """Go on after `TokenWanted`."""
        events: list[Event] = []
        self._token = token
        self._begin_auth(token, events)
        return events

    def begin(self, job: Job, *, envelope_only: bool = False) -> list[Event]:
        """Start a job: its envelope is put out as far as pipelining allows.

        Where the last exchange's terminator is already queued, the envelope is chained behind it.
        `envelope_only` asks for MAIL and RCPT and resets after them.
        """
        events: list[Event] = []
        exchange = Exchange(job, envelope_only=envelope_only)
        if not exchange.plan(self.capabilities, reset_first=self._needs_reset):
            events.append(Finished(exchange.transaction(self._sent_bytes)))
            return events
        self._needs_reset = False
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            self._advance(events)
        else:
            self._write_group(exchange)
        return events

    def fly(self, job: Job, chunks: list[bytes]) -> list[Event]:
        """Start a job whose envelope and content go out in one flight by BDAT LAST (RFC 3030 §2)."""
        events: list[Event] = []
        exchange = Exchange(job)
        if not exchange.plan(self.capabilities, reset_first=self._needs_reset):
            events.append(Finished(exchange.transaction(self._sent_bytes)))
            return events
        self._needs_reset = False
        exchange.pending.pop()  # DATA
        self._exchanges.append(exchange)
        while exchange.pending:
            self._write(exchange.pending.popleft(), exchange)
        size = sum(map(len, chunks))
        self._write(Command(Verb.END, b"BDAT %d LAST\r\n" % size), exchange)
        exchange.content_start = self._queued_bytes
        for chunk in chunks:
            self._queue(chunk)
        exchange.terminator_start = exchange.terminator_end = self._queued_bytes
        return events

    def content(self, chunk: bytes) -> None:
        """Queue dot-stuffed content for the exchange that wanted it."""
        exchange = self._wanted
        if exchange is None:  # pragma: no cover - a driver's bug
            raise AssertionError("no exchange wants content")
        if exchange.content_start is None:
            exchange.content_start = self._queued_bytes
        self._queue(chunk)

    def finish(self) -> list[Event]:
        """Queue the terminator: from the moment it is written the outcome is the server's."""
        events: list[Event] = []
        exchange = self._wanted
        if exchange is None:  # pragma: no cover - a driver's bug
            raise AssertionError("no exchange wants content")
        if not self._parser.is_empty:
            self._break(self._desync(), events)
            return events
        exchange.terminator_start = self._queued_bytes
        self._queue(TERMINATOR)
        exchange.terminator_end = self._queued_bytes
        self._wanted = None
        self._expected.append(Command(Verb.END, TERMINATOR))
        self._owners.append(exchange)
        if self._transcript is not None:
            self._transcript("C", ".")
        return events

    def withhold(self, detail: str) -> list[Event]:
        """The terminator was not authorized: the job ends NOT_SENT and the connection with it."""
        events: list[Event] = []
        failure = WireFailure(stage=Stage.CONTENT, kind=FailureKind.WITHHELD, detail=detail)
        self._break(failure, events)
        return events

    def quit(self) -> None:
        """Queue QUIT; its reply is not waited for."""
        if self.phase is not Phase.CLOSED and not self._exchanges:
            self._write(Command(Verb.QUIT, b"QUIT\r\n"))

    # Replies.

    def _on_reply(self, reply: Reply, events: list[Event]) -> None:
        if self.phase is Phase.AUTH and reply.code != 334:
            reply = self._redacted(reply)
        if self._transcript is not None:
            self._transcript("S", "334 ****" if self.phase is Phase.AUTH and reply.code == 334 else str(reply))
        if not self._expected:
            self._on_unasked(reply, events)
            return
        command, owner = self._expected[0], self._owners[0]
        is_early = command.verb is Verb.END and owner is not None and not owner.is_terminator_sent(self._sent_bytes)
        if is_early:
            # Also in a flight: the BDAT command may be answered before its octets are out.
            self._on_early_reply(owner, reply, events)
            return
        self._expected.popleft()
        self._owners.popleft()
        self._stage = STAGE_OF[command.verb]
        if reply.code == 421 and command.verb is not Verb.QUIT:
            # RFC 5321 §3.8: the service is closing; later commands of the group have no effect.
            if command.verb is Verb.END and owner is not None:
                owner.on_end(reply)
                self._conclude(owner, events)
            self._break(self._said(reply), events)
        elif owner is None:
            self._on_setup_reply(command.verb, reply, events)
        else:
            self._on_exchange_reply(command, owner, reply, events)

    def _on_setup_reply(self, verb: Verb, reply: Reply, events: list[Event]) -> None:
        match verb:
            case Verb.GREETING:
                self.greeting = reply
                if reply.is_positive:
                    self.phase = Phase.HELLO
                    self._write(Command(Verb.EHLO, f"EHLO {self._local_hostname}\r\n".encode()), events=events)
                else:
                    self._give_up(reply, events)
            case Verb.EHLO:
                if reply.is_positive:
                    self.capabilities = parse_capabilities(reply)
                    self._after_hello(events)
                elif reply.code in (500, 501, 502, 504, 550):  # RFC 5321 §3.2: try HELO
                    self._write(Command(Verb.HELO, f"HELO {self._local_hostname}\r\n".encode()), events=events)
                else:
                    self._give_up(reply, events)
            case Verb.HELO:
                if reply.is_positive:
                    self._after_hello(events)
                else:
                    self._give_up(reply, events)
            case Verb.STARTTLS:
                if reply.code != 220:
                    self._give_up(reply, events)
                elif not self._parser.is_empty:
                    failure = WireFailure(
                        stage=Stage.STARTTLS,
                        kind=FailureKind.TLS_INJECTION,
                        detail="plaintext came behind the 220 of STARTTLS: somebody may be writing into the connection",
                    )
                    self._break(failure, events)
                else:
                    self.phase = Phase.HANDSHAKE
                    events.append(UpgradeWanted())
            case Verb.AUTH:
                self._on_auth_reply(reply, events)
            case Verb.QUIT:
                self.phase = Phase.CLOSED
            case _:  # pragma: no cover - the others have an owner
                raise AssertionError(verb)

    def _after_hello(self, events: list[Event]) -> None:
        if self._tls is TLSMode.STARTTLS and not self.is_secure:
            if self.capabilities.starttls:
                self.phase = Phase.STARTTLS
                self._write(Command(Verb.STARTTLS, b"STARTTLS\r\n"), events=events)
                return
            failure = WireFailure(
                stage=Stage.STARTTLS,
                kind=FailureKind.TLS_NOT_OFFERED,
                detail="the server does not offer STARTTLS (wrong port, or something in between removes it)",
            )
            self._break(failure, events)
        elif self._credentials is None:
            self.phase = Phase.READY
            events.append(Established())
        else:
            self.phase = Phase.AUTH
            self._choose_mechanism(self._credentials, events)

    def _choose_mechanism(self, credentials: Credentials, events: list[Event]) -> None:
        if not self.is_secure and not self._may_send_secrets:
            failure = WireFailure(
                stage=Stage.AUTH,
                kind=FailureKind.AUTH_INSECURE,
                detail="the connection is not encrypted, so the credentials were not sent",
            )
            self._break(failure, events)
        elif credentials.token_provider is not None:
            if self._offers_mechanism("xoauth2", events):
                events.append(TokenWanted(renew=False))
        elif self._offers_mechanism(self._mechanism, events):
            self._begin_auth("", events)

    def _offers_mechanism(self, wanted: str, events: list[Event]) -> bool:
        assert self._credentials is not None
        if auth.choose(self.capabilities.auth, self._credentials, wanted=wanted) is not None:
            return True
        offered = ", ".join(self.capabilities.auth) or "none at all"
        failure = WireFailure(
            stage=Stage.AUTH,
            kind=FailureKind.AUTH_NOT_OFFERED,
            detail=f"no usable way to log in: wanted {wanted}, the server offers {offered}",
        )
        self._break(failure, events)
        return False

    def _begin_auth(self, token: str, events: list[Event]) -> None:
        assert self._credentials is not None
        wanted = "xoauth2" if token else self._mechanism
        self._sasl = auth.choose(self.capabilities.auth, self._credentials, wanted=wanted, token=token)
        assert self._sasl is not None
        initial = self._sasl.initial_response()
        line = f"AUTH {self._sasl.name}"
        secret = f"{line} ****" if initial is not None else line
        data = line.encode() + (b" " + initial if initial is not None else b"") + b"\r\n"
        self._write(Command(Verb.AUTH, data), shown=secret, events=events)

    def _on_auth_reply(self, reply: Reply, events: list[Event]) -> None:
        sasl = self._sasl
        assert sasl is not None
        if reply.is_positive:
            self._sasl = None
            self.phase = Phase.READY
            events.append(Established())
        elif reply.code == 334:
            try:
                answer = sasl.respond(reply.text.encode())
            except ValueError as error:
                failure = WireFailure(
                    stage=Stage.AUTH,
                    kind=FailureKind.AUTH_NOT_OFFERED
                    if isinstance(error, auth.TooManyChallenges)
                    else FailureKind.PROTOCOL,
                    detail=str(error),
                    reply=reply,
                )
                self._break(failure, events)
                return
            self._write(Command(Verb.AUTH, answer + b"\r\n"), shown="****", events=events)
        elif reply.code == 535 and sasl.name == "XOAUTH2" and not self._token_was_renewed:
            # Tokens expire early and clocks differ: one fresh token is worth one more try.
            self._token_was_renewed = True
            events.append(TokenWanted(renew=True))
        elif reply.is_refusal:
            said = self._said(reply)
            # XOAUTH2 gives its reason in the challenge before the refusal.
            reason = f" ({sasl.server_error})" if sasl.server_error else ""
            self._break(replace(said, detail=said.detail + reason), events)
        else:
            self._break(self._desync(reply), events)

    def _on_exchange_reply(self, command: Command, owner: Exchange, reply: Reply, events: list[Event]) -> None:
        match command.verb:
            case Verb.RSET:
                if not reply.is_positive:
                    self._give_up(reply, events)
            case Verb.MAIL | Verb.RCPT if 300 <= reply.code < 400:
                self._break(self._desync(reply), events)
            case Verb.MAIL:
                owner.on_mail(reply)
            case Verb.RCPT:
                owner.on_recipient(command.recipient, reply)
            case Verb.DATA:
                self._on_data_reply(owner, reply, events)
            case Verb.END:
                if 300 <= reply.code < 400:
                    # Not an answer to a terminator. What became of the message is unknown: it was handed over.
                    self._break(self._desync(reply), events)
                    return
                owner.on_end(reply)
                self._conclude(owner, events)
            case Verb.LONE_DOT:
                # Whatever is said to an empty message, nobody was to get it.
                self._conclude(owner, events)
            case _:  # pragma: no cover
                raise AssertionError(command.verb)

    def _on_data_reply(self, owner: Exchange, reply: Reply, events: list[Event]) -> None:
        if reply.code == 354:
            if not owner.is_mail_accepted:
                # It refused MAIL and yet wants content: not a server whose count can be trusted.
                self._break(self._desync(reply), events)
            elif not owner.accepted:
                if self._may_write(events):
                    self._write(Command(Verb.LONE_DOT, TERMINATOR), owner, events=events)
            else:
                self._wanted = owner
                refused = {address: result for address, result in owner.results.items()}
                events.append(ContentWanted(owner.job, owner.content, tuple(owner.accepted), refused))
        elif reply.is_refusal:
            owner.on_data_refused(reply)
            self._needs_reset = owner.is_mail_accepted
            self._conclude(owner, events)
        else:
            self._break(self._desync(reply), events)

    def _on_early_reply(self, owner: Exchange | None, reply: Reply, events: list[Event]) -> None:
        """The server speaks while content is still being written: a refusal is believed, praise is not (rule 3)."""
        if owner is None or not reply.is_refusal:
            self._break(self._desync(reply), events)
            return
        owner.on_end(reply, stage=Stage.CONTENT)
        self._conclude(owner, events)
        failure = WireFailure(
            stage=Stage.CONTENT, kind=FailureKind.REFUSED, detail=f"refused in mid content: {reply}", reply=reply
        )
        self._break(failure, events)

    def _on_unasked(self, reply: Reply, events: list[Event]) -> None:
        if self._wanted is not None:
            self._on_early_reply(self._wanted, reply, events)
        elif reply.is_refusal:
            self._break(self._said(reply), events)  # typically "421 idle for too long"
        else:
            self._break(self._desync(reply), events)

    # Progress.

    def _advance(self, events: list[Event]) -> None:
        """Write what the oldest exchange needs next, where nothing is outstanding."""
        while self._exchanges and not self._expected and self._wanted is None and self.phase is Phase.READY:
            exchange = self._exchanges[0]
            if exchange.failure is not None and exchange.pending:
                self._conclude(exchange, events)  # MAIL was refused, or the like; the rest need not be asked
                continue
            if exchange.pending and exchange.pending[0].verb is Verb.DATA and not exchange.accepted:
                self._needs_reset = True
                self._conclude(exchange, events)
                continue
            if not exchange.pending:
                # Only an envelope was asked for.
                self._needs_reset = exchange.is_mail_accepted
                self._conclude(exchange, events)
                continue
            if not self._may_write(events):
                return
            if self.is_pipelining:
                self._write_group(exchange)
            else:
                self._write(exchange.pending.popleft(), exchange)
            return

    def _write_group(self, exchange: Exchange) -> None:
        recipients = 0
        while exchange.pending:
            if exchange.pending[0].verb is Verb.RCPT:
                if recipients == MAX_RCPT_IN_GROUP:
                    return
                recipients += 1
            self._write(exchange.pending.popleft(), exchange)

    def _conclude(self, exchange: Exchange, events: list[Event]) -> None:
        self._exchanges.remove(exchange)
        if self._wanted is exchange:
            self._wanted = None
        events.append(Finished(exchange.transaction(self._sent_bytes)))

    def _give_up(self, reply: Reply, events: list[Event]) -> None:
        self._break(self._said(reply) if reply.is_refusal else self._desync(reply), events)

    def _break(self, failure: WireFailure, events: list[Event]) -> None:
        """Finish every open exchange by what is known, and close."""
        self.phase = Phase.CLOSED
        self._wanted = None
        seen = [(exchange, self._as_seen_by(exchange, failure)) for exchange in self._exchanges]
        for exchange, its_failure in seen:
            exchange.cut_off(its_failure, self._sent_bytes)
            self._conclude(exchange, events)
        self._expected.clear()
        self._owners.clear()
        self._out.clear()
        events.append(Broken(failure))

    def _as_seen_by(self, exchange: Exchange, failure: WireFailure) -> WireFailure:
        """The same failure at the stage at which this exchange was; a later one in the stream was not so far."""
        if exchange is self._exchanges[0]:
            return failure
        stage = next(
            (STAGE_OF[c.verb] for c, o in zip(self._expected, self._owners, strict=True) if o is exchange), Stage.MAIL
        )
        return WireFailure(stage=stage, kind=failure.kind, detail=failure.detail, reply=failure.reply)

    # Words for what went wrong.

    def _said(self, reply: Reply) -> WireFailure:
        return WireFailure(
            stage=self._stage, kind=FailureKind.REFUSED, detail=f"the server answered {reply}", reply=reply
        )

    def _desync(self, reply: Reply | None = None) -> WireFailure:
        what = f"“{reply}”" if reply is not None else repr(self._parser.buffered[:80])
        return WireFailure(
            stage=self.stage,
            kind=FailureKind.PROTOCOL,
            detail=f"the server said {what} where that answers nothing; its replies cannot be matched any more",
        )

    def _unreadable(self, error: ReplyError) -> WireFailure:
        if self.phase is Phase.GREETING:
            detail = f"the peer does not speak SMTP: {error}"
            return WireFailure(stage=Stage.GREETING, kind=FailureKind.NOT_SMTP, detail=detail)
        return WireFailure(stage=self.stage, kind=FailureKind.PROTOCOL, detail=str(error))

    # Writing.

    def _may_write(self, events: list[Event]) -> bool:
        """Rule 1."""
        if self._parser.is_empty:
            return True
        self._break(self._desync(), events)
        return False

    def _write(
        self,
        command: Command,
        owner: Exchange | None = None,
        *,
        shown: str | None = None,
        events: list[Event] | None = None,
    ) -> None:
        if events is not None and not self._may_write(events):
            return
        self._expected.append(command)
        self._owners.append(owner)
        self._queue(command.line)
        if self._transcript is not None:
            self._transcript("C", shown if shown is not None else command.line.decode("utf-8", "replace").rstrip())

    def _queue(self, data: bytes) -> None:
        self._out.append(data)
        self._queued_bytes += len(data)

    def _redacted(self, reply: Reply) -> Reply:
        """Servers exist that repeat the command which they refuse."""
        assert self._credentials is not None
        lines = tuple(auth.redact(line, self._credentials, token=self._token) for line in reply.lines)
        return Reply(reply.code, lines, reply.enhanced)
