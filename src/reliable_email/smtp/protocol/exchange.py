"""One job on its way over the wire: which commands it needs, and what became of each recipient (RFC 5321 §3.3).

An `Exchange` is the session's private notebook for one job. It knows three moments:

* `content_start`: the offset in the client's stream at which the content begins;
* `terminator_start`, `terminator_end`: where the terminator (CRLF . CRLF, or the last octet of a BDAT LAST) lies.

The only window in which the outcome can be unknown is from "the kernel has the byte before `terminator_end`" to
"a well-formed final reply was read". Everything else is settled by these offsets, never by guessing from an error.
"""

from collections import deque
from enum import Enum, auto

from reliable_email.records import dataclass
from reliable_email.smtp.dsn import DSN
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.protocol.capabilities import Capabilities
from reliable_email.smtp.protocol.conversation import is_about_conversation
from reliable_email.smtp.protocol.wire_content import InvalidContent, check
from reliable_email.smtp.said import Said, dialogue
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import InvalidPath, deduplicate, forward_path, reverse_path
from reliable_email.smtp.syntax.replies import Reply
from reliable_email.smtp.transaction import Content, Job, RecipientResult, Transaction, Verdict


class Verb(Enum):
    """The command that an outstanding reply answers."""

    GREETING = auto()
    EHLO = auto()
    HELO = auto()
    STARTTLS = auto()
    AUTH = auto()
    RSET = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    END = auto()  # the terminator, or BDAT LAST
    LONE_DOT = auto()  # RFC 2920 §3.1: 354 although every recipient was refused
    QUIT = auto()


STAGE_OF = {
    Verb.GREETING: Stage.GREETING,
    Verb.EHLO: Stage.EHLO,
    Verb.HELO: Stage.EHLO,
    Verb.STARTTLS: Stage.STARTTLS,
    Verb.AUTH: Stage.AUTH,
    Verb.RSET: Stage.MAIL,
    Verb.MAIL: Stage.MAIL,
    Verb.RCPT: Stage.RCPT,
    Verb.DATA: Stage.DATA,
    Verb.END: Stage.FINAL_REPLY,
    Verb.LONE_DOT: Stage.FINAL_REPLY,
    Verb.QUIT: Stage.QUIT,
}


@dataclass(slots=True)
class Command:
    """One line for the wire and what its reply will be about."""

    verb: Verb
    line: bytes
    recipient: str = ""


class Exchange:
    """One job on its way over the wire. Mutable, and never seen outside of the session."""

    __slots__ = (
        "accepted",
        "content",
        "content_start",
        "default_dsn",
        "envelope_only",
        "failure",
        "is_behind_terminator",
        "is_chained",
        "is_cut_off",
        "is_flown",
        "is_mail_accepted",
        "job",
        "lines",
        "pending",
        "reply",
        "results",
        "stage",
        "terminator_end",
        "terminator_start",
        "waiting",
    )

    def __init__(self, job: Job, *, envelope_only: bool = False, default_dsn: DSN | None = None) -> None:
        self.job = job
        self.content: Content = job.content
        self.envelope_only = envelope_only
        self.default_dsn = default_dsn
        self.lines: list[Said] = []
        self.results: dict[str, RecipientResult] = {}
        self.waiting: list[str] = []  # asked for, not answered
        self.accepted: list[str] = []  # taken at RCPT
        self.pending: deque[Command] = deque()
        self.stage = Stage.MAIL
        self.is_chained = False  # its envelope went out behind the last one's terminator, and has no 354 yet
        self.is_flown = False
        self.is_cut_off = False
        self.is_behind_terminator = False  # cut off while the last one's final reply was awaited
        self.is_mail_accepted = False
        self.reply: Reply | None = None
        self.failure: WireFailure | None = None
        self.content_start: int | None = None
        self.terminator_start: int | None = None
        self.terminator_end: int | None = None

    def plan(self, capabilities: Capabilities, *, reset_first: bool, domains: set[str]) -> bool:
        """Work out the commands for what this server can take; False where nothing is left to ask it.

        What may not go on the wire is refused here, before a byte of it was written. The job's content is code of
        other people's, as far as is known here: what it raises is this message's failure.

        Args:
            domains: of the recipients that the session was asked about so far; those of this job are added.
        """
        recipients = deduplicate(self.job.recipients)
        try:
            check(self.job.content)
            return self._plan(recipients, capabilities, reset_first=reset_first, domains=domains)
        except InvalidContent as error:
            failure = local(Stage.MAIL, FailureKind.INVALID_CONTENT, str(error))
        except Exception as error:  # noqa: BLE001 - see above
            failure = raised(Stage.MAIL, error)
        self.pending.clear()
        self.waiting.clear()
        self.refuse_all(failure, recipients)
        return False

    def _plan(
        self, recipients: tuple[str, ...], capabilities: Capabilities, *, reset_first: bool, domains: set[str]
    ) -> bool:
        unfit = self._message_refusal(capabilities)
        if unfit is not None:
            self.refuse_all(unfit, recipients)
            return False
        utf8 = self.content.needs_smtputf8
        try:
            sender, sender_utf8 = reverse_path(self.job.sender)
        except InvalidPath as error:
            self.refuse_all(local(Stage.MAIL, FailureKind.INVALID, str(error)), recipients)
            return False
        utf8 |= sender_utf8
        if sender_utf8 and not capabilities.smtputf8:
            self.refuse_all(_no_smtputf8(Stage.MAIL, "the sender address"), recipients)
            return False
        dsn = self._dsn(capabilities)
        commands: list[Command] = []
        is_limited = capabilities.rcpt_max is not None or capabilities.rcpt_domain_max is not None
        for recipient in recipients:
            try:
                path, path_utf8 = forward_path(recipient)
            except InvalidPath as error:
                self._fail(recipient, local(Stage.RCPT, FailureKind.INVALID, str(error)))
                continue
            if path_utf8 and not capabilities.smtputf8:
                self._fail(recipient, _no_smtputf8(Stage.RCPT, "this address"))
                continue
            beyond = _beyond_limits(capabilities, len(commands), domains, recipient) if is_limited else None
            if beyond is not None:
                self._fail(recipient, beyond)
                continue
            utf8 |= path_utf8
            self.waiting.append(recipient)
            told = dsn.recipient_parameters(recipient) if dsn is not None else ""
            commands.append(Command(Verb.RCPT, f"RCPT TO:<{path}>{told}\r\n".encode(), recipient))
        if not commands:
            self.failure = next((one.failure for one in self.results.values()), None)
            return False
        if reset_first:  # in front of MAIL, in the same group: a reset costs no round trip (RFC 2920 §3.1)
            self.pending.append(Command(Verb.RSET, b"RSET\r\n"))
        mail = f"MAIL FROM:<{sender}>{dsn.mail_parameters() if dsn is not None else ''}"
        if capabilities.announces_size:
            mail += f" SIZE={self.content.size}"
        if capabilities.eight_bit_mime and not self.content.is_7bit:
            mail += " BODY=8BITMIME"
        if utf8:
            mail += " SMTPUTF8"
        self.pending.append(Command(Verb.MAIL, f"{mail}\r\n".encode()))
        self.pending.extend(commands)
        if not self.envelope_only:
            self.pending.append(Command(Verb.DATA, b"DATA\r\n"))
        return True

    def _dsn(self, capabilities: Capabilities) -> DSN | None:
        if not capabilities.dsn:
            return None
        own = self.job.dsn
        return own.over(self.default_dsn) if own is not None else self.default_dsn

    def _message_refusal(self, capabilities: Capabilities) -> WireFailure | None:
        if not self.content.is_7bit and not capabilities.eight_bit_mime and not self.content.needs_smtputf8:
            downgraded = self.content.downgraded()
            if downgraded is None:
                return local(
                    Stage.MAIL,
                    FailureKind.UNSUPPORTED,
                    "the content has bytes over 127, the server does not offer 8BITMIME, and it cannot be re-encoded",
                )
            self.content = downgraded
        if self.content.needs_smtputf8 and not capabilities.smtputf8:
            return _no_smtputf8(Stage.MAIL, "the header section")
        if capabilities.size is not None and self.content.size > capabilities.size:
            return local(
                Stage.MAIL,
                FailureKind.TOO_LARGE,
                f"the message has {self.content.size:,} bytes, the server takes at most {capabilities.size:,}",
            )
        return None

    # What the replies say.

    def on_mail(self, reply: Reply) -> None:
        """MAIL was answered."""
        self.stage = Stage.MAIL
        if reply.is_positive:
            self.is_mail_accepted = True
            return
        self.refuse_all(refusal(Stage.MAIL, reply), self.waiting)

    def on_recipient(self, recipient: str, reply: Reply) -> None:
        """RCPT was answered; 251 and 252 are acceptance too."""
        if self.failure is not None:
            return  # MAIL was refused: the 503 here is an echo of that
        self.stage = Stage.RCPT
        self.waiting.remove(recipient)
        if reply.is_positive:
            self.accepted.append(recipient)
            if self.envelope_only:
                self.results[recipient] = RecipientResult(verdict=Verdict.NOT_SENT, reply=reply)
        else:
            self._fail(recipient, refusal(Stage.RCPT, reply))

    def on_data_refused(self, reply: Reply) -> None:
        """DATA was answered 4yz or 5yz; where every recipient was refused before, that is only an echo."""
        if self.accepted:
            self.stage = Stage.DATA
            self.refuse_all(refusal(Stage.DATA, reply), self.accepted)

    def on_end(self, reply: Reply, *, stage: Stage = Stage.FINAL_REPLY) -> None:
        """The final reply, or an early refusal at stage CONTENT: one word for all that were taken at RCPT."""
        self.stage = stage
        if self.failure is not None:
            return  # a flight whose MAIL was refused: whatever BDAT gets, it is an echo of that
        if not reply.is_positive:
            self.refuse_all(refusal(stage, reply), self.accepted)
            return
        self.reply = reply
        for recipient in self.accepted:
            self.results[recipient] = RecipientResult(verdict=Verdict.ACCEPTED, reply=reply)

    def refuse_all(self, failure: WireFailure, recipients: tuple[str, ...] | list[str]) -> None:
        """One failure for all of these."""
        self.failure = failure
        self.reply = failure.reply
        for recipient in recipients:
            self._fail(recipient, failure)

    def _fail(self, recipient: str, failure: WireFailure) -> None:
        said_so = failure.kind is FailureKind.REFUSED
        self.results[recipient] = RecipientResult(
            verdict=Verdict.REFUSED if said_so else Verdict.NOT_SENT, reply=failure.reply, failure=failure
        )

    @property
    def has_odd_refusal(self) -> bool:
        """True if a refusal may be about the conversation instead of its subject."""
        return any(one.reply is not None and is_about_conversation(one.reply) for one in self.results.values())

    def first_failure(self) -> WireFailure:
        """The first failure of the exchange."""
        failures = (self.failure, *(one.failure for one in self.results.values()))
        return next(failure for failure in failures if failure is not None)

    # How it ends.

    def is_terminator_sent(self, sent: int) -> bool:
        """Return whether the kernel has the whole terminator, if it has `sent` bytes of the stream."""
        # A dot without its line end is no terminator, so all of it counts: a cut in the middle was surely not taken.
        return self.terminator_end is not None and sent >= self.terminator_end

    def cut_off(self, failure: WireFailure, sent: int) -> None:
        """The connection ended under it. What was said stays said; the rest is not sent, or unknown."""
        # By what the kernel took: whether that has reached the server, nobody here can know (RFC 1047).
        verdict = Verdict.UNKNOWN if self.is_terminator_sent(sent) else Verdict.NOT_SENT
        self.is_cut_off = True
        self.stage = failure.stage
        self.failure = self.failure or failure
        for recipient in (*self.accepted, *self.waiting):
            if recipient not in self.results:  # refused at RCPT: no later loss makes that unknown
                self.results[recipient] = RecipientResult(verdict=verdict, reply=failure.reply, failure=failure)

    def transaction(self, sent: int) -> Transaction:
        """The finished story; the driver adds the times."""
        content_bytes = 0
        if self.content_start is not None:
            end = self.terminator_start if self.terminator_start is not None else sent
            content_bytes = max(0, min(sent, end) - self.content_start)
        results = dict(self.results)
        if len(results) > 1:
            order = {recipient: n for n, recipient in enumerate(self.job.recipients)}
            results = dict(sorted(results.items(), key=lambda item: order.get(item[0], 0)))
        return Transaction(
            job=self.job,
            results=results,
            stage=self.stage,
            failure=self.failure,
            reply=self.reply,
            content_bytes=content_bytes,
            terminator_sent=self.is_terminator_sent(sent),
            dialogue=dialogue(self.lines) if self._has_failed else "",
        )

    @property
    def _has_failed(self) -> bool:
        return self.failure is not None or any(one.failure is not None for one in self.results.values())


def local(stage: Stage, kind: FailureKind, detail: str) -> WireFailure:
    """A failure that this side saw, in its own words."""
    return WireFailure(stage=stage, kind=kind, detail=detail)


def raised(stage: Stage, error: Exception) -> WireFailure:
    """Code of other people's raised about one message."""
    return WireFailure(stage=stage, kind=FailureKind.RAISED, detail=f"{type(error).__name__}: {error}", error=error)


def _beyond_limits(capabilities: Capabilities, asked: int, domains: set[str], recipient: str) -> WireFailure | None:
    """Return the failure if one more recipient exceeds the server's limits (RFC 9422); otherwise note its domain."""
    kind = FailureKind.TOO_MANY_RECIPIENTS
    limit = capabilities.rcpt_max
    if limit is not None and asked >= limit:
        return local(Stage.RCPT, kind, f"the server announced at most {limit} recipients in one transaction")
    limit = capabilities.rcpt_domain_max
    if limit is not None:
        domain = domain_of(recipient)
        if domain not in domains and len(domains) >= limit:
            return local(Stage.RCPT, kind, f"the server announced at most {limit} recipients' domains in one session")
        domains.add(domain)
    return None


def domain_of(address: str) -> str:
    """Return the domain of an address, for counting."""
    return address.rpartition("@")[2].lower()


def _no_smtputf8(stage: Stage, what: str) -> WireFailure:
    return local(stage, FailureKind.UNSUPPORTED, f"{what} needs SMTPUTF8, which the server does not offer")


def refusal(stage: Stage, reply: Reply) -> WireFailure:
    """The server said no."""
    return WireFailure(stage=stage, kind=FailureKind.REFUSED, detail=f"the server answered {reply}", reply=reply)
