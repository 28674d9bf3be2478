"""Shows the story while it happens: live where there is a terminal and rich, in plain lines elsewhere."""

import importlib.util
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from demo.story import SIGNS, Line, Totals

_NOTE_COLUMNS = 110


class Screen(Protocol):
    """Where the story goes."""

    def live(self, count: int, routes: Sequence[str]) -> AbstractContextManager[Any]:
        """While so many messages are sent by these routes."""

    def say(self, text: str = "") -> None:
        """A sentence."""

    def note(self, text: str) -> None:
        """A remark on what was said before."""

    def warn(self, text: str) -> None:
        """A warning of the package, while messages are sent."""

    def add(self, line: Line) -> None:
        """What became of one message."""

    def totals(self, totals: Totals) -> None:
        """The tables at the end."""

    def verdict(self, text: str, *, is_good: bool) -> None:
        """Whether the servers agree."""


def screen_for(write: Callable[[str], object], *, is_terminal: bool) -> Screen:
    """The richest screen that there can be.

    Args:
        write: takes one line of text.
        is_terminal: whether lines may move.
    """
    if is_terminal and importlib.util.find_spec("rich") is not None:
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_dumb_terminal:
            from demo.rich_screen import RichScreen

            return RichScreen(console)
    return PlainScreen(write)


class PlainScreen:
    """Aligned lines of text without a control character."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def live(self, count: int, routes: Sequence[str]) -> AbstractContextManager[Any]:
        """See `Screen`."""
        return nullcontext()

    def say(self, text: str = "") -> None:
        """See `Screen`."""
        self._write(text)

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._note("", text)

    def warn(self, text: str) -> None:
        """See `Screen`."""
        self._note("!", text)

    def add(self, line: Line) -> None:
        """See `Screen`."""
        self.say(f"{line.number:3}  {line.recipient:<29} {SIGNS[line.outcome]} {line.outcome:<9} {line.way}")
        for hop in line.troubles:
            if hop.said:
                self.note(f"{hop.route} said: {hop.said}")
            self.note(hop.why)

    def totals(self, totals: Totals) -> None:
        """See `Screen`."""
        self.say(f"{'':<10}" + "".join(f"{outcome:>10}" for outcome in SIGNS) + f"{'on its server':>16}")
        for route, held in totals.held.items():
            counts = "".join(f"{totals.by_route[route, outcome]:>10}" for outcome in SIGNS)
            self.say(f"{route:<10}{counts}{held:>16}")
        together = "".join(f"{totals.count(outcome):>10}" for outcome in SIGNS)
        self.say(f"{'together':<10}{together}{sum(totals.held.values()):>16}")
        if totals.troubles:
            self.say()
        for one in totals.troubles:
            numbers = ", ".join(map(str, one.numbers))
            self.say(f"{one.route:<10} {one.cause:<17} no. {numbers:<9} {', '.join(one.ended_as)}")

    def verdict(self, text: str, *, is_good: bool) -> None:
        """See `Screen`."""
        self._note("✓" if is_good else "✗", text)

    def _note(self, sign: str, text: str) -> None:
        lines = textwrap.wrap(text, _NOTE_COLUMNS, break_long_words=False, break_on_hyphens=False)
        for index, line in enumerate(lines):
            self.say(f"{'' if index else sign:>3}  {line}")
