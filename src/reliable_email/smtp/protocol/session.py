"""One SMTP client session without I/O: bytes in, events out, bytes to write on request (RFC 5321, 2920, 3030).

How to drive it
===============
Write what `output()` gives and report every write with `sent()`; feed what was read to `receive()` and act on the
events; when the connection dies, say so with `lost()`. No call blocks, no clock is read, and how the server's bytes
were split into reads makes no difference to the events.

A session is set up once (`set_up`: greeting to AUTH) and then carries exchanges, one for each job. `channel` pairs
replies with commands. Four rules keep that pairing true:

Rule 1: before a command is written, nothing may be waiting: no reply outstanding (but those of its own pipelined
        group) and no byte unread. Otherwise the connection is given up, and nothing is believed.
Rule 2: a command is pipelined only where RFC 2920 §3.1 allows it: RSET, MAIL, RCPT anywhere in a group, DATA last,
        a group of at most 100 RCPT; and the content with its terminator may stand first in the next group.
Rule 3: a positive reply before the terminator is out is never acceptance; a refusal is believed at any time.

Rule 4: a chained envelope (behind a terminator in the same flight) is refused only where an earlier one on this
        connection got MAIL 2yz, RCPT and DATA 354, and the words are not about the conversation. Anything else that
        comes to it, or nothing, is `NotAsked`: the server may have lost, or refused unread, what stood there.

At most two exchanges are open at once (`finish()`, then `begin()`), of which one can have its terminator out: one
`unknown` per connection. With `fly()` (BDAT, RFC 3030) there are as many as the caller lets fly, and each may be.
"""

from collections import deque
from dataclasses import replace
from enum import Enum, auto
from itertools import pairwise

from reliable_email.smtp.dsn import DSN
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode, Transcript
from reliable_email.smtp.protocol.capabilities import Capabilities
from reliable_email.smtp.protocol.chained import not_asked
from reliable_email.smtp.protocol.channel import Channel, Expectation, Trouble
from reliable_email.smtp.protocol.events import Broken, ContentWanted, Established, Event, Finished, UpgradeWanted
from reliable_email.smtp.protocol.exchange import Command, Exchange, Verb, domain_of, local, refusal
from reliable_email.smtp.protocol.set_up import SetUp
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, ReplyError
from reliable_email.smtp.transaction import Job

# RFC 5321 §4.5.3.1.8 promises room for 100 recipients; a bigger group gains nothing and fills socket buffers.
MAX_RCPT_IN_GROUP = 100

TERMINATOR = b".\r\n"


class Phase(Enum):
    """The phase of the connection: `SET_UP -> [HANDSHAKE -> SET_UP] -> READY`, and `CLOSED` from any."""

    SET_UP = auto()
    HANDSHAKE = auto()
    READY = auto()
    CLOSED = auto()


class Session:
    """One SMTP client session, without I/O.

    Args:
        tls: when TLS is to start. With IMPLICIT the session begins after the handshake.
        credentials: whom to log in as, or None.
        mechanism: "auto" or the one SASL mechanism that may be used.
        may_send_secrets: whether credentials may go without TLS (a loopback peer, or the operator's word).
        local_hostname: what EHLO says.
        dsn: what notices are asked for where a job has no wishes.
        transcript: called with each line, secrets left out.

    It is long because each method writes into the one queue of commands that rules 1 to 4 guard, or reads from it.
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
        dsn: DSN | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        self.phase = Phase.SET_UP
        self.hello_name = local_hostname
        self.channel = Channel(transcript)
        self._set_up = SetUp(
            self.channel,
            tls=tls,
            credentials=credentials,
            mechanism=mechanism,
            may_send_secrets=may_send_secrets,
            local_hostname=local_hostname,
        )
        self._use_pipelining = use_pipelining
        self._dsn = dsn
        self._exchanges: deque[Exchange] = deque()  # begun and not finished, oldest first
        self._wanted: Exchange | None = None  # the one whose content is awaited
        self._needs_reset = False
        self._domains: set[str] = set()  # of the recipients, where the server counts them
        self._has_begun = False
        self._has_chained = False  # a chained envelope got its 354

    # What the driver asks.

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that the server announced last."""
        return self._set_up.capabilities

    @property
    def greeting(self) -> Reply | None:
        """The server's first words."""
        return self._set_up.greeting

    @property
    def stage(self) -> Stage:
        """The stage that the session is waiting in."""
        return Stage.CONTENT if self._wanted is not None else self.channel.awaited_stage

    @property
    def is_pipelining(self) -> bool:
        """True if commands are sent in groups."""
        return self._use_pipelining and self.capabilities.pipelining

    @property
    def is_idle(self) -> bool:
        """True if the connection can be kept for a later message."""
        return self.phase is Phase.READY and not self._exchanges and self.channel.is_quiet

    @property
    def is_on_trial(self) -> bool:
        """True if the next reply is the first one to a chained envelope, or belongs to one that does not count."""
        return self.channel.is_on_trial

    @property
    def awaits_more(self) -> bool:
        """True if replies are outstanding and nothing is to be written."""
        return bool(self.channel.expected) and not self.channel.has_output

    @property
    def open_exchanges(self) -> int:
        """Jobs begun and not finished."""
        return len(self._exchanges)

    def fits(self, job: Job) -> bool:
        """Return whether the server's limit of recipient domains in one session allows the job after the others."""
        limit = self.capabilities.rcpt_domain_max if self._domains else None
        return limit is None or len(self._domains.union(map(domain_of, job.recipients))) <= limit

    def output(self) -> bytes:
        """The next bytes to write; empty where there is nothing. The same bytes until `sent()` takes them off."""
        return self.channel.output()

    def sent(self, count: int) -> None:
        """The kernel took the first `count` bytes of `output()`."""
        self.channel.sent(count)

    # What the driver tells.

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes that were read."""
        events: list[Event] = []
        if self.phase is Phase.CLOSED:
            return events
        self.channel.feed(data)
        try:
            while (reply := self.channel.next_reply()) is not None:
                self._on_reply(reply, events)
            self._advance(events)  # after the last one: an unasked 421 explains the end better than rule 1 does
        except ReplyError as error:
            self._break(self._unreadable(error), events)
        except Trouble as trouble:
            self._break(trouble.failure, events)
        return events

    def fail(self, failure: WireFailure) -> list[Event]:
        """This side cannot go on; every open exchange is finished by what is known."""
        events: list[Event] = []
        if self.phase is not Phase.CLOSED:
            self._break(failure, events)
        return events

    def lost(self, kind: FailureKind, detail: str) -> list[Event]:
        """The connection ended, or the time did; every open exchange is finished by what is known."""
        said_before = self._set_up.earlier_refusal() if self.phase is Phase.SET_UP else None
        return self.fail(said_before or local(self.stage, kind, detail))

    def tls_established(self) -> list[Event]:
        """The handshake after `UpgradeWanted` is done."""
        self.phase = Phase.SET_UP
        self._set_up.tls_established()
        return []

    def authenticate(self, token: str) -> list[Event]:
        """Go on after `TokenWanted`."""
        try:
            self._set_up.authenticate(token)
        except Trouble as trouble:
            return self.fail(trouble.failure)
        return []

    def begin(self, job: Job, *, envelope_only: bool = False) -> list[Event]:
        """Start a job: its envelope is put out as far as pipelining allows.

        Where the last exchange's terminator is already queued, the envelope is chained behind it.
        `envelope_only` asks for MAIL and RCPT and resets after them.
        """
        events: list[Event] = []
        exchange = self._planned(job, events, envelope_only=envelope_only)
        if exchange is None:
            return events
        if len(self._exchanges) > 1:
            exchange.is_chained = True
            self._write_group(exchange)
            return events
        try:
            self._advance(events)
        except Trouble as trouble:
            self._break(trouble.failure, events)
        return events

    def fly(self, job: Job, chunks: list[bytes]) -> list[Event]:
        """Start a job whose envelope and content go out in one flight by BDAT LAST (RFC 3030 §2)."""
        events: list[Event] = []
        # A server may keep the transaction of a flight whose recipients were all refused (RFC 3030 §2).
        self._needs_reset |= self._has_begun
        exchange = self._planned(job, events)
        if exchange is None:
            return events
        exchange.is_flown = True
        exchange.pending.pop()  # DATA
        while exchange.pending:
            self.channel.write(exchange.pending.popleft(), exchange)
        self.channel.write(Command(Verb.END, b"BDAT %d LAST\r\n" % sum(map(len, chunks))), exchange)
        exchange.content_start = self.channel.queued_bytes
        for chunk in chunks:
            self.channel.queue(chunk)
        # No dot ends it: the server has the message with its last octet, and not before.
        exchange.terminator_start = exchange.terminator_end = self.channel.queued_bytes
        return events

    def content(self, chunk: bytes) -> None:
        """Queue dot-stuffed content for the exchange that wanted it."""
        exchange = self._wanted
        assert exchange is not None, "no exchange wants content"
        if exchange.content_start is None:
            exchange.content_start = self.channel.queued_bytes
        self.channel.queue(chunk)

    def finish(self) -> list[Event]:
        """Queue the terminator: from the moment it is written the outcome is the server's."""
        exchange = self._wanted
        assert exchange is not None, "no exchange wants content"
        try:
            self.channel.require_silence()  # what waits here would be read as the reply to the terminator
        except Trouble as trouble:
            return self.fail(trouble.failure)
        exchange.terminator_start = self.channel.queued_bytes
        self._wanted = None
        self.channel.write(Command(Verb.END, TERMINATOR), exchange, shown=".")
        exchange.terminator_end = self.channel.queued_bytes  # once the kernel has all of it, a loss is `unknown`
        return []

    def withhold(self, detail: str) -> list[Event]:
        """The terminator was not authorized: the job ends NOT_SENT and the connection with it."""
        return self.fail(local(Stage.CONTENT, FailureKind.WITHHELD, detail))

    def quit(self) -> None:
        """Queue QUIT; its reply is not waited for."""
        if self.phase is not Phase.CLOSED and not self._exchanges:
            self.channel.write(Command(Verb.QUIT, b"QUIT\r\n"))

    # Replies.

    def _on_reply(self, reply: Reply, events: list[Event]) -> None:
        # A challenge of AUTH is answered as it was said, and stays in the set-up; all else leaves without secrets.
        is_challenge = reply.code == 334 and self._set_up.is_in_auth
        redactor = self._set_up.redactor
        if redactor is not None and not is_challenge:
            reply = redactor.reply(reply)
        self.channel.show(reply, shown="334 ****" if is_challenge else None)
        expected = self.channel.expected
        if not expected:
            self._on_unasked(reply, events)
            return
        first, sent = expected[0], self.channel.sent_bytes
        # In a flight, too, BDAT may be answered before its octets are out.
        if first.command.verb is Verb.END and first.owner is not None and not first.owner.is_terminator_sent(sent):
            self._on_early_reply(first.owner, reply, events)
            return
        self._on_expected(self.channel.take(), reply, events)

    def _on_expected(self, expectation: Expectation, reply: Reply, events: list[Event]) -> None:
        command, owner = expectation.command, expectation.owner
        if reply.code == 421 and command.verb is not Verb.QUIT:
            # RFC 5321 §3.8: the service is closing; later commands of the group have no effect. Answered first: a
            # 421 to the terminator is its final reply, and `_break` alone would call that message unknown.
            if command.verb is Verb.END and owner is not None:
                owner.on_end(reply)
                self._conclude(owner, events)
            raise self.channel.refused(reply)
        if owner is not None:
            self._on_exchange_reply(command, owner, reply, events)
            return
        for event in self._set_up.on_reply(command.verb, reply):
            if isinstance(event, UpgradeWanted):
                self.phase = Phase.HANDSHAKE
            elif isinstance(event, Established):
                self.phase = Phase.READY
            events.append(event)

    def _on_exchange_reply(self, command: Command, owner: Exchange, reply: Reply, events: list[Event]) -> None:
        match command.verb:
            case Verb.RSET:
                # In a flight the answer to MAIL tells what a server without RSET makes of it.
                if not reply.is_positive and not (owner.is_flown and reply.is_refusal):
                    raise self.channel.refused(reply)
            case Verb.MAIL | Verb.RCPT | Verb.END if 300 <= reply.code < 400:
                # After a terminator, too, this answers nothing: what became of the message is unknown then.
                raise self.channel.desync(reply)
            case Verb.MAIL:
                owner.on_mail(reply)
            case Verb.RCPT:
                owner.on_recipient(command.recipient, reply)
            case Verb.DATA:
                self._on_data_reply(owner, reply, events)
            case Verb.END:
                owner.on_end(reply)
                self._conclude(owner, events)
            case Verb.LONE_DOT:
                # Whatever is said to an empty message, nobody was to get it.
                self._conclude(owner, events)
            case _:  # pragma: no cover - the others have no owner
                raise AssertionError(command.verb)

    def _on_data_reply(self, owner: Exchange, reply: Reply, events: list[Event]) -> None:
        if reply.code == 354 and owner.is_chained and owner.results and owner.has_odd_refusal:
            raise self.channel.desync(reply)
        if reply.code == 354 and owner.is_mail_accepted and owner.accepted:
            self._has_chained |= owner.is_chained
            owner.is_chained = False
            self._wanted = owner
            events.append(ContentWanted(owner.job, owner.content, tuple(owner.accepted), dict(owner.results)))
        elif reply.code == 354 and owner.is_mail_accepted:
            self.channel.require_silence()
            self.channel.write(Command(Verb.LONE_DOT, TERMINATOR), owner)
        elif reply.is_refusal:
            owner.on_data_refused(reply)
            self._needs_reset = owner.is_mail_accepted
            self._conclude(owner, events)
        else:
            # Praise for a message that it has not got; or it refused MAIL and yet wants content. Not to be trusted.
            raise self.channel.desync(reply)

    def _on_early_reply(self, owner: Exchange, reply: Reply, events: list[Event]) -> None:
        """The server speaks while content is still being written (rule 3)."""
        self.channel.stage = Stage.CONTENT
        if not reply.is_refusal:
            raise self.channel.desync(reply)
        owner.on_end(reply, stage=Stage.CONTENT)
        self._conclude(owner, events)
        raise Trouble(refusal(Stage.CONTENT, reply))

    def _on_unasked(self, reply: Reply, events: list[Event]) -> None:
        if self._wanted is not None:
            self._on_early_reply(self._wanted, reply, events)
        raise self.channel.refused(reply)  # typically "421 idle for too long"

    def _planned(self, job: Job, events: list[Event], *, envelope_only: bool = False) -> Exchange | None:
        """The job's exchange, open; None where it was refused here, before a byte of it was written."""
        exchange = Exchange(job, envelope_only=envelope_only, default_dsn=self._dsn)
        if not exchange.plan(self.capabilities, reset_first=self._needs_reset, domains=self._domains):
            events.append(Finished(exchange.transaction(self.channel.sent_bytes)))
            return None
        self._needs_reset = False  # not where it was refused here: its RSET was not written, and the next job needs it
        self._has_begun = True
        self._exchanges.append(exchange)
        return exchange

    def _advance(self, events: list[Event]) -> None:
        """Write what the oldest exchange needs next, where nothing is outstanding."""
        while self._exchanges and not self.channel.expected and self._wanted is None and self.phase is Phase.READY:
            exchange = self._exchanges[0]
            if self._is_settled(exchange):
                self._conclude(exchange, events)
                continue
            self.channel.require_silence()
            if self.is_pipelining:
                self._write_group(exchange)
            else:
                self.channel.write(exchange.pending.popleft(), exchange)
            return

    def _is_settled(self, exchange: Exchange) -> bool:
        """Return whether nothing more must be asked: MAIL or all recipients were refused, or an envelope was enough."""
        if exchange.failure is not None and exchange.pending:
            return True
        is_over = not exchange.pending or (exchange.pending[0].verb is Verb.DATA and not exchange.accepted)
        if is_over:
            self._needs_reset = exchange.is_mail_accepted
        return is_over

    def _write_group(self, exchange: Exchange) -> None:
        recipients = 0
        while exchange.pending:
            if exchange.pending[0].verb is Verb.RCPT:
                if recipients == MAX_RCPT_IN_GROUP:
                    return
                recipients += 1
            self.channel.write(exchange.pending.popleft(), exchange)

    def _conclude(self, exchange: Exchange, events: list[Event]) -> None:
        self._exchanges.remove(exchange)
        if self._wanted is exchange:
            self._wanted = None
        event = not_asked(exchange, is_proven=self._has_chained) if exchange.is_chained else None
        # Its words are not believed, a 250 to MAIL among them: the server may have a transaction open.
        self._needs_reset |= event is not None
        events.append(event or Finished(exchange.transaction(self.channel.sent_bytes)))

    # The end.

    def _break(self, failure: WireFailure, events: list[Event]) -> None:
        """Finish every open exchange by what is known, and close."""
        self.phase = Phase.CLOSED
        self._wanted = None
        if self._set_up.redactor is not None:
            failure = self._set_up.redactor.failure(failure)
        # Stage and place of all, before the first is concluded: that takes it off the list that both are read from.
        seen = [(exchange, self._as_seen_by(exchange, failure)) for exchange in self._exchanges]
        for before, exchange in pairwise(self._exchanges):
            exchange.is_behind_terminator = before.is_terminator_sent(self.channel.sent_bytes)
        for exchange, its_failure in seen:
            exchange.cut_off(its_failure, self.channel.sent_bytes)
            self._conclude(exchange, events)
        self.channel.clear()
        events.append(Broken(failure))

    def _as_seen_by(self, exchange: Exchange, failure: WireFailure) -> WireFailure:
        """Return the failure at the stage that this exchange had reached, which is earlier for a chained one."""
        return failure if exchange is self._exchanges[0] else replace(failure, stage=self.channel.stage_of(exchange))

    def _unreadable(self, error: ReplyError) -> WireFailure:
        if self.greeting is None:
            return local(Stage.GREETING, FailureKind.NOT_SMTP, f"the peer does not speak SMTP: {error}")
        return local(self.stage, FailureKind.PROTOCOL, str(error))
