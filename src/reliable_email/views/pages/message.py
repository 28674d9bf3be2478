"""One message: where it stands for each recipient, and everything that was said on the way."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from reliable_email.outbox.keyring import Keyring, configured_keyring
from reliable_email.outbox.operations.letters import READ, open_or_say, open_reply
from reliable_email.outbox.operations.operate import Act
from reliable_email.store.questions.acts import actions_about
from reliable_email.store.questions.stories import AttemptStory, MessageStory, RecipientStory, story
from reliable_email.store.tables.states import State
from reliable_email.templatetags.details import in_own_words
from reliable_email.templatetags.words import ACTS
from reliable_email.values import printable
from reliable_email.views.access import VIEW, requires
from reliable_email.views.done import notices
from reliable_email.views.page import show
from reliable_email.views.parts.branches import branches
from reliable_email.views.parts.evidence import STATE_WORDS, badge, explained, shown_address

# Of a message to thousands, so many recipients stand on the page; the list has all.
SHOWN = 100


@require_safe
@requires(VIEW)
def message(request: HttpRequest, number: int) -> HttpResponse:
    """The message's page; its content has pages of its own."""
    found = story(number)
    if found is None:
        return missing(request, number)
    keyring = configured_keyring()
    # What was accepted needs nobody, so that it is left out first.
    urgent = sorted(found.recipients, key=lambda one: one.state == State.ACCEPTED)
    recipients = [_recipient(one, found, keyring) for one in urgent[:SHOWN]]
    return show(
        request,
        "reliable_email/message.html",
        {
            "story": found,
            "subject": printable(open_or_say(found.subject, found.encryption_key, keyring)) or gettext("(no subject)"),
            "sender": shown_address(found.sender),
            "recipients": recipients,
            "recipient_count": len(found.recipients),
            "more_recipients": len(found.recipients) - len(recipients),
            "attempts": [_attempt(one, found, keyring) for one in found.attempts],
            "branches": branches(found),
            "acts": [(act.value, ACTS[act]) for act in Act if _fits_several(act, found)],
            "has_key": not found.encryption_key or found.encryption_key in keyring.fingerprints,
            "acts_about": [one for one in actions_about(number) if one.count or one.verb == READ],
            "notices": notices(request),
        },
        section="messages",
    )


def missing(request: HttpRequest, number: int) -> HttpResponse:
    """Say that the message does not exist, or was pruned."""
    return show(request, "reliable_email/no_message.html", {"number": number}, section="messages", status=404)


def _recipient(one: RecipientStory, found: MessageStory, keyring: Keyring) -> dict[str, Any]:
    reply = open_reply(one.reply, found.encryption_key, keyring)
    state = State(one.state)
    return {
        "id": one.id,
        "address": shown_address(one.address),
        "state": state.value,
        "state_words": STATE_WORDS[state],
        "badge": badge(one.state),
        "route": one.route,
        "stage": one.stage,
        "cause": one.cause,
        "said": printable(reply or in_own_words(one.detail)),
        "explained": explained(one.cause, one.stage, reply),
        "attempts": one.attempts,
        "due_at": one.due_at,
        "gives_up_at": one.gives_up_at if state in (State.QUEUED, State.CLAIMED) else None,
        "settled_at": one.settled_at,
        "pinned_route": one.pinned_route if one.pinned_route and state is not State.ACCEPTED else "",
        "claimed_by": one.claimed_by if state.is_in_hand else "",
        "provider_message_id": printable(one.provider_message_id),
        "acts": [(act.value, ACTS[act]) for act in Act if _fits(act, one, found)],
        "needs_choice": state is State.UNKNOWN,
    }


def _fits(act: Act, one: RecipientStory, found: MessageStory) -> bool:
    """Return whether the act is worth a button: it changes the row, and does so for a reason."""
    if one.state not in act.states:
        return False
    if act in (Act.CANCEL, Act.HOLD) and one.state == State.UNKNOWN:
        return one.due_at is not None  # there is a resend to stop
    return found.has_content or act not in (Act.REQUEUE, Act.RESOLVE_RESEND)


def _fits_several(act: Act, found: MessageStory) -> bool:
    """Return whether a button for all of them is worth more than the one of the only recipient."""
    return len(found.recipients) > 1 and any(_fits(act, one, found) for one in found.recipients)


def _attempt(one: AttemptStory, found: MessageStory, keyring: Keyring) -> dict[str, Any]:
    reply = open_reply(one.reply, found.encryption_key, keyring)
    return {
        "id": one.id,
        "finished_at": one.finished_at,
        "route": one.route,
        "peer": one.peer,
        "worker": one.worker,
        "stage": one.stage,
        "seconds": one.seconds,
        "cause": one.cause,
        "said": printable(reply or in_own_words(one.detail)),
        "detail": printable(in_own_words(one.detail)) if reply and one.detail and one.detail not in reply else "",
        "explained": explained(one.cause, one.stage, reply),
        "outcomes": [
            {"address": shown_address(address), "outcome": outcome, "badge": badge(outcome)}
            for address, outcome in list(one.outcomes.items())[:SHOWN]
        ],
        "more_outcomes": max(0, len(one.outcomes) - SHOWN),
        "dialogue": open_or_say(one.dialogue, found.encryption_key, keyring).splitlines(),
    }
