"""The notice about an act on the page that follows it: the link names its record, so no session is needed."""

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from reliable_email.outbox.operations.operate import Act, undoing
from reliable_email.records import dataclass
from reliable_email.store.questions.acts import ActionStory, action
from reliable_email.templatetags.numbers import thousands
from reliable_email.templatetags.words import ACTS, verb_words
from reliable_email.views.access import ACT, actor_of, may

_PARAMETER = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice about an act.

    Attributes:
        undo: the act that takes it back, and `action` the record of what it takes back; "" where there is none.
        undo_label: on its button.
        url, url_label: where to look next.
    """

    text: str
    undo: str = ""
    undo_label: str = ""
    action: int = 0
    url: str = ""
    url_label: str = ""

    def __str__(self) -> str:
        return self.text


def link(url: str, number: int) -> str:
    """The page, with the number of the act to tell of."""
    return f"{url}{'&' if '?' in url else '?'}{_PARAMETER}={number}"


def notices(request: HttpRequest) -> list[Notice]:
    """The sentence, where the link names a record of whoever asks."""
    name = request.GET.get(_PARAMETER, "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    return [_notice(found, request)] if found is not None and found.actor == actor_of(request) else []


def _notice(found: ActionStory, request: HttpRequest) -> Notice:
    if found.verb == "release_incoming":
        return Notice(text=gettext("New mail is sent again. The act is in the record."))
    if not found.count:
        words = gettext("Nothing was changed: no recipient was in a state for this act any more.")
        if found.verb in (Act.REQUEUE, Act.RESOLVE_RESEND):
            words = gettext(
                "Nothing was changed: no recipient was in a state for this act, or the content was deleted."
            )
        if found.detail.get("by_route"):
            words = gettext(
                "Nothing was changed: no recipient was in a state for this act, the content was deleted, or its mailer "
                "does not send by %(route)s."
            ) % {"route": found.detail["by_route"]}
        return Notice(text=words)
    words = str(ACTS[Act(found.verb)].done) if found.verb in set(Act) else verb_words(found.verb)
    many = ngettext("%(count)s recipient %(done)s", "%(count)s recipients %(done)s", found.count)
    text = many % {"count": thousands(found.count), "done": words}
    if found.detail.get("by_route"):
        text = gettext("%(done)s, by %(route)s alone") % {"done": text, "route": found.detail["by_route"]}
    text = gettext("%(done)s. It is in the record.") % {"done": text}
    undo = undoing(found)
    if undo is not None and may(request, ACT):
        label = gettext("Undo: release them…") if undo[0] is Act.REQUEUE else gettext("Undo: hold them again…")
        held = f"{reverse('reliable_email:messages')}?state=parked&cause=held"
        url, words = (held, gettext("See what is held")) if undo[0] is Act.REQUEUE else ("", "")
        return Notice(text=text, undo=undo[0].value, undo_label=label, action=found.id, url=url, url_label=words)
    if found.verb == Act.CANCEL:
        text += " " + gettext("A cancel has no undo; requeue messages that should be sent after all.")
        url = f"{reverse('reliable_email:messages')}?state=cancelled"
        return Notice(text=text, url=url, url_label=gettext("See what is cancelled"))
    if found.verb in set(Act):
        text += " " + gettext("That has no undo.")
    return Notice(text=text)
