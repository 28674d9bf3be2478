"""The pages hang together: as Markdown, and as the site that is made of them."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, links, pages


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


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="zensical is not installed (group docs)")
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """Fonts, scripts and pictures are the site's own; what would fetch a script (diagrams) is not used."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
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
