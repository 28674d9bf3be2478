"""The words for acts and closed sets, for people; lazily translated, since each reader has a language."""

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from reliable_email.outbox.operations.operate import Act
from reliable_email.records import dataclass

if TYPE_CHECKING:
    from django.utils.functional import Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class ActWords:
    """One act.

    Attributes:
        label: on a button.
        done: what was done, after "3 recipients".
        meaning: what happens, and what that implies.
        is_grave: whether it cannot be taken back, or may make a second copy.
    """

    label: "str | Promise"
    done: "str | Promise"
    meaning: "str | Promise"
    is_grave: bool = False


# States, outcomes, priorities and verdicts. Causes and stages are names, as logs, metrics and filters have them.
WORDS: Final = {
    "queued": _("queued"),
    "claimed": _("claimed"),
    "authorized": _("authorized"),
    "unknown": _("unknown"),
    "parked": _("parked"),
    "accepted": _("accepted"),
    "rejected": _("rejected"),
    "expired": _("expired"),
    "cancelled": _("cancelled"),
    "deferred": _("deferred"),
    "high": _("high"),
    "normal": _("normal"),
    "bulk": _("bulk"),
    "healthy": _("healthy"),
    "degraded": _("degraded"),
    "unhealthy": _("unhealthy"),
    "not known": _("not known"),
    "hold": _("hold"),
    "resend": _("resend"),
    "running": _("running"),
    "stopping": _("stopping"),
    "stopped": _("stopped"),
    "silent": _("silent"),
    "lost": _("lost"),
    "messages": _("messages"),
    "recipients": _("recipients"),
    "in use": _("in use"),
    "closed": _("closed"),
    "on trial": _("on trial"),
    "paused": _("paused"),
    "slowed down": _("slowed down"),
    "used up": _("used up"),
    "cannot be built": _("cannot be built"),
}
VERBS: Final = {
    "requeue": _("requeue"),
    "cancel": _("cancel"),
    "hold": _("hold"),
    "resolve_accepted": _("resolve: it arrived"),
    "resolve_rejected": _("resolve: it did not arrive"),
    "resolve_resend": _("resolve: send again"),
    "hold_incoming": _("hold new mail"),
    "release_incoming": _("release new mail"),
    "read_content": _("read the content"),
    "suppress": _("suppress"),
    "unsuppress": _("take off the suppression list"),
    "change_suppression": _("change a suppression"),
    "pause_route": _("pause the route"),
    "resume_route": _("resume the route"),
    "probe_route": _("probe the route"),
    "erase": _("erase a person"),
    "export": _("export a person"),
}


SAY_WHY: Final = _("Give a reason: the record keeps it for your colleagues.")


def verb_words(verb: str) -> str:
    """Return the words for an act in the record."""
    return str(VERBS.get(verb, verb.replace("_", " ")))


ACTS: Final = {
    Act.REQUEUE: ActWords(
        label=_("Requeue"),
        done=_("put back into the queue"),
        meaning=_(
            "What is parked, rejected, expired or cancelled is sent again, as if it were new: routes that refused it "
            "are asked again, and its time to live begins anew. What a server has taken is never sent a second time."
        ),
    ),
    Act.CANCEL: ActWords(
        label=_("Cancel"),
        done=_("cancelled"),
        meaning=_(
            "Waiting recipients get nothing. You can requeue them while the content is kept. If a server may have "
            "taken the message already, the recipient stays unknown and gets no second copy."
        ),
        is_grave=True,
    ),
    Act.HOLD: ActWords(
        label=_("Hold"),
        done=_("held"),
        meaning=_("Waiting recipients are parked until you requeue them."),
    ),
    Act.RESOLVE_ACCEPTED: ActWords(
        label=_("It arrived"),
        done=_("resolved as accepted"),
        meaning=_(
            "You have found the message in the recipient's mailbox or in the provider's log. The recipient counts as "
            "accepted, and nothing more is sent."
        ),
    ),
    Act.RESOLVE_REJECTED: ActWords(
        label=_("It did not arrive"),
        done=_("resolved as rejected"),
        meaning=_(
            "You know that it did not arrive. The recipient counts as rejected, and nothing more is sent unless "
            "you requeue it."
        ),
    ),
    Act.RESOLVE_RESEND: ActWords(
        label=_("Send again"),
        done=_("to be sent again"),
        meaning=_(
            "The same message, with the same Message-ID, is sent again by the same route. If the first copy did "
            "arrive, the recipient gets a second one, which some mailboxes recognise and drop."
        ),
        is_grave=True,
    ),
}
