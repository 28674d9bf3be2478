"""Drives a session as a connection does, whatever bytes come: it answers every event, and keeps what happened."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol.events import Broken, ContentWanted, Event, Finished, TokenWanted, UpgradeWanted
from reliable_email.smtp.protocol.session import Phase, Session
from reliable_email.smtp.protocol.wire_content import BytesContent, stuffed
from reliable_email.smtp.transaction import Job, Transaction, Verdict

_PRAISE = re.compile(rb"^2\d\d(?: [^\n]*)?\r?\n", re.MULTILINE)
_END = b"\r\n.\r\n"


def job(*recipients: str) -> Job:
    """A small message."""
    return Job(
        sender="a@example.org",
        recipients=recipients,
        content=BytesContent.from_bytes(b"Subject: hello\r\n\r\n.hello\r\n"),
    )


class Player:
    """See the module.

    Args:
        jobs: sent one after the other.
        chains: whether the next envelope is written right behind a terminator.
        window: bytes that the imaginary kernel takes after each read; None for all.
        options: of the session.

    Attributes:
        story: the events and what they say, without what depends on time.
    """

    def __init__(self, jobs: Iterable[Job], *, chains: bool = True, window: int | None = None, **options: Any) -> None:
        self.session = Session(
            **{"tls": TLSMode.NONE, "may_send_secrets": True, "local_hostname": "client.test", **options}
        )
        self.jobs = list(jobs)
        self.story: list[tuple[Any, ...]] = []
        self.transactions: list[Transaction] = []
        self.written = bytearray()
        self.received = bytearray()
        self._waiting = deque(self.jobs)
        self._chains = chains
        self._window = window

    def feed(self, data: bytes) -> None:
        """The server's bytes."""
        self.received += data
        self._act(self.session.receive(data))
        self._begin_where_idle()
        self._flush()
        self._begin_where_idle()

    def lose(self) -> None:
        """The connection ends."""
        self._act(self.session.lost(FailureKind.DISCONNECTED, "gone"))

    @property
    def is_over(self) -> bool:
        """Whether the session has given up."""
        return self.session.phase is Phase.CLOSED

    def _begin_where_idle(self) -> None:
        while self._waiting and self.session.is_idle:
            self._act(self.session.begin(self._waiting.popleft()))

    def _act(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Finished(transaction):
                    self.transactions.append(transaction)
                    self._check(transaction)
                    self.story.append(("finished", *_summary(transaction)))
                case Broken(failure):
                    code = failure.reply.code if failure.reply is not None else None
                    self.story.append(("broken", failure.stage, failure.kind, code))
                case ContentWanted():
                    self.story.append(("content", event.recipients))
                    if any(isinstance(one, Finished) and one.transaction.job is event.job for one in events):
                        continue  # what came behind the 354 in the same read has ended it
                    for chunk in stuffed(event.content.chunks()):
                        self.session.content(chunk)
                    self._act(self.session.finish())
                    if self._chains and self._waiting and not self.is_over:
                        self._act(self.session.begin(self._waiting.popleft()))
                case UpgradeWanted():
                    self.story.append(("upgrade",))
                    self._flush()
                    self._act(self.session.tls_established())
                case TokenWanted(renew):
                    self.story.append(("token", renew))
                    self._act(self.session.authenticate("token"))
                case _:
                    self.story.append((type(event).__name__,))

    def _flush(self) -> None:
        room = self._window
        while (data := self.session.output()) and room != 0:
            taken = data if room is None else data[:room]
            self.session.sent(len(taken))
            self.written += taken
            room = None if room is None else room - len(taken)

    def _check(self, transaction: Transaction) -> None:
        """What must hold of every transaction, judged by the bytes alone."""
        assert set(transaction.results) == set(transaction.job.recipients)
        verdicts = {result.verdict for result in transaction.results.values()}
        for result in transaction.results.values():
            assert (result.failure is None) is (result.verdict is Verdict.ACCEPTED)
        if Verdict.ACCEPTED in verdicts:
            assert transaction.terminator_sent
            assert Verdict.UNKNOWN not in verdicts
            accepted = sum(Verdict.ACCEPTED in _verdicts(one) for one in self.transactions)
            assert self.written.count(_END) >= accepted
            # As many lines that say yes as there were messages taken, and all of them behind the first terminator.
            assert len(_PRAISE.findall(bytes(self.received))) > accepted
        if Verdict.UNKNOWN in verdicts:
            assert transaction.terminator_sent
        if not transaction.terminator_sent:
            assert verdicts <= {Verdict.REFUSED, Verdict.NOT_SENT}


def _verdicts(transaction: Transaction) -> set[Verdict]:
    return {result.verdict for result in transaction.results.values()}


def _summary(transaction: Transaction) -> tuple[Any, ...]:
    results = tuple(
        (address, result.verdict, result.reply and (result.reply.code, result.reply.text))
        for address, result in transaction.results.items()
    )
    reply = transaction.reply and (transaction.reply.code, transaction.reply.text)
    return (results, transaction.stage, reply, transaction.content_bytes, transaction.terminator_sent)


PASSWORD = Credentials(username="user", password="pässword")


class _Tokens:
    """Only asked for by the driver, which here is the player."""

    def access_token(self, *, renew: bool, timeout: float) -> str:
        raise AssertionError


TOKEN = Credentials(username="user", token_provider=_Tokens())
