"""docs/llms.txt: the documentation's contents for programs that read (llmstxt.org), from the pages themselves."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "llms.txt"
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)")


def text() -> str:
    """The file."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    lines = [
        f"# {project['site_name']}",
        "",
        "> A Django app for sites whose email has to go out: it retries, fails over to another provider, queues",
        "> messages in the database, and reports the outcome of every message for every recipient. Import name:",
        "> reliable_email.",
    ]
    for group in project["nav"]:
        ((name, entries),) = group.items()
        lines += ["", f"## {name}", ""]
        lines += [f"- [{title}]({page}): {_first_sentence(page)}" for title, page in _pages(entries)]
    return "\n".join(lines) + "\n"


def _pages(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        yield from entry.items()


def _first_sentence(page: str) -> str:
    """Of the first paragraph, which says for whom the page is."""
    paragraphs = re.split(r"\n{2,}", (ROOT / "docs" / page).read_text("utf-8"))
    words = " ".join(_LINK.sub(r"\1", paragraphs[1]).split())
    return words.partition(". ")[0].removesuffix(".") + "."
