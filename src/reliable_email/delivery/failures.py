"""Failures that no server has spoken of: what is known here without asking, and what a lost connection means."""

from collections.abc import Collection

from reliable_email.classification import Cause, Failure
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery.breaker import BreakerState, is_sender_closed
from reliable_email.delivery.route import Route
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Job, RecipientResult, Transaction, Verdict


def unknown_failure(result: RecipientResult) -> Failure:
    """Return the failure of an unknown outcome, with the wire's description of how it came about."""
    meaning = MEANINGS[Cause.OUTCOME_UNKNOWN]
    return Failure(
        cause=Cause.OUTCOME_UNKNOWN,
        scope=meaning.scope,
        permanent=False,
        certain=True,
        help=f"{meaning.says} {meaning.person}".strip(),
        stage=result.failure.stage if result.failure is not None else Stage.FINAL_REPLY,
        reply=result.reply,
        detail=result.failure.detail if result.failure is not None else "",
    )


def local_failure(cause: Cause, detail: str) -> Failure:
    """A failure that was found without a server."""
    meaning = MEANINGS[cause]
    return Failure(
        cause=cause,
        scope=meaning.scope,
        permanent=False,
        certain=True,
        help=f"{meaning.says} {meaning.person}".strip(),
        detail=detail,
    )


def interrupted(error: BaseException, *, may_have_it: bool) -> Failure:
    """Return the failure of a recipient whose message was under way, or waiting, when the process was told to stop."""
    when = "while the server's reply was waited for" if may_have_it else "before the message was handed over"
    detail = f"the send was interrupted ({type(error).__name__}) {when}"
    return local_failure(Cause.OUTCOME_UNKNOWN if may_have_it else Cause.DISCONNECTED, detail)


def not_told_of(transaction: Transaction) -> RecipientResult:
    """Return the result of a recipient that a transport forgot: unknown if the message was completed."""
    verdict = Verdict.UNKNOWN if transaction.terminator_sent else Verdict.NOT_SENT
    failure = WireFailure(
        stage=transaction.stage, kind=FailureKind.PROTOCOL, detail="nothing was said of this recipient"
    )
    return RecipientResult(verdict=verdict, failure=failure)


def never_tried(job: Job) -> Transaction:
    """Answer for a job that a transport has forgotten, and so has not sent."""
    failure = WireFailure(stage=Stage.CONNECT, kind=FailureKind.DISCONNECTED, detail="it was never tried")
    result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
    return Transaction(job=job, results=dict.fromkeys(job.recipients, result), stage=Stage.CONNECT, failure=failure)


def raised(job: Job, error: Exception, *, handed_over: Collection[str]) -> Transaction:
    """Answer for a job whose transport raised: unknown after `authorize`, not sent before it."""
    words = f"{type(error).__name__}: {error}"
    unsent = WireFailure(stage=Stage.DATA, kind=FailureKind.RAISED, detail=words)
    lost = WireFailure(stage=Stage.FINAL_REPLY, kind=FailureKind.DISCONNECTED, detail=words)
    results = {
        address: RecipientResult(verdict=Verdict.UNKNOWN, failure=lost)
        if address in handed_over
        else RecipientResult(verdict=Verdict.NOT_SENT, failure=unsent)
        for address in job.recipients
    }
    failure = lost if handed_over else unsent
    return Transaction(
        job=job, results=results, stage=failure.stage, failure=failure, terminator_sent=bool(handed_over)
    )


def closed_there_failure(route: Route, *, sender_domain: str, receiver: str) -> Failure:
    """Return the failure that explains why a route is not asked for one receiver."""
    why = f"for mail of {sender_domain} to {receiver}, which has refused that sender by it"
    return local_failure(Cause.ROUTE_CLOSED, f"{route.alias} is left alone for now {why}")


def closed_failure(route: Route, state: BreakerState, *, sender_domain: str, now: float) -> Failure:
    """Return the failure that explains why a route is not asked now."""
    if state.paused_by:
        return local_failure(Cause.ROUTE_CLOSED, f"{route.alias} was paused by {state.paused_by}")
    if is_sender_closed(state, sender_domain, now=now):
        why = f" for the sender domain {sender_domain}, which it has refused"
    elif state.reason is not None:
        why = f": {state.reason}, {state.evidence}"
    else:
        why = ", since it was asked too often"
    return local_failure(Cause.ROUTE_CLOSED, f"{route.alias} is left alone for now{why}")
