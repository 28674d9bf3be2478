"""Routes that answer as a line of a table says.

An answer is one transaction's: `250`, or `STAGE:what`, where what is a reply, `close`, `silence`, `raise` (our own or
somebody else's code raises an error) or `withheld` (our own journal says no). For one recipient alone it is
`rcpt bob:550 no`. Several, in one transaction, are joined by ` & `. `unbuilt` is a route that cannot be built.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from reliable_email.delivery.route import Route
from reliable_email.providers import Quota
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import (
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

_BEFORE_MAIL = (Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH)
_KINDS = {
    "busy": FailureKind.BUSY,
    "close": FailureKind.DISCONNECTED,
    "silence": FailureKind.TIMEOUT,
    "large": FailureKind.TOO_LARGE,
    "utf8": FailureKind.UNSUPPORTED,
    "invalid": FailureKind.INVALID,
    "content": FailureKind.INVALID_CONTENT,
    "unbuilt": FailureKind.CANNOT_BE_BUILT,
    "raised": FailureKind.RAISED,
    "nothost": FailureKind.HOST_NOT_FOUND,
    "refused": FailureKind.CONNECT_FAILED,
}


@dataclass
class Asked:
    """One transaction, as the servers saw it."""

    route: str
    recipients: tuple[str, ...]
    is_repeat: bool


@dataclass(eq=False)
class Scripted:
    """A transport that answers by its script; the last answer is for ever."""

    alias: str
    script: list[str]
    asked: list[Asked]
    taken: list[tuple[str, str]] = field(default_factory=list)  # (route, address)

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`."""
        return run(self.steps(jobs, deadline=deadline), authorize=authorize)

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """See `Transport.steps`."""
        for job in jobs:
            yield (yield from self._one(job))

    def _one(self, job: Job) -> Generator[WireStep, None, Transaction]:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.asked.append(Asked(self.alias, job.recipients, job.is_repeat))
        results: dict[str, RecipientResult] = {}
        for part in answer.split(" & "):
            where, _, what = part.partition(":")
            stage, _, name = where.partition(" ")
            if not what:
                continue
            if what == "raise" and stage == "mail":
                raise RuntimeError("code of somebody's")
            at = Stage("final_reply" if stage == "final" else stage)
            if at is Stage.RCPT:
                for address in job.recipients:
                    if not name or address.startswith(f"{name}@"):
                        results[address] = _result(at, what)
            elif at is not Stage.FINAL_REPLY:
                return _transaction(job, at, results, _result(at, what))
        left = tuple(address for address in job.recipients if address not in results)
        if not left:
            return Transaction(job=job, results=results, stage=Stage.RCPT)
        ask = Ask([Grant(job=job, recipients=left, refused=dict(results))], [])
        yield ask
        if job not in ask.allowed:
            return _transaction(job, Stage.CONTENT, results, _result(Stage.CONTENT, "withheld"))
        what = next((part.partition(":")[2] for part in answer.split(" & ") if part.startswith("final:")), "250 ok")
        if what == "raise":
            raise RuntimeError("code of somebody's, behind the permission")
        result = _result(Stage.FINAL_REPLY, what)
        if result.verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN):
            self.taken += [(self.alias, address) for address in left]
        return _transaction(job, Stage.FINAL_REPLY, results, result, terminator_sent=True)


def _result(stage: Stage, what: str) -> RecipientResult:
    if what == "withheld":
        failure = WireFailure(stage=stage, kind=FailureKind.WITHHELD, detail="not permitted")
        return RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
    if what in _KINDS:
        failure = WireFailure(stage=stage, kind=_KINDS[what], detail=f"{what} at {stage}")
        is_lost = stage is Stage.FINAL_REPLY and what in ("close", "silence")
        return RecipientResult(verdict=Verdict.UNKNOWN if is_lost else Verdict.NOT_SENT, failure=failure)
    reply = parse_reply(what)
    if reply.code < 400:
        return RecipientResult(verdict=Verdict.ACCEPTED, reply=reply)
    failure = WireFailure(stage=stage, kind=FailureKind.REFUSED, detail=f"the server answered {reply}", reply=reply)
    verdict = Verdict.NOT_SENT if stage in _BEFORE_MAIL else Verdict.REFUSED
    return RecipientResult(verdict=verdict, reply=reply, failure=failure)


def _transaction(
    job: Job, stage: Stage, results: dict[str, RecipientResult], rest: RecipientResult, *, terminator_sent: bool = False
) -> Transaction:
    full = {address: results.get(address, rest) for address in job.recipients}
    return Transaction(
        job=job,
        results=full,
        stage=stage,
        failure=rest.failure,
        reply=rest.reply,
        terminator_sent=terminator_sent,
        seconds=0.01,
    )


def routes_of(scripts: Sequence[str], asked: list[Asked], *, max_attempts: int = 2) -> list[Route]:
    """Routes a, b, c … with these scripts: options such as `quota=0; ` first, answers parted by ` | `."""
    routes = []
    for alias, script in zip("abcdef", scripts, strict=False):
        options, _, answers = script.rpartition("; ")
        transport = Scripted(alias, (answers or script).split(" | "), asked)
        changes: dict[str, object] = {}
        for option in filter(None, options.split(", ")):
            name, _, value = option.partition("=")
            if name == "quota":
                changes["quotas"] = (Quota(limit=int(value), window_seconds=86400),)
            elif name == "size":
                changes["max_message_bytes"] = int(value)
            elif name == "rcpts":
                changes["max_recipients"] = int(value)
            elif name == "exact":
                changes["idempotency_header"] = "X-Once"
            elif name == "shows":
                changes["delivers"] = False
        if answers == "unbuilt":
            changes["build_error"] = f"MAILERS['{alias}']: a package is missing."
        routes.append(Route(alias=alias, transport=transport, max_attempts=max_attempts, **changes))  # type: ignore[arg-type]
    return routes
