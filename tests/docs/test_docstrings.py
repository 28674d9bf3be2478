"""The first sentence of a docstring stands alone. `python -m tests.docs.test_docstrings` lists those that do not."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT

SOURCE = ROOT / "src" / "reliable_email"

# Lower it when you have rewritten some; never raise it.
CEILING = 0

_RELATIVE = re.compile(
    r"(?:What|Whatever|Whether|Who|Whoever|Whom|Whose|Where|Wherever|Which|How|That|If|When|Why|See|So|As|Since)\b|"
    r"(?:It|Its|They|Their|Those|These|Such|Both|Nothing|Something|For|By|At|From|In|Of|To|With|Without|Within|After)\b|"
    r".*\b(?:[Ss]ome|[Nn]o|[Aa]ny)body\b",
    re.DOTALL,
)


class First(NamedTuple):
    """A first sentence, and its place."""

    path: Path
    line: int
    text: str


def first_sentences() -> Iterator[First]:
    """Every docstring of the package, cut behind its first sentence."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    sentence = re.split(r"(?<=[.;:]) |\n\n", text, maxsplit=1)[0]
                    yield First(path, getattr(node, "lineno", 1), sentence)


def relative() -> list[First]:
    """Those that begin with a relative word, or speak of somebody or nobody."""
    return [one for one in first_sentences() if _RELATIVE.match(one.text)]


def test_no_more_first_sentences_hang_in_the_air() -> None:
    """A first sentence is an imperative, or a noun phrase that stands alone; the ceiling only goes down."""
    found = relative()
    shown = "\n".join(f"{one.path.relative_to(ROOT)}:{one.line}: {one.text}" for one in found)
    assert len(found) <= CEILING, f"{len(found)} > {CEILING}; say what it does or is, in place of a clause:\n{shown}"


if __name__ == "__main__":
    for place in relative():
        print(f"{place.path.relative_to(ROOT)}:{place.line}: {place.text}")  # noqa: T201 - a list for people
    rooms = Counter(place.path.relative_to(SOURCE).parts[0] for place in relative())
    print(sum(rooms.values()), "of", len(list(first_sentences())), dict(rooms.most_common()))  # noqa: T201
