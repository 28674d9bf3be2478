"""Evidence in words: a state's badge, a cause's meaning and remedy, an address as it may be shown."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reliable_email import conf
from reliable_email.classification import Cause, classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery.telling.consequences import package_steps, typical
from reliable_email.monitoring.sentences import Sentences
from reliable_email.records import dataclass
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import ReplyError, parse_reply
from reliable_email.store.tables.states import State
from reliable_email.values import masked, printable

# For causes that no server gives: what the outbox and people write.
_OWN = {
    "cancelled": (_("An operator cancelled it."), _("Requeue it if it should be sent after all.")),
    "held": (_("An operator held it."), _("Requeue it when mail may go out again.")),
    "resolved": (_("An operator recorded its outcome."), ""),
    "misconfigured": (_("Its mailer cannot be used as it is configured; the message waits."), _("Mend the setting.")),
    "no_such_mailer": (
        _("The settings have no mailer of this name any more."),
        _("Restore the mailer, then requeue it; or queue the message again by another mailer."),
    ),
    "key_missing": (
        _("Its content is encrypted with a key that is not here."),
        _("Put the key back into RELIABLE_EMAIL['ENCRYPTION_KEYS'], then requeue it."),
    ),
    "content_gone": (_("Its content was pruned before it was sent."), _("Let the site create the message again.")),
    "poison": (
        _("Several workers died while they were sending it."),
        _("Look at the workers' logs before you requeue it."),
    ),
}
_STAGES = frozenset(one.value for one in Stage)
_BADGES = {
    State.ACCEPTED.value: "good",
    State.REJECTED.value: "bad",
    State.EXPIRED.value: "bad",
    State.UNKNOWN.value: "warn",
    State.PARKED.value: "warn",
}
STATE_WORDS = {
    State.QUEUED: _("waits until it is due"),
    State.CLAIMED: _("a worker has it and has not sent it yet"),
    State.AUTHORIZED: _("a worker is sending it"),
    State.UNKNOWN: _("a server may have taken it; no reply was read"),
    State.PARKED: _("waits for a person"),
    State.ACCEPTED: _("a server has taken it"),
    State.REJECTED: _("refused for good"),
    State.EXPIRED: _("not delivered before it expired"),
    State.CANCELLED: _("cancelled by a person"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The meaning of a failure and its remedy; empty if there is nothing to say.

    Attributes:
        happens: what the package does by itself, where a person has nothing to do.
    """

    meaning: str = ""
    remedy: str = ""
    happens: str = ""


def explained(cause: str, stage: str = "", reply: str = "", *, provider: str | None = None) -> Explained:
    """The meaning of a stored cause; the rule that knows the server's words has the first say on the remedy.

    Args:
        provider: whose server said it; None where that is not known, and any provider's words count.
    """
    if not cause:
        return Explained()
    if cause in _OWN:
        return Explained(meaning=str(_OWN[cause][0]), remedy=str(_OWN[cause][1]))
    try:
        known = Cause(cause)
    except ValueError:  # a row of another version
        return Explained()
    meaning = MEANINGS[known]
    remedy = _advice(known, stage, reply, provider) or meaning.person
    if known is Cause.OUTCOME_UNKNOWN:
        remedy = gettext("Look whether it arrived, then resolve it.")
    happens = "" if remedy else Sentences(*package_steps(typical(known)))
    return Explained(meaning=meaning.says, remedy=remedy, happens=happens)


def _advice(cause: Cause, stage: str, reply: str, provider: str | None) -> str:
    """Return the advice of the rule for this reply, if it says more than the cause."""
    try:
        read = parse_reply(reply)
    except ReplyError:
        return ""
    if not read.is_refusal:
        return ""
    found = classify(read, stage=Stage(stage) if stage in _STAGES else None, provider=provider)
    general = f"{MEANINGS[cause].says} {MEANINGS[cause].person}".strip()
    return found.help if found.cause is cause and found.help != general else ""


def badge(state: str) -> str:
    """The class of the badge of a state, or of an attempt's outcome: `good`, `warn`, `bad` or ""."""
    return _BADGES.get(state, "")


def shown_address(address: str) -> str:
    """An address, masked where the site wants that, without characters that hide others."""
    safe = printable(address)
    return masked(safe) if conf.get().mask_addresses and safe else safe
