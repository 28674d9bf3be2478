"""The list of recipients: search, narrow, and choose what to act on."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from reliable_email.outbox.keyring import Keyring, configured_keyring
from reliable_email.outbox.operations.letters import open_or_say, open_reply
from reliable_email.outbox.operations.operate import Act
from reliable_email.store.questions.search import Field, Line, Page, search
from reliable_email.store.tables.states import State
from reliable_email.templatetags.details import in_own_words
from reliable_email.templatetags.languages import in_language
from reliable_email.templatetags.words import ACTS
from reliable_email.values import printable
from reliable_email.views.access import VIEW, requires
from reliable_email.views.done import notices
from reliable_email.views.holding import holds
from reliable_email.views.narrowing import LABELS, WRITTEN, Narrowing, choices, of_misread, read
from reliable_email.views.page import show
from reliable_email.views.parts.evidence import badge, shown_address


@require_safe
@requires(VIEW)
def messages(request: HttpRequest) -> HttpResponse:
    """The newest recipients that match, a page at a time."""
    narrowing = read(request.GET)
    page = search(narrowing.search)
    keyring = configured_keyring()
    offered = choices(narrowing)
    return show(
        request,
        "reliable_email/messages.html",
        {
            "lines": [_shown(line, keyring) for line in page.lines],
            "page": page,
            "notices": notices(request),
            "query": narrowing.query,
            "pairs": narrowing.pairs,
            "text": narrowing.values["q"],
            "fields": [
                {"name": name, "label": label, "choices": offered[name], "value": narrowing.values[name]}
                for name, label in LABELS
            ],
            "written": [
                (name, label, value) for name, label in WRITTEN if (value := narrowing.values[name]) or name == "sender"
            ],
            "is_written": any(narrowing.values[name] for name, _ in WRITTEN),
            "holds": holds(),
            "acts": [(act.value, ACTS[act].label) for act in Act],
            "is_first": narrowing.search.before is None,
            "is_narrowed": bool(narrowing.pairs),
            "remark": _remark(narrowing, page, keyring),
        },
        section="messages",
    )


def _shown(line: Line, keyring: Keyring) -> dict[str, Any]:
    reply = open_reply(line.reply, line.encryption_key, keyring)
    return {
        "id": line.id,
        "message": line.message,
        "address": shown_address(line.address),
        "subject": printable(open_or_say(line.subject, line.encryption_key, keyring)) or gettext("(no subject)"),
        "state": line.state,
        "badge": badge(line.state),
        "cause": in_language(line.cause.replace("_", " ")),
        "route": line.route,
        "said": printable(reply or in_own_words(line.detail)),
        "created_at": line.created_at,
        "due_at": line.due_at if line.state in (State.QUEUED, State.UNKNOWN) else None,
    }


def _remark(narrowing: Narrowing, page: Page, keyring: Keyring) -> str:
    """Return a remark that helps to read the list."""
    if narrowing.misread:
        return of_misread(narrowing)
    text = narrowing.search.text.strip()
    if page.field is Field.RECIPIENT and narrowing.search.field is Field.ANYTHING and "@" not in text:
        words = gettext("“%(text)s” was taken for a part of an address. For subjects choose “subject” beside it.")
        return words % {"text": printable(text)}
    if narrowing.search.text and page.field is Field.SUBJECT:
        looked = gettext("Subjects are searched among the newest messages, page by page.")
        if keyring.fingerprints:
            sealed = gettext("Subjects that are stored encrypted, as this site's new ones are, cannot be searched.")
            return f"{looked} {sealed}"
        return looked
    return ""
