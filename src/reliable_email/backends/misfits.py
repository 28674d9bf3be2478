"""Messages of a batch that could not be made into what is sent: whatever their code raised, the others go on."""

import contextlib
from collections.abc import Sequence

from django.core.mail import EmailMessage

from reliable_email.classification import Cause
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.report import (
    DeliveryReport,
    Outcome,
    RecipientOutcome,
    Recipients,
    attach_report,
    letter_digest,
    report_of,
)
from reliable_email.exceptions import invalid_message
from reliable_email.records import dataclass, replace
from reliable_email.values import printable, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """One such message.

    Attributes:
        number: its place in the batch, from 1.
        count: how many the batch has.
        error: what was raised.
    """

    number: int
    count: int
    message: EmailMessage
    error: Exception

    def __str__(self) -> str:
        error = self.error
        said = str(error) if type(error) in (ValueError, TypeError) else f"{type(error).__name__}: {error}"
        return f"Message {self.number} of {self.count} ({self._name()}) was not sent: {printable(said)}"

    def _name(self) -> str:
        try:
            return f"subject {shown(str(self.message.subject))}"
        except Exception:  # noqa: BLE001 - a lazy subject is anybody's code, too
            return f"a {type(self.message).__name__}"


def error_of_misfits(misfits: Sequence[Misfit], *, beside: Exception | None = None) -> Exception:
    """The one error for all of them.

    A message sent by itself raises what it raised, where that is what callers of Django expect.

    Args:
        beside: what happened to others of the batch.
    """
    first = misfits[0]
    if first.count == 1 and isinstance(first.error, (ValueError, TypeError)):
        return first.error
    lines = [str(one) for one in misfits]
    if beside is not None:
        lines.append(str(beside))
    return invalid_message("\n".join(lines), first.error)


def report_misfit(message: EmailMessage, error: Exception) -> None:
    """Hang a report on a message that was not sent; what an earlier send has achieved stays in it."""
    is_invalid = isinstance(error, (ValueError, TypeError))
    detail = printable(f"{type(error).__name__}: {error}")
    failure = local_failure(Cause.INVALID_CONTENT if is_invalid else Cause.CODE_RAISED, detail)
    outcome = RecipientOutcome(
        outcome=Outcome.REJECTED if is_invalid else Outcome.DEFERRED,
        cause=failure.cause,
        failure=replace(failure, help=detail),
    )
    known = _known_of(message)
    try:
        recipients = Recipients(dict.fromkeys(map(str, message.recipients()), outcome))
    except Exception:  # noqa: BLE001 - these may be what could not be read
        recipients = Recipients({})
    if known is not None:
        settled = {
            address: one
            for address, one in known.recipients.items()
            if one.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
        }
        recipients = Recipients({**dict(recipients.items()), **settled})
    report = DeliveryReport(
        recipients=recipients,
        message_id=known.message_id if known is not None else "",
        letter=known.letter if known is not None else "",
    )
    # What is no message at all takes no report.
    with contextlib.suppress(Exception):
        attach_report(message, report)


def _known_of(message: EmailMessage) -> DeliveryReport | None:
    """Return the report of an earlier send of this letter, as far as it can be read."""
    try:
        known = report_of(message)
    except Exception:  # noqa: BLE001 - an attribute of anybody's class
        return None
    try:
        is_another = known is not None and known.letter != letter_digest(message)
    except Exception:  # noqa: BLE001 - its content is what cannot be read now, and may be the same
        return known
    return None if is_another else known
