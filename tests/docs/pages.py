"""The pages of docs/: their blocks of code, their headings and their links."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^`\n]*)$")
_TITLE = re.compile(r'title="([^"]*)"')
_HEADING = re.compile(r"^(#{1,6}) +(.*?)(?: +#+)?$")
_LINK = re.compile(r"(?<!\!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*([^()\s]+)\s*\)|!\[[^\]]*\]\(([^()\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file that it is in.
        line: the number of its first line, as editors count.
        language: the first word behind the fence.
        title: what `title="…"` says.
        text: what is inside, with the line end.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.page.relative_to(DOCS)}:{self.line}"


def pages() -> list[Path]:
    """Every page, sorted."""
    return sorted(DOCS.rglob("*.md"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text("utf-8").splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        at += 1
        if opened is None:
            continue
        begin, indent = at, len(opened["indent"])
        while at < len(lines) and lines[at].strip() != opened["fence"]:
            at += 1
        assert at < len(lines), f"{page}:{begin}: a fence is not closed"
        title = _TITLE.search(opened["info"])
        yield Block(
            page=page,
            line=begin + 1,
            language=opened["info"].split()[0] if opened["info"].split() else "",
            title=title[1] if title else "",
            text="".join(f"{line[indent:]}\n" for line in lines[begin:at]),
        )
        at += 1


def prose(page: Path) -> str:
    """The page without its blocks."""
    kept, fence = [], None
    for line in page.read_text("utf-8").splitlines():
        opened = _FENCE.match(line)
        if fence is not None:
            fence = None if line.strip() == fence else fence
        elif opened:
            fence = opened["fence"]
        else:
            kept.append(line)
    return "\n".join(kept)


def anchors(page: Path) -> set[str]:
    """What `#…` may name on a page, as the site and the usual hosts spell it."""
    found: dict[str, int] = {}
    for line in prose(page).splitlines():
        heading = _HEADING.match(line)
        if heading:
            slug = _slug(heading[2])
            found[slug] = found.get(slug, 0) + 1
    return {*found, *(f"{slug}_{number}" for slug, count in found.items() for number in range(1, count))}


def links(page: Path) -> list[str]:
    """The targets of the page's links and images."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    return [one[1] or one[2] for one in _LINK.finditer(text)]


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())
