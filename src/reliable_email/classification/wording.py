"""An outcome in words, as errors and printed reports have it."""

from reliable_email.classification import Cause, Failure
from reliable_email.smtp.syntax.replies import Reply
from reliable_email.values import printable


def outcome_text(
    outcome: str, route: str | None, failure: Failure | None, cause: Cause | None, reply: Reply | None
) -> str:
    """Return what became of a recipient, by which route, and why."""
    by = f"{outcome} by {route}" if route else outcome
    if failure is not None:
        return f"{by}, {failure_text(failure)}"
    words = [str(cause) if cause else "", f'"{reply}"' if reply else ""]
    return printable(by + "".join(f", {word}" for word in words if word))


def failure_text(failure: Failure) -> str:
    """Return a failure's cause and stage, and what the server said."""
    stage = f" at {failure.stage}" if failure.stage is not None else ""
    said = f'"{failure.reply}"' if failure.reply is not None else failure.detail
    return printable(f"{failure.cause}{stage}" + (f": {said}" if said else ""))
