"""Log records that programs can read: those about messages and routes have six fields, None where not known.

| field | holds |
|---|---|
| `message_id` | the Message-ID with its angle brackets |
| `outbox_id` | the number of the outbox's message |
| `route` | the alias of a route |
| `cause`, `stage`, `outcome` | the words of reports |

INFO is what went well, WARNING trouble that the package deals with by itself (one for each), ERROR what a person has to
see. Addresses are in records of level DEBUG alone; where a server repeats one in its reply, it is masked.
"""

import contextlib
import logging
from collections.abc import Iterator

from reliable_email import conf
from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome
from reliable_email.values import masked, printable

logger = logging.getLogger("reliable_email.delivery")

FIELDS = ("message_id", "outbox_id", "route", "cause", "stage", "outcome")


def log_fields(
    *,
    message_id: str | None = None,
    outbox_id: int | None = None,
    route: str | None = None,
    cause: str | None = None,
    stage: str | None = None,
    outcome: str | None = None,
) -> dict[str, str | int | None]:
    """Return the value of `extra` for a log record."""
    return {
        "message_id": message_id or None,
        "outbox_id": outbox_id,
        "route": route or None,
        "cause": cause or None,
        "stage": stage or None,
        "outcome": outcome or None,
    }


def words_of(text: str) -> str:
    """Return a server's reply for the log: on one line, with addresses masked."""
    return masked(printable(text))


def log_breaker(alias: str, before: BreakerState, after: BreakerState, *, now: float) -> None:
    """Say once that a route is closed, or in use again; probes that fail meanwhile are not worth a line."""
    was_in_use, is_in_use = before.phase is Phase.CLOSED, after.phase is Phase.CLOSED
    known = log_fields(route=alias, cause=after.reason)
    if after.phase is Phase.PAUSED and before.phase is not Phase.PAUSED:
        logger.info("route %s: paused by %s", alias, words_of(after.paused_by) or "an operator", extra=known)
    elif was_in_use and not is_in_use:
        level = logging.ERROR if after.needs_person else logging.WARNING
        until = (
            "until its configuration is corrected" if after.needs_person else f"for {max(after.until - now, 0):.0f} s"
        )
        said = words_of(after.evidence)
        logger.log(level, "route %s: closed %s, %s (%s)", alias, until, after.reason, said, extra=known)
    elif is_in_use and not was_in_use:
        logger.info("route %s: in use again", alias, extra=known)


def log_report(report: DeliveryReport) -> None:
    """One record for what became of a message, and one for each trouble on the way that did not matter in the end."""
    if len(report.accepted) == len(report.recipients):
        for attempt in report.attempts:
            if attempt.failure is not None:
                _log_overcome(report, attempt)
        routes = ", ".join(sorted({one.route for one in report.recipients.values() if one.route}))
        known = log_fields(message_id=report.message_id, route=routes, outcome=Outcome.ACCEPTED)
        logger.info("message %s: accepted by %s", report.message_id, routes, extra=known)
    else:
        _log_failed(report)
    if logger.isEnabledFor(logging.DEBUG):
        _log_recipients(report)


def _log_overcome(report: DeliveryReport, attempt: Attempt) -> None:
    failure = attempt.failure
    assert failure is not None
    logger.warning(
        "message %s: not yet by %s at %s (%s): %s",
        report.message_id,
        attempt.route,
        attempt.stage,
        failure.cause,
        words_of(failure.said),
        extra=log_fields(
            message_id=report.message_id,
            route=attempt.route,
            cause=failure.cause,
            stage=attempt.stage,
            outcome=Outcome.DEFERRED,
        ),
    )


def _log_failed(report: DeliveryReport) -> None:
    by_outcome = (
        (Outcome.ACCEPTED, report.accepted),
        (Outcome.REJECTED, report.rejected),
        (Outcome.DEFERRED, report.deferred),
        (Outcome.UNKNOWN, report.unknown),
    )
    counts = ", ".join(f"{len(addresses)} {outcome}" for outcome, addresses in by_outcome if addresses)
    failed = [one for one in report.recipients.values() if one.outcome is not Outcome.ACCEPTED]
    # The worst, where they differ: nobody knows whether it has the message, and only a person can find out.
    worst = next((one for one in failed if one.outcome is Outcome.UNKNOWN), failed[0])
    failure = worst.failure
    said = "" if failure is None else failure.said
    logger.log(
        logging.ERROR if worst.outcome is Outcome.UNKNOWN else logging.WARNING,
        "message %s: %s (%s)%s",
        report.message_id,
        counts,
        ", ".join(sorted({str(one.cause) for one in failed if one.cause is not None})),
        f": {words_of(said)}" if said else "",
        extra=log_fields(
            message_id=report.message_id,
            route=worst.route,
            cause=worst.cause,
            stage=failure.stage if failure is not None else None,
            outcome=worst.outcome,
        ),
    )


def _log_recipients(report: DeliveryReport) -> None:
    """The only records with addresses."""
    is_masked = conf.get().mask_addresses
    for address, one in report.recipients.items():
        shown = printable(address)
        known = log_fields(message_id=report.message_id, route=one.route, cause=one.cause, outcome=one.outcome)
        logger.debug("%s: %s", masked(shown) if is_masked else shown, one.outcome, extra=known)


@contextlib.contextmanager
def nothing_raised(what: str) -> Iterator[None]:
    """Log what is raised, and go on: for what is done when messages are out and their outcomes are known."""
    try:
        yield
    except Exception:
        # The caller must not be told that delivered mail was not sent.
        with contextlib.suppress(Exception):  # a handler or filter of anybody's may be what raised
            logger.warning("Messages were handed over, but the attempt to %s failed.", what, exc_info=True)
