"""The words for each act and its effect, for those who are about to do it."""

from dataclasses import dataclass
from typing import Final

from reliable_email.outbox.operations.operate import Act


@dataclass(frozen=True, slots=True, kw_only=True)
class ActWords:
    """One act.

    Attributes:
        label: on a button.
        done: what was done, after "3 recipients".
        meaning: what happens, and what that implies.
        is_grave: whether it cannot be taken back, or may make a second copy.
    """

    label: str
    done: str
    meaning: str
    is_grave: bool = False


def verb_words(verb: str) -> str:
    """Return the words for an act that is not on recipients."""
    return verb.replace("_", " ")


ACTS: Final = {
    Act.REQUEUE: ActWords(
        label="Requeue",
        done="put back into the queue",
        meaning="What is parked, rejected, expired or cancelled is sent again, as if it were new: routes that refused "
        "it are asked again, and its time to live begins anew. What a server has taken is never sent a second time.",
    ),
    Act.CANCEL: ActWords(
        label="Cancel",
        done="cancelled",
        meaning="What waits is not sent. A requeue takes that back while the content is kept. What a server may have "
        "taken already stays unknown, and is only not sent again.",
        is_grave=True,
    ),
    Act.HOLD: ActWords(
        label="Hold",
        done="held",
        meaning="Waiting recipients are parked until you requeue them.",
    ),
    Act.RESOLVE_ACCEPTED: ActWords(
        label="It arrived",
        done="resolved as accepted",
        meaning="You have found the message in the recipient's mailbox or in the provider's log. The recipient counts "
        "as accepted, and nothing more is sent.",
    ),
    Act.RESOLVE_REJECTED: ActWords(
        label="It did not arrive",
        done="resolved as rejected",
        meaning="You know that it did not arrive. The recipient counts as rejected, and nothing more is sent unless "
        "somebody requeues it.",
    ),
    Act.RESOLVE_RESEND: ActWords(
        label="Send again",
        done="to be sent again",
        meaning="The same message, with the same Message-ID, is sent again by the same route. If the first copy did "
        "arrive, the recipient gets a second one, which some mailboxes recognise and drop.",
        is_grave=True,
    ),
}
