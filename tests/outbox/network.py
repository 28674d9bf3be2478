"""A network in memory that keeps the transport's contract: who took what, and what the wire said of it.

What a mailbox does is in its local part: `ok`, `nouser` (550 at RCPT), `grey` (450 at RCPT), `taken-lost` (the server
took the message, the connection died before its reply), `lost` (the connection died with the message), `later` (451 at
the end), `spam` (554 at the end).
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from reliable_email.delivery.route import Route
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, parse_reply
from reliable_email.smtp.transaction import (
    Aside,
    Ask,
    Authorize,
    Grant,
    Job,
    RecipientResult,
    Transaction,
    Verdict,
    WireStep,
    WireSteps,
    run,
)

_AT_RCPT = {"nouser": "550 5.1.1 user unknown", "grey": "450 4.2.0 greylisted, try again in 300 seconds"}
_AT_END = {
    "later": "451 4.3.0 try again later",
    "spam": "554 5.7.1 rejected as spam",
}


@dataclass
class Network:
    """One server.

    Attributes:
        taken: how many copies each address got, by Message-ID.
        is_down: every connection is refused.
        final: what the end of every message is answered, instead of 250.
        before_ask: called in a thread of its own before permission is asked for, as a connection is opened; None for
            nothing.
        before_send: called with the job between the permission and the terminator.
        after_send: called with the job between the server's taking it and our reading the reply.
    """

    alias: str = "route"
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    is_down: bool = False
    final: str = ""
    before_ask: Callable[[], None] | None = None
    before_send: Callable[[Job], None] = lambda job: None
    after_send: Callable[[Job], None] = lambda job: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`."""
        return run(self.steps(jobs, deadline=deadline), authorize=authorize)

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """See `Transport.steps`."""
        settled: list[Transaction] = []
        for job in jobs:
            transaction = yield from self._one(job, settled)
            settled = [transaction]
            yield transaction

    def _one(self, job: Job, settled: list[Transaction]) -> Generator[WireStep, None, Transaction]:
        if self.is_down:
            failure = WireFailure(stage=Stage.CONNECT, kind=FailureKind.CONNECT_FAILED, detail="connection refused")
            result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
            return Transaction(
                job=job, results=dict.fromkeys(job.recipients, result), stage=Stage.CONNECT, failure=failure
            )
        results = {
            address: refused(Stage.RCPT, _AT_RCPT[kind(address)])
            for address in job.recipients
            if kind(address) in _AT_RCPT
        }
        left = tuple(address for address in job.recipients if address not in results)
        if not left:
            return Transaction(job=job, results=results, stage=Stage.RCPT)
        if self.before_ask is not None:
            opening = Aside(self.before_ask)
            yield opening
            opening.result()
        ask = Ask([Grant(job=job, recipients=left, refused=dict(results))], settled)
        yield ask
        if job not in ask.allowed:
            failure = WireFailure(stage=Stage.CONTENT, kind=FailureKind.WITHHELD, detail="not permitted")
            result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
            return Transaction(job=job, results=results | dict.fromkeys(left, result), stage=Stage.CONTENT)
        # Whatever a test does in between may block, as a foreign backend may.
        sending = Aside(lambda: self._end(job, results, left))
        yield sending
        return sending.result()

    def _end(self, job: Job, results: dict[str, RecipientResult], left: tuple[str, ...]) -> Transaction:
        self.before_send(job)
        kinds = {kind(address) for address in left}
        words = self.final or next((_AT_END[one] for one in kinds if one in _AT_END), "")
        if not words and "lost" not in kinds:
            content = b"".join(job.content.chunks())
            name = next(line for line in content.split(b"\r\n") if line.lower().startswith(b"message-id:"))
            with self.lock:
                for address in left:
                    self.taken[address, name.decode()] += 1
        self.after_send(job)
        if kinds & {"lost", "taken-lost"}:
            failure = WireFailure(stage=Stage.FINAL_REPLY, kind=FailureKind.DISCONNECTED, detail="connection reset")
            result = RecipientResult(verdict=Verdict.UNKNOWN, failure=failure)
        elif words:
            result = refused(Stage.FINAL_REPLY, words)
        else:
            result = RecipientResult(verdict=Verdict.ACCEPTED, reply=parse_reply("250 2.0.0 queued"))
        return Transaction(
            job=job,
            results=results | dict.fromkeys(left, result),
            stage=Stage.FINAL_REPLY,
            reply=result.reply,
            terminator_sent=True,
        )

    def route(self, **changes: object) -> Route:
        """A route to it."""
        return Route(alias=self.alias, transport=self, **changes)  # type: ignore[arg-type]

    def copies(self, address: str) -> int:
        """How many copies an address got."""
        return sum(count for (one, _), count in self.taken.items() if one == address)


def kind(address: str) -> str:
    """What this mailbox does."""
    return address.partition("@")[0].rstrip("0123456789")


def refused(stage: Stage, words: str) -> RecipientResult:
    """A refusal in these words."""
    reply: Reply = parse_reply(words)
    failure = WireFailure(stage=stage, kind=FailureKind.REFUSED, detail=f"the server answered {reply}", reply=reply)
    return RecipientResult(verdict=Verdict.REFUSED, reply=reply, failure=failure)
