"""Every `manage.py …` on every page is one that its real parser takes."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from tests.docs.pages import DOCS, ROOT, blocks, pages, prose

_CALL = re.compile(r"manage\.py\s+([^”]+)")
_ENDS = re.compile(r"\s+(?:\|\||&&|\||#|>|2>)\s*.*$")
# Of Django's own, and of other packages, which need no parsing: what they take is not ours.
_DJANGOS = {"tenant_command", "migrate", "check", "shell", "runserver", "createsuperuser", "collectstatic"}
_DEMO = {"demo", "demo_live"}


def lines(page: Path) -> Iterator[str]:
    """What stands behind `manage.py` on a page, in blocks and in the text."""
    for block in blocks(page):
        for line in block.text.splitlines():
            if found := _CALL.search(line):
                text = found[1]
                if block.language in ("yaml", "dockerfile", "python"):
                    continue  # pieces of a list
                yield _ENDS.sub("", text)
    for span in re.findall(r"`([^`]+)`", prose(page).replace("\n", " ")):
        found = _CALL.search(span)
        if found and "…" not in span:
            yield found[1]


_LINES = sorted({(page, line) for page in [*pages(), ROOT / "README.md"] for line in lines(page)})


def strict_parser(name: str) -> argparse.ArgumentParser:
    """A command's own parser, which takes no option that is cut short."""
    parser = load_command_class("reliable_email", name).create_parser("manage.py", name)
    for one in (parser, *subcommands(parser).values()):
        one.allow_abbrev = False
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Its subcommands by name."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(groups[0].choices) if groups else {}


@pytest.mark.parametrize(("page", "line"), _LINES, ids=[f"{page.name}: {line}" for page, line in _LINES])
def test_command_line_is_taken(page: Path, line: str) -> None:
    """Names, options and values."""
    name, *arguments = shlex.split(line)
    if name in _DJANGOS | _DEMO:
        return
    assert name in get_commands(), line
    parser = strict_parser(name)
    if arguments == ["..."]:
        return
    if len(arguments) == 1 and arguments[0] in subcommands(parser):
        return  # the text speaks of the subcommand
    parser.parse_args(arguments)


@pytest.mark.parametrize("line", ["email_outbox show", "email_outbox hold --al", "test_email --too you@example.net"])
def test_a_wrong_line_is_noticed(line: str) -> None:
    """A parser refuses, it does not guess and does not end the process."""
    name, *arguments = shlex.split(line)
    parser = strict_parser(name)
    with pytest.raises(CommandError):
        parser.parse_args(arguments)


def test_there_are_lines() -> None:
    """The pages are found, and their lines in them."""
    assert len(_LINES) > 40
    assert {page.parent for page, _ in _LINES} >= {DOCS, DOCS / "how-to"}
