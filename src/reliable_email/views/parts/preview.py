"""A message's HTML made fit to be looked at: no part of it can contact anybody, run anything or fill the memory.

The frame's policy forbids nearly all of that already. What no policy stops (a hint to connect, a link that is clicked)
is taken out here: the HTML is read in one pass and written anew with the elements and attributes that mail needs. Text
and values are escaped on the way out, so that what a browser reads is what was written here. The pass never looks back:
a hostile mail costs time in proportion to its size.
"""

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from html import escape, unescape
from urllib.parse import urlsplit

from django.utils.translation import gettext

from reliable_email.outbox.operations.letters import Attachment, Letter
from reliable_email.patterns import pattern
from reliable_email.records import dataclass, field

MOST_HTML_CHARACTERS = 2_000_000
MOST_IMAGE_BYTES = 5_000_000  # of all images together, each counted as often as it is shown
MOST_LINKS = 200
GMAIL_CLIPS_AT = 102 * 1024

IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words(
    "a abbr address b bdo big blockquote body br caption center cite code col colgroup dd del dfn div dl dt em font h1 "
    "h2 h3 h4 h5 h6 head hr html i img ins kbd li mark ol p pre q s samp small span strike strong style sub sup table "
    "tbody td tfoot th thead tr tt u ul var"
)
_ATTRIBUTES = _words(
    "abbr align alt axis bgcolor border cellpadding cellspacing class clear color cols colspan compact dir face frame "
    "height hspace id lang noshade nowrap role rows rowspan rules scope size span start style summary title type "
    "valign vspace width"
)
# What stands between their tags is no HTML.
_RAW = _words("iframe noembed noframes noscript plaintext script style textarea title xmp")
_VOID = frozenset({"br", "col", "hr", "img"})
_NAME = pattern(r"[a-zA-Z][^\s/>]*")
_ATTRIBUTE = pattern(r"""[\s/]*([^\s=>/"'][^\s=>/]*)?""")
_CONTENT_ID = pattern(r"\s*cid:(.{1,250})\Z", re.IGNORECASE | re.DOTALL)
_ELSEWHERE = pattern(r"\s*https?://", re.IGNORECASE)
_LOADS = pattern(
    r"url\s*\([^)]*\)?|@import[^;]*;?|image-set|cross-fade|(?<![\w-])src\s*\(|expression\s*\(|[\\<]", re.IGNORECASE
)
_LOOPBACK = pattern(r"localhost|.*\.localhost|127(\.\d{1,3}){3}|::1|0\.0\.0\.0")


@dataclass(slots=True)
class Preview:
    """The preview of a message's HTML, with its links and counts.

    Attributes:
        blocked_images: that are somewhere else, and are not loaded.
        dropped_images: of the message's own, for which there was no room.
        links: what is written on each, and where it leads.
        is_cut: there was more HTML than is shown.
    """

    html: str = ""
    blocked_images: int = 0
    dropped_images: int = 0
    links: list[tuple[str, str]] = field(default_factory=list)
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    is_end: bool
    attributes: tuple[tuple[str, str], ...] = ()


def preview(letter: Letter, *, loads_images: bool = False) -> Preview:
    """The HTML of a letter, with its own images put in.

    Args:
        loads_images: leave images in that are somewhere else, so that a browser asks for them.
    """
    text = letter.html or ""
    found = Preview(is_cut=len(text) > MOST_HTML_CHARACTERS)
    _Writer(found, letter.attachments, loads_images=loads_images).write(text[:MOST_HTML_CHARACTERS])
    return found


def warnings(letter: Letter, found: Preview) -> list[str]:
    """Return warnings to read before such a message goes to many."""
    html, names = letter.html, {name.lower() for name, _ in letter.headers}
    said = []
    if html is not None and len(html.encode("utf-8", "replace")) > GMAIL_CLIPS_AT:
        said.append(gettext("Gmail shows the first 102 KB of HTML alone, and hides the rest behind a link."))
    if html is not None and not (letter.text or "").strip():
        said.append(gettext("It has no text part: some mail programs show nothing, and spam filters count that."))
    local = [address for _, address in found.links if _is_local(address)]
    if local:
        words = gettext("%(count)s of its links would lead readers to their own machine, such as %(link)s.")
        said.append(words % {"count": len(local), "link": local[0][:100]})
    if "list-unsubscribe" in names and "list-unsubscribe-post" not in names:
        words = gettext("Its List-Unsubscribe has no List-Unsubscribe-Post: Gmail and Yahoo want one click (RFC 8058).")
        said.append(words)
    if found.dropped_images:
        said.append(gettext("Its own images are larger than this page shows."))
    if found.is_cut:
        said.append(gettext("It is longer than this page shows."))
    return said


def _is_local(address: str) -> bool:
    try:
        host = (urlsplit(address).hostname or "").lower()
    except ValueError:
        return False
    return _LOOPBACK.fullmatch(host) is not None


class _Writer:
    """Writes what may be shown; see the module."""

    def __init__(self, found: Preview, attachments: Collection[Attachment], *, loads_images: bool) -> None:
        self._found = found
        self._loads_images = loads_images
        self._images: Mapping[str, Attachment] = {
            one.content_id: one for one in attachments if one.content_id and one.content_type in IMAGES
        }
        self._room = MOST_IMAGE_BYTES
        self._pieces: list[str] = []
        self._link: list[str] | None = None  # the words on the link that is open

    def write(self, text: str) -> None:
        for piece in _pieces(text):
            if isinstance(piece, str):
                self._pieces.append(escape(piece, quote=False))
                if self._link is not None and sum(map(len, self._link)) < 200:
                    self._link.append(piece)
            elif piece.name == "style" and piece.attributes:
                self._pieces.append(f"<style>{_harmless_css(piece.attributes[0][1])}</style>")
            elif piece.name in _TAGS:
                self._tag(piece)
        self._found.html = "".join(self._pieces)

    def _tag(self, tag: _Tag) -> None:
        if tag.is_end:
            if tag.name == "a":
                self._link = None
            if tag.name not in _VOID:
                self._pieces.append(f"</{tag.name}>")
            return
        kept = [(name, value) for name, value in tag.attributes if name in _ATTRIBUTES or name.startswith("aria-")]
        kept = [(name, _harmless_css(value) if name == "style" else value) for name, value in kept]
        given = dict(reversed(tag.attributes))
        if tag.name == "img":
            kept += self._image(given.get("src", ""))
        elif tag.name == "a" and "href" in given:
            kept += self._linked(given["href"].strip())
        words = "".join(f' {name}="{escape(value)}"' for name, value in kept)
        self._pieces.append(f"<{tag.name}{words}>")

    def _image(self, source: str) -> Iterator[tuple[str, str]]:
        match = _CONTENT_ID.match(source)
        image = self._images.get(match[1].strip()) if match else None
        if image is None and self._loads_images and _ELSEWHERE.match(source):
            yield "src", source.strip()
        elif image is None:
            self._found.blocked_images += bool(source.strip())
        elif image.size > self._room:
            self._found.dropped_images += 1
        else:
            self._room -= image.size
            yield "src", f"data:{image.content_type};base64,{base64.b64encode(image.data).decode('ascii')}"

    def _linked(self, address: str) -> Iterator[tuple[str, str]]:
        """Yield the attributes of a link that shows its target and does nothing when clicked."""
        self._link = []
        if len(self._found.links) < MOST_LINKS:
            self._found.links.append(("", address))
            self._link = _Words(self._found.links)
        yield "title", address[:500]


class _Words(list[str]):
    """The words on a link, told to the list of links as they come."""

    def __init__(self, links: list[tuple[str, str]]) -> None:
        super().__init__()
        self._links = links
        self._number = len(links) - 1

    def append(self, piece: str) -> None:
        super().append(piece)
        words = " ".join("".join(self).split())[:200]
        self._links[self._number] = (words, self._links[self._number][1])


def _harmless_css(text: str) -> str:
    """Return the CSS without what loads; the frame's policy stops what hides from this."""
    return _LOADS.sub(" ", text)  # a space: what stood on both sides must not become one word


def _pieces(text: str) -> Iterator[str | _Tag]:
    """Text with its references resolved, and tags. Comments, declarations and raw text but styles are left out."""
    at = 0
    while at < len(text):
        start = text.find("<", at)
        if start < 0:
            yield unescape(text[at:])
            return
        if start > at:
            yield unescape(text[at:start])
        if text.startswith("<!--", start):
            at = _behind(text, "-->", start + 4)
        elif text.startswith(("<!", "<?"), start):
            at = _behind(text, ">", start + 2)
        else:
            is_end = text.startswith("</", start)
            name = _NAME.match(text, start + 1 + is_end)
            if name is None:
                yield "<"
                at = start + 1
                continue
            tag, at = _read_tag(text, name, is_end=is_end)
            if tag is None:
                return  # a browser shows nothing of a tag that does not end
            if tag.name in _RAW and not is_end:
                end = re.compile(rf"</{tag.name}(?=[\s/>])", re.IGNORECASE).search(text, at)
                if tag.name == "style":
                    yield _Tag("style", is_end=False, attributes=(("", text[at : end.start() if end else len(text)]),))
                at = end.start() if end else len(text)
            elif tag.name != "style":
                yield tag


def _behind(text: str, end: str, at: int) -> int:
    found = text.find(end, at)
    return len(text) if found < 0 else found + len(end)


def _read_tag(text: str, name: "re.Match[str]", *, is_end: bool) -> tuple[_Tag | None, int]:
    at = name.end()
    attributes: list[tuple[str, str]] = []
    while True:
        match = _ATTRIBUTE.match(text, at)
        assert match is not None, "it matches nothing, too"
        at = match.end()
        if at >= len(text):
            return None, at
        if text[at] == ">":
            if match[1]:
                attributes.append((match[1].lower(), ""))
            return _Tag(name[0].lower(), is_end=is_end, attributes=tuple(attributes)), at + 1
        if text[at] == "=" and match[1]:
            value, at = _read_value(text, at + 1)
            if value is None:
                return None, at
            attributes.append((match[1].lower(), unescape(value)))
        elif match[1]:
            attributes.append((match[1].lower(), ""))
        else:
            at += 1  # a stray quote or equals sign


_BLANKS = pattern(r"\s*")
_UNQUOTED = pattern(r"[^\s>]*")


def _read_value(text: str, at: int) -> tuple[str | None, int]:
    blanks = _BLANKS.match(text, at)
    at = blanks.end() if blanks else at
    quote = text[at : at + 1]
    if quote and quote in "\"'":
        end = text.find(quote, at + 1)
        return (None, len(text)) if end < 0 else (text[at + 1 : end], end + 1)
    match = _UNQUOTED.match(text, at)
    assert match is not None, "it matches nothing, too"
    return match[0], match.end()
