"""What an act has done, told on the page that comes after it: the link names its record, so no session is needed."""

from django.http import HttpRequest

from reliable_email.outbox.operate import Act
from reliable_email.store.queries import ActionStory, action
from reliable_email.views.access import actor_of
from reliable_email.views.words import ACTS

_PARAMETER = "done"


def link(url: str, number: int) -> str:
    """The page, with the number of the act to tell of."""
    return f"{url}{'&' if '?' in url else '?'}{_PARAMETER}={number}"


def notices(request: HttpRequest) -> list[str]:
    """The sentence, where the link names a record of whoever asks."""
    name = request.GET.get(_PARAMETER, "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    return [_sentence(found)] if found is not None and found.actor == actor_of(request) else []


def _sentence(found: ActionStory) -> str:
    words = next((ACTS[act].done for act in Act if act.value == found.verb), found.verb.replace("_", " "))
    many = f"{found.count:,} recipient{'' if found.count == 1 else 's'}"
    route = f", by {found.detail['by_route']} alone" if found.detail.get("by_route") else ""
    if not found.count:
        return "Nothing was changed: meanwhile there was nothing left of which that could be done."
    return f"{many} {words}{route}. It is in the record."
