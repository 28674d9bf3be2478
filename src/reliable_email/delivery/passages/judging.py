"""The meaning of a failure for one recipient of one envelope: the policy's decision in context. Pure."""

from dataclasses import replace
from datetime import datetime

from reliable_email import classification
from reliable_email.classification import Cause, Failure, Scope
from reliable_email.delivery.failures import unknown_failure
from reliable_email.delivery.passages.progress import LIMITED, Progress, Send, is_own
from reliable_email.delivery.policy import Decision, Step, as_limit, decide
from reliable_email.delivery.route import Route
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import RecipientResult, Verdict

# Refusals for a limit that a message may meet in a row on one route before they count as attempts.
FREE_LIMITS = 2

_ABOUT_THE_MESSAGE = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT, Stage.FINAL_REPLY})
# On these routes only a person can help: with the sender's domain, or with the code that raised.
_NEEDS_PERSON = frozenset({Cause.SENDER_NOT_VERIFIED, Cause.SENDER_NOT_AUTHENTICATED, Cause.CODE_RAISED})


def calls_for_person(failure: Failure) -> bool:
    """Return whether an operator must correct something before this route can work."""
    return failure.cause in _NEEDS_PERSON and (failure.permanent or failure.cause is Cause.CODE_RAISED)


def says_later(failure: Failure) -> bool:
    """Return whether the server may accept this message later."""
    return failure.reply is not None and failure.reply.code < 500 and failure.stage in _ABOUT_THE_MESSAGE


def failure_of(route: Route, result: RecipientResult, *, sender_domain: str, now: datetime) -> Failure:
    """Return the failure of a recipient that was not accepted."""
    if result.verdict is Verdict.UNKNOWN:
        return unknown_failure(result)
    evidence = result.failure
    assert evidence is not None, "every result but an accepted one has its failure"
    return classification.classify(evidence, provider=route.provider, sender_domain=sender_domain, now=now)


def judge(send: Send, one: Progress, failure: Failure, result: RecipientResult, *, shared: int) -> Decision:
    """Decide about one recipient's failure: the policy's word, and what this envelope and its way so far tell besides.

    Args:
        shared: how many recipients of the envelope the same reply was said to.
    """
    alias = send.route.alias
    decision = decide(failure)
    if result.failure is not None and result.failure.kind is FailureKind.UNSUPPORTED:
        return Decision(step=Step.ROOMIER_ROUTE)  # another server may offer the extension
    if decision.step is Step.SPLIT and (len(send.recipients) == 1 or failure.stage is Stage.MAIL):
        # A limit of recipients that one recipient meets is a limit of the session, or of a time.
        if not send.is_repeat and alias not in one.conversed:
            return Decision(step=Step.ONCE_MORE_ALONE, spends_attempt=False)
        decision = as_limit()
    if decision.step is Step.ONCE_MORE_ALONE and alias in one.conversed:
        return Decision(step=Step.ANY_ROUTE)
    is_recipients = failure.scope is Scope.RECIPIENT and decision.step in (Step.REJECT, Step.SAME_ROUTE_LATER)
    # Greylisting is about all of them, whoever is named.
    if is_recipients and failure.cause is not Cause.GREYLISTED and shared > 1 and not is_own(result):
        return Decision(step=Step.EACH_ALONE, spends_attempt=False)
    is_limit = decision.is_for_a_limit and failure.stage in (Stage.MAIL, Stage.RCPT)
    met = one.limits_on(alias)
    if is_limit:
        if met < FREE_LIMITS:
            one.notes = (*one.notes, LIMITED + alias)
        return replace(decision, spends_attempt=met >= FREE_LIMITS)
    if met:  # in a row, it was said
        one.notes = tuple(note for note in one.notes if note != LIMITED + alias)
    return decision
