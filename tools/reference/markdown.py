"""Tables and docstrings as Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell is escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|').strip() or ' ' for cell in row)} |" for row in rows]
    return re.sub(r" +\|", " |", "\n".join(lines)) + "\n"


def code(value: object) -> str:
    """A value as code; "–" for nothing."""
    return "–" if value is None or value == "" else f"`{value}`"


def span(seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}{'s' * (seconds != size)}"
    return f"{seconds:g} second{'s' * (seconds != 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Docstring:
    """A docstring in its parts.

    Attributes:
        text: what stands before the sections.
        attributes: the section "Attributes:" or "Args:", by name.
        raises: the section "Raises:".
    """

    text: str
    attributes: dict[str, str]
    raises: dict[str, str]


def docstring(thing: object) -> Docstring:
    """The parts of a thing's docstring."""
    words = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    text, *sections = re.split(r"^(Attributes|Args|Raises|Returns):\n", words, flags=re.MULTILINE)
    parts = dict(zip(sections[::2], sections[1::2], strict=True))
    return Docstring(
        text=text.strip(),
        attributes=_entries(parts.get("Attributes", parts.get("Args", ""))),
        raises=_entries(parts.get("Raises", "")),
    )


def docstring_table(module: object) -> str:
    """The table in a module's docstring."""
    rows = [line for line in inspect.cleandoc(getattr(module, "__doc__", None) or "").splitlines() if line[:1] == "|"]
    assert rows, f"{module!r} has no table"
    return "\n".join(re.sub(r"<(?=\w)", "&lt;", row) for row in rows) + "\n"


def _entries(section: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(section).splitlines():
        begin = re.match(r"(\S[^:]*): ?(.*)", line)
        if begin and not line.startswith(" "):
            name = begin[1]
            found[name] = begin[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found
