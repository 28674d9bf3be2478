"""One connection to a submission server: the driver of a `Session`, with every wait under a deadline.

There is one loop, `steps`: write what there is, read what there is, and only then wait, which is for the driver to do
(see `smtp.transaction`); `run` waits right here. How long is the `StageClock`'s matter.
"""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from reliable_email.smtp.deadline import Deadline, StageClock
from reliable_email.smtp.driver import learned_limits
from reliable_email.smtp.driver.connect import open_socket
from reliable_email.smtp.driver.hello import hello_name, is_loopback_peer
from reliable_email.smtp.driver.wire import Wire, WireLost
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions, TLSMode, Transcript
from reliable_email.smtp.protocol.events import (
    Broken,
    ContentWanted,
    Established,
    Event,
    Finished,
    NotAsked,
    TokenWanted,
    UpgradeWanted,
)
from reliable_email.smtp.protocol.session import Session
from reliable_email.smtp.said import dialogue
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import strictness
from reliable_email.smtp.transaction import Job, Transaction, Wait, block

if TYPE_CHECKING:
    from reliable_email.smtp.tls.handshake import TLSInfo

logger = logging.getLogger("reliable_email.smtp")


class Connection:
    """One connection to a submission server. Used by one thread at a time; `open()` creates, `close()` ends it.

    It is long because opening, sending and closing share one loop, `steps`, which each message goes through.
    """

    def __init__(self, wire: Wire, session: Session, options: ConnectionOptions, *, peer: str) -> None:
        self.options = options
        self.peer = peer
        self.tls: TLSInfo | None = None
        self.opened_at = time.monotonic()
        self.idle_since = self.opened_at
        self.message_count = 0
        self.refused_flights = 0
        self.set_up_seconds: dict[Stage, float] = {}
        self._pid = os.getpid()
        self._wire = wire
        self._wait = Wait(wire, for_write=False, until=0.0)
        self._session = session
        self._broken: WireFailure | None = None
        self._wanted: ContentWanted | None = None
        self._upgrade_wanted = False
        self._token_wanted: TokenWanted | None = None
        self._is_established = False
        self._is_retired = False
        self._finished: dict[int, Transaction] = {}
        self._not_asked: dict[int, NotAsked] = {}
        self._began_at: dict[int, float] = {}
        self._clock = StageClock(session, final_reply_seconds=options.final_reply_timeout)

    # Opening.

    @classmethod
    def open(
        cls, options: ConnectionOptions, *, deadline: Deadline, transcript: Transcript | None = None
    ) -> "Connection":
        """Resolve, connect, TLS, EHLO, AUTH, all under one deadline.

        Raises:
            WireError: the stage that failed, and how.
        """
        strict = strictness.strictness(options.tls, options.host, options.port, time.monotonic())
        try:
            return cls._open(options, deadline, transcript, strict=strict)
        except WireError as error:
            if not (strict and strictness.may_relax(error, options.tls)):
                raise
        # Only rules of form may have failed. Without them chain, dates and host name are still verified; where
        # that fails too, the second error is the true one (strictness can hide it).
        return cls._open(options, deadline, transcript, strict=False)

    @classmethod
    def socket_before_tls(cls, options: ConnectionOptions, *, deadline: Deadline) -> socket.socket:
        """A fresh socket at the point where TLS starts (behind the 220 of STARTTLS), for probes of the certificate.

        Raises:
            WireError: it did not come so far.
        """
        opened = open_socket(options.host, options.port, deadline=deadline)
        if options.tls.mode is TLSMode.IMPLICIT:
            return opened.socket
        wire = Wire(opened.socket)
        session = Session(tls=TLSMode.STARTTLS, local_hostname=hello_name(opened.socket, options.local_hostname))
        connection = cls(wire, session, options, peer=opened.peer)
        connection.run(lambda: connection._upgrade_wanted, deadline)
        if connection._broken is not None:
            raise WireError(replace(connection._broken, peer=opened.peer))
        return wire.handle

    @classmethod
    def _open(
        cls, options: ConnectionOptions, deadline: Deadline, transcript: Transcript | None, *, strict: bool
    ) -> "Connection":
        opened = open_socket(options.host, options.port, deadline=deadline)
        wire = Wire(opened.socket)
        session: Session | None = None
        try:
            session = Session(
                tls=options.tls.mode,
                credentials=options.credentials,
                mechanism=options.mechanism,
                may_send_secrets=options.allow_plaintext_auth or is_loopback_peer(opened.socket),
                dsn=options.dsn,
                local_hostname=hello_name(opened.socket, options.local_hostname),
                use_pipelining=options.pipelining
                and not learned_limits.of(options.host, options.port).mishandles_pipelining,
                transcript=transcript,
            )
            connection = cls(wire, session, options, peer=opened.peer)
            for stage, seconds in opened.stage_seconds.items():
                connection._clock.spend(stage, seconds)
            if options.tls.mode is TLSMode.IMPLICIT:
                connection._handshake(deadline, strict=strict)
            connection._set_up(deadline, strict=strict)
        except BaseException as error:
            wire.close()
            if isinstance(error, WireError) and session is not None:
                error.dialogue = dialogue(session.channel.set_up_lines)
            if isinstance(error, WireError) or not isinstance(error, Exception):
                raise
            # What a server says, or a token provider does, must not end more than its connection.
            logger.exception("A connection to %s could not be set up", opened.peer)
            detail = f"setting up the connection failed: {type(error).__name__}"
            stage = session.stage if session is not None else Stage.GREETING
            failure = WireFailure(stage=stage, kind=FailureKind.PROTOCOL, detail=detail, peer=opened.peer)
            raise WireError(failure) from error
        return connection

    def _handshake(self, deadline: Deadline, *, strict: bool) -> None:
        from reliable_email.smtp.tls.handshake import handshake  # seven modules that a plain relay needs none of

        began = time.monotonic()
        wrapped, self.tls = handshake(
            self._wire.handle,
            self.options.tls,
            host=self.options.host,
            port=self.options.port,
            deadline=deadline,
            strict=strict,
        )
        self._wire.replace(wrapped)
        self._clock.spend(Stage.TLS, time.monotonic() - began)

    def _set_up(self, deadline: Deadline, *, strict: bool) -> None:
        while not self._is_established:
            self.run(lambda: self._is_established or self._upgrade_wanted or self._token_wanted is not None, deadline)
            if self._broken is not None:
                raise WireError(replace(self._broken, peer=self.peer))
            if self._upgrade_wanted:
                self._upgrade_wanted = False
                self._clock.pause(time.monotonic())
                self._handshake(deadline, strict=strict)
                self._handle(self._session.tls_established())
            if self._token_wanted is not None:
                from reliable_email.smtp.oauth.access_tokens import access_token  # most log in by a password

                wanted, self._token_wanted = self._token_wanted, None
                credentials = self.options.credentials
                assert credentials is not None
                # No local variable holds the token: error trackers show those.
                seconds = max(0.1, deadline.stage_seconds())
                self._handle(self._session.authenticate(access_token(credentials, renew=wanted.renew, timeout=seconds)))
        self._clock.note(time.monotonic())
        self.set_up_seconds = self._clock.spent()

    # Use.

    @property
    def session(self) -> Session:
        """The session, for whoever wants to show its capabilities."""
        return self._session

    @property
    def is_usable(self) -> bool:
        """True if another message can be started on the connection."""
        return self._broken is None and self._session.is_idle and self._pid == os.getpid()

    @property
    def room(self) -> int:
        """The number of further messages that the limit per connection allows, as configured, learned or announced."""
        learned = learned_limits.of(self.options.host, self.options.port).messages_per_connection
        announced = self._session.capabilities.mail_max
        if self._is_retired:
            return 0
        if not (learned or announced or self.options.messages_per_connection):
            return sys.maxsize
        limits = [limit for limit in (self.options.messages_per_connection, learned, announced) if limit]
        return max(0, min(limits) - self.message_count)

    @property
    def has_room(self) -> bool:
        """True if the limit per connection allows another message."""
        return self.room > 0

    def retire(self) -> None:
        """Begin no further message on it."""
        self._is_retired = True

    def is_stale(self) -> bool:
        """Return whether the server sent something, or closed the connection, while it was idle."""
        if self.is_usable:
            self._read()
        return not self.is_usable

    @property
    def is_broken(self) -> bool:
        """True if the connection has ended."""
        return self._broken is not None

    @property
    def wanted(self) -> ContentWanted | None:
        """The job whose content the server awaits."""
        return self._wanted

    def has_finished(self, job: Job) -> bool:
        """Return whether the job's transaction is ready to be taken, or the job turned out not to be asked."""
        return id(job) in self._finished or id(job) in self._not_asked

    def take_not_asked(self, job: Job) -> NotAsked | None:
        """Return why a chained job counts as not begun; None if it is finished."""
        return self._not_asked.pop(id(job), None)

    def take(self, job: Job) -> Transaction:
        """The finished job's transaction."""
        return self._finished.pop(id(job))

    def begin(self, job: Job, *, envelope_only: bool = False) -> None:
        """Put the job's envelope out, behind the last terminator where that is still on its way."""
        self._check_owner()
        self._began_at[id(job)] = time.monotonic()
        self.message_count += not envelope_only
        self._handle(self._session.begin(job, envelope_only=envelope_only))

    def fly(self, job: Job, chunks: list[bytes]) -> None:
        """Put envelope and content out in one flight (BDAT)."""
        self._check_owner()
        self._began_at[id(job)] = time.monotonic()
        self.message_count += 1
        self._handle(self._session.fly(job, chunks))

    def stream(self, chunks: Iterator[bytes], deadline: Deadline) -> Generator[Wait, None, bytes | None]:
        """Write dot-stuffed content but for its last piece, which is returned; None where it is no longer wanted."""
        wanted = self._wanted
        held = next(chunks, b"")
        for chunk in chunks:
            self._session.content(held)
            held = chunk
            yield from self.steps(lambda: not self._session.output() or self._wanted is not wanted, deadline)
            if self._wanted is not wanted:
                return None  # refused in mid content, or the connection is gone
        return held

    def give_up(self, failure: WireFailure) -> None:
        """End the connection because of the content that is being written: its terminator is not out."""
        self._wanted = None
        self._handle(self._session.fail(failure))

    def complete(self, last_piece: bytes) -> bool:
        """Hand over the last piece and the terminator; False where the server has left or refused meanwhile."""
        wanted = self._wanted
        self._read()  # a server that left meanwhile must not be handed a terminator
        if wanted is None or self._wanted is not wanted:
            return False
        self._wanted = None
        if last_piece:
            self._session.content(last_piece)
        self._handle(self._session.finish())
        return True

    def withhold(self) -> None:
        """End the job whose content is wanted without a terminator, and the connection with it."""
        self._wanted = None
        self._handle(self._session.withhold("the permission to hand the message over was not given"))

    def check_envelope(self, job: Job, *, deadline: Deadline) -> Transaction:
        """Ask for MAIL and RCPT and reset: what the server thinks of an envelope, without a message."""
        self.begin(job, envelope_only=True)
        self.run(lambda: self.has_finished(job), deadline)
        return self.take(job)

    # The loop.

    def run(self, is_done: Callable[[], object], deadline: Deadline) -> None:
        """Write and read until it is done, or the connection is broken."""
        for wait in self.steps(is_done, deadline):
            block(wait)

    def steps(self, is_done: Callable[[], object], deadline: Deadline) -> Iterator[Wait]:
        """Write and read as `run` does, and yield each wait to the driver."""
        while not is_done() and self._broken is None:
            self._clock.watch(deadline)
            has_written = self._write()
            self._clock.watch(deadline)  # with the last byte of a terminator the final reply's clock starts
            # What has only now been asked for is not here yet, and looking would hand the interpreter to other threads.
            # In mid content a refusal may come at any time, and TLS may have read ahead.
            has_just_asked = has_written and not self._session.output() and self._clock.stage is not Stage.CONTENT
            if not has_just_asked or self._wire.reads_ahead:
                has_read = self._read()
                if (has_written and not has_just_asked) or has_read:
                    continue
            if is_done() or self._broken is not None:
                continue
            wait = self._wait
            wait.for_write, wait.until = bool(self._session.output()), self._clock.ends_at
            yield wait
            is_late = not wait.is_ready and time.monotonic() >= self._clock.ends_at
            # The driver may have been away for longer than the time was: what came meanwhile counts.
            if is_late and not self._read() and self._broken is None:
                self._time_out()
        self._clock.watch(deadline)

    def _write(self) -> bool:
        data = self._session.output()
        if not data:
            return False
        try:
            count = self._wire.write(data)
        except WireLost as lost:
            # Whatever the server managed to say before it left is read before anything is judged.
            while self._read():
                pass
            self._handle(self._session.lost(lost.kind, lost.detail))
            return True
        if count:
            self._session.sent(count)
            self._clock.has_progressed()
        return bool(count)

    def _read(self) -> bool:
        if self._broken is not None:
            return False
        try:
            data = self._wire.read()
        except WireLost as lost:
            self._handle(self._session.lost(lost.kind, lost.detail))
            return False
        if data is None:
            return False
        try:
            events = self._session.receive(data)
        except Exception as error:
            logger.exception("A reply of %s could not be handled", self.peer)
            events = self._session.lost(FailureKind.PROTOCOL, f"its reply could not be handled: {type(error).__name__}")
        self._handle(events)
        if self._session.awaits_more:  # what is read and answered is acknowledged with the answer
            self._wire.acknowledge()
        return True

    def _time_out(self) -> None:
        stage = self._session.stage
        if self._session.channel.has_group_out:  # a chained one is `NotAsked`
            learned_limits.learn_pipelining_is_mishandled(self.options.host, self.options.port)
        waited = time.monotonic() - self._clock.began_at
        detail = f"nothing more came from the server for {waited:.1f} s"
        if stage is Stage.GREETING and self.options.tls.mode is not TLSMode.IMPLICIT:
            detail += " (a server that waits for TLS from the first byte is silent like this: port 465, use_ssl)"
        self._handle(self._session.lost(FailureKind.TIMEOUT, detail))

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Finished(transaction):
                    self._finish(transaction)
                case ContentWanted():
                    self._wanted = event
                case NotAsked(job=job):
                    self._began_at.pop(id(job), None)
                    self._not_asked[id(job)] = event
                case Broken(failure):
                    self._broken = failure
                    self._wanted = None
                    self._wire.close()
                case UpgradeWanted():
                    self._upgrade_wanted = True
                case TokenWanted():
                    self._token_wanted = event
                case Established():
                    self._is_established = True

    def _finish(self, transaction: Transaction) -> None:
        if self._wanted is not None and self._wanted.job is transaction.job:
            self._wanted = None
        now = time.monotonic()
        self._clock.note(now)
        began = self._began_at.pop(id(transaction.job), now)
        self._finished[id(transaction.job)] = replace(
            transaction, started_at=began, seconds=now - began, stage_seconds=self._clock.take_spent(), peer=self.peer
        )

    # The end.

    def _check_owner(self) -> None:
        if self._pid != os.getpid():
            raise AssertionError("a connection was carried over a fork")

    def abort(self) -> None:
        """Close at once; open exchanges are finished by what is known."""
        self._handle(self._session.lost(FailureKind.DISCONNECTED, "the connection was given up by this side"))
        self._wire.close()

    def close(self) -> None:
        """Say QUIT and close; its reply is not waited for and nothing that happens here matters any more."""
        if self._broken is None and self._pid == os.getpid() and self._session.is_idle:
            self._session.quit()
            with contextlib.suppress(WireLost):
                self._wire.write(self._session.output())
        self._broken = self._broken or WireFailure(
            stage=Stage.QUIT, kind=FailureKind.DISCONNECTED, detail="closed by this side"
        )
        self._wire.close()

    def forget(self) -> None:
        """Close an inherited descriptor after a fork: not a byte goes to the parent's server."""
        self._broken = WireFailure(stage=Stage.QUIT, kind=FailureKind.DISCONNECTED, detail="left behind by a fork")
        self._wire.close()
