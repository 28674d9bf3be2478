"""The content of a message, for those who may read it. Each answer of this module is recorded as a reading.

Content is a stranger's: it runs no script, sends no form and loads nothing, wherever it is opened. HTML is written
anew (`views.parts.preview`) and answered by an address of its own, in a frame without any rights and under a policy
that allows nothing but inline styles and the message's own images; everything else is a download that no browser
interprets.
"""

import re
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_safe

from reliable_email.outbox.keyring import KeyMissing, configured_keyring
from reliable_email.outbox.operations.letters import Letter, read_letter
from reliable_email.outbox.rows.loading import ContentGone
from reliable_email.values import printable
from reliable_email.views.access import READ_CONTENT, actor_of, requires
from reliable_email.views.page import show
from reliable_email.views.pages.message import missing
from reliable_email.views.parts.preview import preview, warnings

FRAME_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
# Asked for by a form, for one view: whoever sends the mail learns that somebody looks.
_IMAGES_POLICY: Final = FRAME_POLICY.replace("img-src data:", "img-src data: https: http:")
_NOTHING_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"


@require_safe
@requires(READ_CONTENT)
def content(request: HttpRequest, number: int) -> HttpResponse:
    """Headers, text, the frame for HTML, and what is attached."""
    letter = _read(request, number, "content")
    if isinstance(letter, HttpResponse):
        return letter
    found = preview(letter)
    return show(
        request,
        "reliable_email/content.html",
        {
            "number": number,
            "preview": found,
            "links": [(printable(words), printable(address)) for words, address in found.links],
            "warnings": warnings(letter, found),
            "is_narrow": request.GET.get("width") == "phone",
            "headers": [(name, printable(value)) for name, value in letter.headers],
            "text": letter.text,
            "has_html": letter.html is not None,
            "attachments": letter.attachments,
            "size": len(letter.source),
            "refresh_seconds": 0,  # each refresh would be a reading
        },
        section="messages",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(READ_CONTENT)
def html(request: HttpRequest, number: int) -> HttpResponse:
    """The HTML alone, for the frame; by POST, which no link of a stranger's can make, with images from elsewhere."""
    loads_images = request.method == "POST"
    letter = _read(request, number, "html with images from elsewhere" if loads_images else "html")
    if isinstance(letter, HttpResponse):
        return letter
    found = preview(letter, loads_images=loads_images)
    response = HttpResponse(found.html, content_type="text/html; charset=utf-8")
    response["X-Frame-Options"] = "SAMEORIGIN"
    return _harmless(response, _IMAGES_POLICY if loads_images else FRAME_POLICY)


@require_safe
@requires(READ_CONTENT)
def source(request: HttpRequest, number: int) -> HttpResponse:
    """The bytes as text, as they go after DATA."""
    letter = _read(request, number, "source")
    if isinstance(letter, HttpResponse):
        return letter
    return _harmless(HttpResponse(letter.source, content_type="text/plain; charset=utf-8"), _NOTHING_POLICY)


@require_safe
@requires(READ_CONTENT)
def attachment(request: HttpRequest, number: int, part: int) -> HttpResponse:
    """One attachment, as bytes to be saved."""
    letter = _read(request, number, f"attachment {part}")
    if isinstance(letter, HttpResponse):
        return letter
    found = next((one for one in letter.attachments if one.number == part), None)
    if found is None:
        return missing(request, number)
    response = HttpResponse(found.data, content_type="application/octet-stream")
    # The name is a stranger's too: no path, nothing that turns or hides letters.
    name = re.sub(r"[\\/:*?\"<>|\x00-\x1f]", "_", printable(found.name)).strip(". ")[:150] or "attachment"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return _harmless(response, _NOTHING_POLICY)


def _read(request: HttpRequest, number: int, part: str) -> Letter | HttpResponse:
    """The letter, or the page that says why there is none."""
    try:
        letter = read_letter(number, part=part, actor=actor_of(request), keyring=configured_keyring())
    except ContentGone:
        return show(
            request,
            "reliable_email/no_content.html",
            {"number": number, "is_gone": True},
            section="messages",
            status=410,
        )
    except KeyMissing as error:
        return show(
            request,
            "reliable_email/no_content.html",
            {"number": number, "trouble": str(error)},
            section="messages",
            status=409,
        )
    return letter if letter is not None else missing(request, number)


def _harmless(response: HttpResponse, policy: str) -> HttpResponse:
    response["Content-Security-Policy"] = policy
    response["X-DNS-Prefetch-Control"] = "off"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store, private"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
