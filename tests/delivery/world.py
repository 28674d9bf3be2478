"""A world of servers that misbehave as told, and a referee that watches what they are asked.

The referee knows nothing of breakers or policies: it keeps what each server did, and what may follow from that.
Time is the world's own, so that minutes pass at once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.report import DeliveryReport
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.submission import Submission
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import Authorize, Grant, Job, RecipientResult, Transaction, Verdict

_EPOCH = 1_700_000_000.0
_QUOTA_SECONDS = 3600.0
_LOGIN_SECONDS = 900.0
_TROUBLE_SECONDS = 15.0
_SENDER_SECONDS = 3600.0


class Fault(StrEnum):
    """What a server does with one transaction."""

    NONE = "none"
    DOWN = "down"
    DROPS = "drops"  # closes before the content
    BUSY = "busy"  # 421 at the greeting
    LOGIN = "login"  # 535
    QUOTA = "quota"
    SENDER = "sender"  # not verified
    LATER = "later"  # 451 at the end
    NONSENSE = "nonsense"  # a 5yz that says nothing
    SPAM = "spam"
    HUGE = "huge"  # 552 5.3.4
    LOST = "lost"  # no final reply, and it has not got it
    TAKEN_LOST = "taken_lost"  # no final reply, and it has got it


_WORDS = {
    Fault.BUSY: (Stage.GREETING, "421 4.3.2 service not available, try later"),
    Fault.LOGIN: (Stage.AUTH, "535 5.7.8 username and password not accepted"),
    Fault.QUOTA: (Stage.MAIL, "550 5.4.5 daily user sending quota exceeded"),
    Fault.SENDER: (Stage.MAIL, "550 the from address does not match a verified sender identity"),
    Fault.LATER: (Stage.FINAL_REPLY, "451 4.3.0 temporary system problem"),
    Fault.NONSENSE: (Stage.FINAL_REPLY, "550 no"),
    Fault.SPAM: (Stage.FINAL_REPLY, "554 5.7.1 message rejected as spam"),
    Fault.HUGE: (Stage.FINAL_REPLY, "552 5.3.4 message size exceeds fixed limit"),
}
_AT_RCPT = {
    "nouser": "550 5.1.1 user unknown",
    "full": "452 4.2.2 mailbox full",
    "grey": "450 4.2.0 greylisted, try again in 300 seconds",
}
_TOO_MANY = "452 4.5.3 too many recipients"


@dataclass(frozen=True, slots=True)
class Asked:
    """One transaction as the referee saw it."""

    route: str
    message_id: str
    recipients: tuple[str, ...]
    at: float
    seconds: float


@dataclass
class Referee:
    """Collects what was asked and what follows; `broken` are the rules that were not kept, in words."""

    is_lone: bool
    now: float = _EPOCH
    broken: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)  # (message id, address)
    confirmed: set[tuple[str, str]] = field(default_factory=set)
    doubts: dict[tuple[str, str], str] = field(default_factory=dict)  # -> the route that may have taken it
    dead: dict[tuple[str, str], str] = field(default_factory=dict)  # -> the route that said there is no such mailbox
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    paused_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # since it was last asked
    closed_until: dict[tuple[str, str], float] = field(default_factory=dict)  # (route, sender domain or "")
    in_a_row: Counter[str] = field(default_factory=Counter)
    others_asked: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def is_closed(self, route: str, domain: str) -> bool:
        """Whether what the route did before forbids asking it now."""
        return any(self.closed_until.get((route, one), 0.0) > self.now for one in ("", domain))

    def is_asked(self, route: str, message_id: str, recipients: Sequence[str], seconds: float) -> None:
        """Judge one transaction."""
        self.asked.append(Asked(route, message_id, tuple(recipients), self.now, seconds))
        # A pause is spent by those that are asked after it, not by those that were done before.
        self.seconds[message_id] += self.paused_seconds.pop(message_id, 0.0) + seconds
        if len(set(recipients)) != len(recipients):
            self.broken.append(f"{route} was given a recipient twice in one envelope: {recipients}")
        for address in recipients:
            key = message_id, address
            if key in self.confirmed:
                self.broken.append(f"{address} had accepted, and {route} was asked")
            if key in self.doubts:
                self.broken.append(f"{address} may have it by {self.doubts[key]}, and {route} was asked")
            if key in self.dead:
                self.broken.append(f"{address} does not exist, said {self.dead[key]}, and {route} was asked")
            unclear = [one for one in self.others_asked[key] if one != route]
            if len(unclear) > 1 or route in self.others_asked[key]:
                self.broken.append(f"{address} was refused by {self.others_asked[key]}, and {route} was asked")

    def has_proven_itself(self, route: str, domain: str) -> None:
        """It took a message, or the login and the sender of one: what another of the same stream met is over."""
        self.in_a_row[route] = 0
        for one in ("", domain):
            self.closed_until.pop((route, one), None)

    def close(self, route: str, seconds: float, domain: str = "") -> None:
        """From now on the route must be left alone."""
        self.closed_until[route, domain] = self.now + seconds


@dataclass
class Server:
    """One route's server.

    Attributes:
        faults: for one transaction after the other; afterwards there are none.
        paces: how many seconds each transaction takes.
        envelope: how many recipients it takes in one transaction; 0 for any number.
    """

    alias: str
    referee: Referee
    faults: list[Fault] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)
    envelope: int = 0

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`."""
        for number, job in enumerate(jobs):
            if number:
                deadline.renew()
            submission = job.key
            assert isinstance(submission, Submission)
            if number == 0 and self.referee.is_closed(self.alias, submission.from_domain):
                self.referee.broken.append(f"{self.alias} was asked while it was closed")
            pace = self.paces.pop(0) if self.paces else 0.1
            seconds = min(pace, deadline.seconds)
            self.referee.is_asked(self.alias, submission.message_id, job.recipients, seconds)
            self.referee.now += seconds
            yield self._one(job, submission, authorize, seconds, in_time=pace < deadline.seconds)

    def _one(
        self, job: Job, submission: Submission, authorize: Authorize, seconds: float, *, in_time: bool
    ) -> Transaction:
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if not in_time:
            return self._broken(job, Stage.CONNECT, FailureKind.TIMEOUT, seconds)
        if fault is Fault.DOWN:
            return self._broken(job, Stage.CONNECT, FailureKind.CONNECT_FAILED, seconds)
        if fault is Fault.DROPS:
            return self._broken(job, Stage.DATA, FailureKind.DISCONNECTED, seconds)
        if fault in _WORDS and _WORDS[fault][0] is not Stage.FINAL_REPLY:
            stage, words = _WORDS[fault]
            self._remember(fault, submission)
            return self._told(job, {}, job.recipients, stage, refused(stage, words), seconds)
        results = self._at_rcpt(job, submission)
        left = tuple(address for address in job.recipients if address not in results)
        if not left:
            self.referee.has_proven_itself(self.alias, submission.from_domain)
            return Transaction(job=job, results=results, stage=Stage.RCPT, seconds=seconds)
        assert authorize([Grant(job=job, recipients=left, refused=results)], []), "a direct send allows everything"
        return self._end(job, submission, results, left, fault, seconds)

    def _at_rcpt(self, job: Job, submission: Submission) -> dict[str, RecipientResult]:
        results: dict[str, RecipientResult] = {}
        taken = 0
        for address in job.recipients:
            words = _AT_RCPT.get(kind(address))
            if words is None:
                taken += 1
                if not self.envelope or taken <= self.envelope:
                    continue
                words = _TOO_MANY
            if kind(address) == "nouser":
                self.referee.dead[submission.message_id, address] = self.alias
            results[address] = refused(Stage.RCPT, words)
        return results

    def _end(
        self,
        job: Job,
        submission: Submission,
        results: dict[str, RecipientResult],
        left: tuple[str, ...],
        fault: Fault,
        seconds: float,
    ) -> Transaction:
        keys = [(submission.message_id, address) for address in left]
        if fault in (Fault.NONE, Fault.TAKEN_LOST):
            self.referee.copies.update(keys)
        if fault in (Fault.LOST, Fault.TAKEN_LOST):
            self.referee.doubts.update(dict.fromkeys(keys, self.alias))
            self._trouble()
            failure = WireFailure(stage=Stage.FINAL_REPLY, kind=FailureKind.DISCONNECTED, detail="connection reset")
            result = RecipientResult(verdict=Verdict.UNKNOWN, failure=failure)
        elif fault is Fault.NONE:
            self.referee.confirmed.update(keys)
            self.referee.has_proven_itself(self.alias, submission.from_domain)
            result = RecipientResult(verdict=Verdict.ACCEPTED, reply=parse_reply("250 2.0.0 queued"))
        else:
            result = refused(Stage.FINAL_REPLY, _WORDS[fault][1])
            self._remember(fault, submission)
            if fault is Fault.NONSENSE:
                for key in keys:
                    self.referee.others_asked[key].append(self.alias)
        return self._told(job, results, left, Stage.FINAL_REPLY, result, seconds, terminator_sent=True)

    def _remember(self, fault: Fault, submission: Submission) -> None:
        match fault:
            case Fault.LOGIN:
                self.referee.close(self.alias, _LOGIN_SECONDS)
            case Fault.QUOTA if not self.referee.is_lone:
                self.referee.close(self.alias, _QUOTA_SECONDS)
            case Fault.SENDER if not self.referee.is_lone:
                self.referee.close(self.alias, _SENDER_SECONDS, submission.from_domain)
            case Fault.BUSY | Fault.LATER:
                self._trouble()
            case _:
                self.referee.in_a_row[self.alias] = 0

    def _trouble(self) -> None:
        self.referee.in_a_row[self.alias] += 1
        if self.referee.in_a_row[self.alias] >= 3 and not self.referee.is_lone:
            self.referee.close(self.alias, _TROUBLE_SECONDS)

    def _broken(self, job: Job, stage: Stage, kind_of: FailureKind, seconds: float) -> Transaction:
        self._trouble()
        failure = WireFailure(stage=stage, kind=kind_of, detail=f"{kind_of} by the world")
        result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
        return self._told(job, {}, job.recipients, stage, result, seconds)

    @staticmethod
    def _told(
        job: Job,
        results: dict[str, RecipientResult],
        left: Sequence[str],
        stage: Stage,
        result: RecipientResult,
        seconds: float,
        *,
        terminator_sent: bool = False,
    ) -> Transaction:
        return Transaction(
            job=job,
            results=results | dict.fromkeys(left, result),
            stage=stage,
            failure=result.failure if stage is not Stage.FINAL_REPLY else None,
            reply=result.reply,
            terminator_sent=terminator_sent,
            seconds=seconds,
        )

    def route(self, **changes: object) -> Route:
        """A route to it."""
        return Route(alias=self.alias, transport=self, fingerprint="one", **changes)  # type: ignore[arg-type]


def send(
    referee: Referee,
    routes: Sequence[Route],
    submissions: Sequence[Submission],
    *,
    timeout: float | None = None,
    jitter: float = 0.5,
    store: MemoryRouteStateStore | None = None,
) -> list[DeliveryReport]:
    """Deliver in the world's time."""

    def sleep(seconds: float) -> None:
        referee.now += seconds
        for one in submissions:
            referee.paused_seconds[one.message_id] += seconds

    delivery = Delivery(
        routes,
        store=store or MemoryRouteStateStore(clock=lambda: referee.now),
        timeout=timeout,
        sleep=sleep,
        random=lambda: jitter,
        now=lambda: datetime.fromtimestamp(referee.now, UTC),
    )
    return delivery.deliver(submissions)


def submission(number: int, recipients: Sequence[str], *, sender: str = "site@example.org") -> Submission:
    """A message that is told apart by its number."""
    message_id = f"<{number}@example.org>"
    return Submission(
        message=None,
        sender=sender,
        recipients=tuple(recipients),
        content=BytesContent(f"Message-ID: {message_id}\r\n\r\nHello.\r\n".encode()),
        message_id=message_id,
        from_domain=sender.rpartition("@")[2],
    )


def kind(address: str) -> str:
    """What this mailbox is."""
    return address.partition("@")[0].rstrip("0123456789")


def refused(stage: Stage, words: str) -> RecipientResult:
    """A refusal in these words."""
    reply = parse_reply(words)
    failure = WireFailure(stage=stage, kind=FailureKind.REFUSED, detail=f"the server answered {reply}", reply=reply)
    return RecipientResult(verdict=Verdict.REFUSED, reply=reply, failure=failure)
