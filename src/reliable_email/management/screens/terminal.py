"""The choice of a screen: a terminal on which lines may move, or a file that takes lines without control codes."""

import importlib.util
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import OutputWrapper

if TYPE_CHECKING:
    from rich.console import Console


def add_plain_option(parser: ArgumentParser) -> None:
    """`--plain`, for every command that can do better."""
    parser.add_argument("--plain", action="store_true", help="print plain lines even in a terminal")


def live_console(stdout: OutputWrapper, options: Mapping[str, Any]) -> "Console | None":
    """The console for a live view; None where only plain lines will do.

    That is: where stdout is no terminal (or one that cannot move its cursor), rich is missing (extra `[cli]`), or
    `--plain` or `--json` asks for it. `NO_COLOR` and `--no-color` take the colours and leave the rest.
    """
    if options.get("plain") or options.get("json") or not stdout.isatty():
        return None
    if importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    # rich reads NO_COLOR itself where it is told nothing.
    console = Console(highlight=False, markup=False, emoji=False, no_color=True if options.get("no_color") else None)
    return None if console.is_dumb_terminal else console


@contextmanager
def logs_above() -> Iterator[None]:
    """Let what is logged to the terminal meanwhile appear above a live view, not in the middle of it.

    rich puts itself in the place of `sys.stderr`; handlers that were made earlier hold the terminal itself.
    """
    moved = []
    for handler in _handlers():
        stream = getattr(handler, "stream", None)
        if stream in (sys.__stderr__, sys.__stdout__) and stream is not None and stream.isatty():
            moved.append((handler, stream))
            handler.setStream(sys.stderr if stream is sys.__stderr__ else sys.stdout)
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)


def _handlers() -> "set[logging.StreamHandler[Any]]":
    known = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    found = [handler for one in known if isinstance(one, logging.Logger) for handler in one.handlers]
    return {handler for handler in found if isinstance(handler, logging.StreamHandler)}
