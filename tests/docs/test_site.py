"""The pages hang together: as Markdown, and as the site that is made of them."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.conftest import build_site
from tests.docs.pages import DOCS, ROOT, anchors, blocks, links, pages
from tools.reference import llms, pictures

# "For operators who …", "This page is for …"
_FOR_WHOM = re.compile(
    r"(?:This \w+ is for|For) (?:\w+ ){0,4}?(?:\w*one|who\w*|those|sites?|developers|operators|readers|con)"
)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files of the documentation alone, since the site has no others; and an anchor is a heading of its page."""
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_relative_to(DOCS), f"{target} is not in docs/"
        assert file.is_file(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"


def test_every_page_is_in_the_contents() -> None:
    """And each once."""
    listed = re.findall(r'"([^"]+\.md)"', (ROOT / "zensical.toml").read_text("utf-8").partition("[project.theme]")[0])
    assert sorted(listed) == [str(page.relative_to(DOCS)) for page in pages()]
    start = (DOCS / "index.md").resolve()
    reached = {(start.parent / target.partition("#")[0]).resolve() for target in links(start)} | {start}
    assert reached == {page.resolve() for page in pages()}, "the first page names every other"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_first_paragraph_says_for_whom_the_page_is(page: Path) -> None:
    """So that somebody else can leave at once."""
    heading, first, *_ = page.read_text("utf-8").split("\n\n")
    assert heading.startswith("# ")
    assert _FOR_WHOM.match(" ".join(first.split())), first


def test_every_explanation_has_a_picture_that_is_readable_in_light_and_dark() -> None:
    """Of its own: a drawing in the folder."""
    contents = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    (explanations,) = [group["Explanation"] for group in contents if "Explanation" in group]
    for page in (DOCS / name for entry in explanations for name in entry.values()):
        drawn = [page.parent / target for target in links(page) if target.endswith(".svg")]
        assert drawn, f"{page.name} has no picture"
        for file in drawn:
            assert "prefers-color-scheme: dark" in file.read_text("utf-8")


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_picture_is_what_the_code_would_draw(name: str) -> None:
    """`make docs` draws it anew."""
    assert (pictures.FOLDER / name).read_text("utf-8") == pictures.PICTURES[name]()


def test_contents_for_programs_are_those_of_the_pages() -> None:
    """Each page once, with its first sentence; `make docs` writes it anew."""
    text = llms.FILE.read_text("utf-8")
    assert text == llms.text()
    named = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): .{15,}", text, re.MULTILINE)
    assert sorted(named) == [str(page.relative_to(DOCS)) for page in pages()]


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="zensical is not installed (group docs)")
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """Fonts, scripts and pictures are the site's own; what would fetch a script (diagrams) is not used."""
    said = build_site(tmp_path)
    assert "warning" not in said.lower()
    built = sorted((tmp_path / "var" / "site").rglob("*.html"))
    assert len(built) == len(pages()) + 1  # 404.html
    for page in built:
        html = page.read_text("utf-8")
        fetched = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="([a-z]+:|//)[^"]*"', html)
        assert not fetched, f"{page.name}: {fetched}"
        assert 'class="mermaid"' not in html
        assert "glightbox" not in html
        shown = re.sub(r"<pre.*?</pre>|<script.*?</script>", "", html, flags=re.DOTALL)
        assert not re.search(r"^(?:\d+\.|-) \w", shown, re.MULTILINE), f"{page.name}: a list became text"
        source = DOCS / page.relative_to(tmp_path / "var" / "site").with_suffix(".md")
        if source.is_file():
            fences = sum(1 for _ in blocks(source))
            assert html.count("<pre>") == fences, f"{page.name}: a paragraph became code, or code became a paragraph"
