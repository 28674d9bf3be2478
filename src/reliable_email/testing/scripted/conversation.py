"""One client's conversation with a scripted server: RFC 5321's order of commands, and the script's deviations.

Each stage is one call of `at(stage, real behaviour)`. The script's action for it, if there is one, runs instead, and
may ask for the real behaviour (`behave`). What the server then believes (envelope, TLS, login) follows from the code
that was said, by whomever: a scripted 250 to MAIL opens a transaction, a scripted 354 makes content be read.
"""

import re
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from reliable_email.testing.actions import Act, as_action, hang, wire
from reliable_email.testing.link import ConversationOver, Link
from reliable_email.testing.records import (
    ConnectionRecord,
    Digest,
    Ending,
    ReceivedMessage,
)
from reliable_email.testing.script import Script, Scripted
from reliable_email.testing.scripted.content import DotDecoder
from reliable_email.testing.scripted.envelope import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    Envelope,
    parameter_problem,
    parse_path,
)
from reliable_email.testing.scripted.ledger import Ledger
from reliable_email.testing.scripted.login import log_in
from reliable_email.testing.scripted.submission import Submission


class Conversation:
    """One connection of the server, as actions see it.

    Attributes:
        link: the bytes.
        record: what the server remembers of this connection.
        rules: the server's real behaviour.
        message: at `final_reply`, the complete message.
        content_bytes: bytes of the present content read so far, stuffing included.
        has_all_content: whether the terminator was read.
        last_code: of the last thing said.
        notifies_on_close: whether a close sends TLS's close_notify.

    It is long because it answers every verb, and each answer depends on what the others left behind.
    """

    def __init__(
        self,
        link: Link,
        record: ConnectionRecord,
        rules: Submission,
        script: Script,
        ledger: Ledger,
        *,
        context: ssl.SSLContext | None,
        is_implicit: bool,
        keeps_content: bool,
    ) -> None:
        self.link = link
        self.record = record
        self.rules = rules
        self.message: ReceivedMessage | None = None
        self.content_bytes = 0
        self.has_all_content = False
        self.last_code = 0
        self.notifies_on_close = True
        self._script = script
        self._ledger = ledger
        self._context = context
        self._is_implicit = is_implicit
        self._keeps_content = keeps_content
        self._envelope: Envelope | None = None
        self._knows_client = False
        self._visits: Counter[str] = Counter()
        self._behaviour: Callable[[], None] = lambda: None
        self._decoder = DotDecoder()
        self._digest = Digest(keeps_content=keeps_content)
        self._is_taken = False
        link.on_input = ledger.changed
        link.reply_bytes = script.reply_bytes
        link.swallows_pipelined = script.swallows_pipelined

    @property
    def sender(self) -> str | None:
        """The present reverse-path; None outside a transaction."""
        return self._envelope.sender if self._envelope else None

    @property
    def recipients(self) -> Sequence[str]:
        """Forward-paths that were taken so far in the present transaction."""
        return self._envelope.recipients if self._envelope else ()

    @property
    def open_connection_count(self) -> int:
        """Connections of the server that have not ended, this one included."""
        return self._ledger.open_connection_count

    # -- for actions

    def say(self, text: str) -> None:
        """Send a reply as the stage's answer; a 2yz at `final_reply` takes the message before it is sent."""
        self.note(text)
        self.link.write(wire(text, self._script.line_end))

    def note(self, text: str) -> None:
        """Believe that `text` is said, without sending it."""
        self.last_code = int(text[:3]) if text[:3].isdigit() else 0
        if self.message is not None and 200 <= self.last_code < 300:
            self.take_message()

    def behave(self) -> None:
        """Do what a correct server does at the present stage."""
        self._behaviour()

    def take_message(self) -> None:
        """Count the message as taken, at `final_reply`, whatever is replied.

        A second copy that the server recognises as one is not taken again.
        """
        if self.message is not None and not self._is_taken:
            self._is_taken = True
            if self.rules.admit(self.message):
                self._ledger.take(self.message, self.record)
            else:
                self._ledger.ignore(self.message)

    def read_content(self, *, until: int | None = None) -> None:
        """Read the content to its terminator, or until `until` bytes (stuffing included) were read."""
        while not self.has_all_content and (until is None or self.content_bytes < until):
            piece = self.link.read_some(64 * 1024 if until is None else until - self.content_bytes)
            self.content_bytes += len(piece)
            self.record.content_bytes += len(piece)
            self._digest.add(self._decoder.feed(piece))
            if self._decoder.is_done:
                self.has_all_content = True
                self.link.give_back(self._decoder.rest)
                self.content_bytes -= len(self._decoder.rest)
                self.record.content_bytes -= len(self._decoder.rest)

    def shake_hands(self, context: ssl.SSLContext) -> None:
        """Do the server's side of the TLS handshake."""
        self.link.start_tls(context)
        self._ledger.changed()

    # -- the conversation

    def run(self) -> Ending:
        """Talk until it is over; say how it ended."""
        try:
            if self._is_implicit:
                self._begin_tls()
            self.at(
                "greeting",
                lambda: self.answer(self.rules.greeting(self._ledger.open_connection_count)),
            )
            while True:
                line = self.link.read_line()
                self._command(line)
        except ConversationOver as over:
            return over.ending

    # -- stages

    def at(
        self,
        stage: str,
        behaviour: Callable[[], None],
        scripted: Scripted | None = None,
    ) -> None:
        """Do what the script says at this stage, or the real behaviour; `scripted` stands for the script's word."""
        acts = scripted if scripted is not None else cast("Scripted", getattr(self._script, stage))
        visit = self._visits[stage]
        self._visits[stage] += 1
        act: Act
        if isinstance(acts, Sequence) and not isinstance(acts, str):
            act = acts[visit] if visit < len(acts) else None
        else:
            act = acts
        self._behaviour = behaviour
        self.last_code = 0
        as_action(act)(self)

    def answer(self, text: str) -> None:
        """Say it; a 421 closes."""
        self.say(text)
        if self.last_code == 421:
            raise ConversationOver(Ending.SERVER_CLOSED)

    def _begin_tls(self) -> None:
        def real() -> None:
            if self._context is None:
                raise AssertionError("a script asks for TLS, the server has no certificate: pass tls='starttls'")
            self.shake_hands(self._context)

        self.at("tls", real)
        if not self.record.is_tls:
            hang()(self)  # something else was said in place of the handshake: nothing sensible can follow

    def _command(self, line: bytes) -> None:
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        self.record.commands.append(text.decode("utf-8", "backslashreplace"))
        self._ledger.changed()
        if not line.endswith(b"\r\n"):
            self.answer("500 5.5.2 Line must end with CR LF")
            return
        verb, _, argument = text.partition(b" ")
        match verb.upper():
            case b"EHLO" | b"HELO":
                self._hello(verb.upper(), argument)
            case b"STARTTLS":
                self._starttls(argument)
            case b"AUTH":
                self.at("auth_command", lambda: self._auth(argument))
            case b"MAIL":
                self._mail(text)
            case b"RCPT":
                self._rcpt(text)
            case b"DATA":
                self._data()
            case b"BDAT":
                self._bdat(argument)
            case b"RSET":
                self.at("rset", lambda: self.answer("250 2.0.0 Ok"))
                if self.last_code == 250:
                    self._envelope = None
            case b"NOOP":
                self.at("noop", lambda: self.answer("250 2.0.0 Ok"))
            case b"QUIT":
                self.at("quit", lambda: self.answer("221 2.0.0 Bye"))
                if self.last_code == 221:
                    raise ConversationOver(Ending.QUIT)
            case b"VRFY" | b"EXPN":
                self.answer("252 2.5.0 Cannot verify")
            case _:
                self.answer("500 5.5.2 Command unrecognized")

    def _hello(self, verb: bytes, argument: bytes) -> None:
        def real() -> None:
            if not argument.strip():
                self.answer("501 5.5.4 Host name required")
            elif verb == b"HELO":
                self.answer(f"250 {self.rules.name}")
            else:
                self.answer(self.rules.ehlo(offers_starttls=self._offers_starttls))

        self.at("ehlo" if verb == b"EHLO" else "helo", real)
        if self.last_code == 250:
            self._knows_client = True
            self._envelope = None

    @property
    def _offers_starttls(self) -> bool:
        return self._context is not None and not self.record.is_tls

    def _starttls(self, argument: bytes) -> None:
        def real() -> None:
            if not self._offers_starttls:
                self.answer("503 5.5.1 STARTTLS not available")
            elif argument:
                self.answer("501 5.5.4 Syntax error (no parameters allowed)")
            else:
                self.answer("220 2.0.0 Ready to start TLS")

        self.at("starttls", real)
        if self.last_code == 220:
            self.link.flush()
            self._begin_tls()
            self._knows_client = False
            self._envelope = None

    def _auth(self, argument: bytes) -> None:
        if not self.rules.requires_login or not self._knows_client:
            self.answer("503 5.5.1 AUTH not available")
        elif self._offers_starttls and not self.rules.announces_auth_before_tls:
            self.answer(self.rules.must_start_tls())
        elif self.record.user is not None:
            self.answer("503 5.5.1 Already authenticated")
        else:
            self.record.user = log_in(self, argument)
            self._ledger.changed()

    # -- the envelope

    def _mail(self, text: bytes) -> None:
        parsed = parse_path(text, b"MAIL FROM")

        def real() -> None:
            limit = self.rules.messages_per_connection
            if not self._knows_client or self._envelope is not None:
                self.answer("503 5.5.1 Bad sequence of commands")
            elif limit is not None and self.record.message_count >= limit:
                self.answer("421 4.7.0 Too many messages on this connection")
            elif self.rules.requires_login and self.record.user is None:
                self.answer(self.rules.must_start_tls() if self._offers_starttls else self.rules.login_missing())
            elif parsed is None:
                self.answer("501 5.5.4 Syntax: MAIL FROM:<address>")
            elif (problem := self._parameter_problem(*parsed, MAIL_PARAMETERS)) is not None:
                self.answer(problem)
            else:
                self.answer(self.rules.mail(self, *parsed))

        self.at("mail", real)
        if 200 <= self.last_code < 300:
            sender, parameters = parsed or ("", {})
            self._envelope = Envelope(sender, parameters)

    def _parameter_problem(self, path: str, parameters: Mapping[str, str], known: Collection[str]) -> str | None:
        declared = self._envelope.parameters if self._envelope else parameters
        return parameter_problem(
            path, parameters, known=known, keywords=self.rules.keywords, is_smtputf8="SMTPUTF8" in declared
        )

    def _rcpt(self, text: bytes) -> None:
        parsed = parse_path(text, b"RCPT TO")

        def real() -> None:
            if self._envelope is None:
                self.answer("503 5.5.1 Bad sequence of commands")
            elif parsed is None or not parsed[0]:
                self.answer("501 5.5.4 Syntax: RCPT TO:<address>")
            elif (problem := self._parameter_problem(*parsed, RCPT_PARAMETERS)) is not None:
                self.answer(problem)
            else:
                self.answer(self.rules.rcpt(self, parsed[0]))

        address = parsed[0] if parsed else ""
        scripted = self._script.rcpt
        if isinstance(scripted, Mapping):
            # Counted by address, so that "first refused, then taken" is a list in the dictionary.
            self.at(f"rcpt {address}", real, scripted.get(address, ()))
        else:
            self.at("rcpt", real, scripted if scripted is not None else ())
        if 200 <= self.last_code < 300 and self._envelope is not None and parsed is not None:
            self._envelope.recipients.append(address)
            self._envelope.recipient_parameters[address] = parsed[1]

    # -- content

    def _data(self) -> None:
        def real() -> None:
            if self._envelope is None:
                self.answer("503 5.5.1 Bad sequence of commands")
            elif self._envelope.chunks is not None:
                self.answer("503 5.5.1 DATA after BDAT")
            elif not self._envelope.recipients:
                self.answer("554 5.5.1 No valid recipients")
            else:
                self.answer(self.rules.data(self))

        self.at("data", real)
        if self.last_code == 354:
            self.content_bytes = 0
            self.has_all_content = False
            self._decoder = DotDecoder()
            self._digest = Digest(keeps_content=self._keeps_content)
            self.link.is_recording = self._keeps_content
            self.at("content", lambda: None)
            self.read_content()
            self.link.is_recording = True
            self._finish(self._digest, is_chunked=False)

    def _bdat(self, argument: bytes) -> None:
        match = re.fullmatch(rb"(\d+)( LAST)?", argument, re.IGNORECASE)
        if match is None:
            # The octets that follow cannot be counted: there is no way to stay in step (RFC 3030 §2).
            self.answer("501 5.5.4 Syntax: BDAT size [LAST]")
            raise ConversationOver(Ending.SERVER_CLOSED)
        size, is_last = int(match[1]), match[2] is not None
        envelope = self._envelope
        digest = (envelope.chunks if envelope else None) or Digest(keeps_content=self._keeps_content)
        self.content_bytes = 0
        self.has_all_content = False
        self.link.is_recording = self._keeps_content
        while self.content_bytes < size:
            piece = self.link.read_some(min(size - self.content_bytes, 64 * 1024))
            self.content_bytes += len(piece)
            self.record.content_bytes += len(piece)
            digest.add(piece)
        self.link.is_recording = True

        def real() -> None:
            if envelope is None or "CHUNKING" not in self.rules.keywords:
                self.answer("503 5.5.1 Bad sequence of commands")
            elif not envelope.recipients:
                self.answer("554 5.5.1 No valid recipients")
            elif not is_last:
                envelope.chunks = digest
                self.answer(f"250 2.0.0 {size} octets received")

        self.at("bdat", real)
        if is_last and self.last_code == 0 and envelope is not None:
            self._finish(digest, is_chunked=True)
        elif is_last:
            self._envelope = None

    def _finish(self, digest: Digest, *, is_chunked: bool) -> None:
        envelope = self._envelope or Envelope("", {})
        self._envelope = None
        message = ReceivedMessage(
            sender=envelope.sender,
            recipients=tuple(envelope.recipients),
            content=digest.content,
            size=digest.size,
            sha256=digest.sha256,
            connection=self.record.number,
            is_tls=self.record.is_tls,
            user=self.record.user,
            parameters=envelope.parameters,
            recipient_parameters=envelope.recipient_parameters,
            is_chunked=is_chunked,
            has_bare_line_ends=digest.has_bare_line_ends,
        )
        self.message, self._is_taken = message, False

        def real() -> None:
            if not message.recipients:
                self.answer("554 5.5.1 No valid recipients")
                return
            with self.rules.lock:  # what is decided here is counted before another message is judged
                self.answer(self.rules.final_reply(self, message))

        try:
            self.at("final_reply", real)
        finally:
            if not self._is_taken:
                self._ledger.refuse(message)
            self.message = None
        if self._script.idle is not None:
            self.link.flush()
            self.at("idle", lambda: None)
