"""Shows the story while it happens: a live table where there is a terminal and rich, plain lines elsewhere."""

import importlib.util
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from demo.story import SIGNS, Line, Totals
from reliable_email.delivery.report import Outcome

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    Outcome.ACCEPTED: "green",
    Outcome.REJECTED: "red",
    Outcome.DEFERRED: "yellow",
    Outcome.UNKNOWN: "bold magenta",
}
_ROWS = 14


class Screen(Protocol):
    """Where the story goes."""

    def live(self) -> AbstractContextManager[Any]:
        """While messages are sent."""

    def say(self, text: str) -> None:
        """A sentence."""

    def add(self, line: Line) -> None:
        """A message's line."""

    def totals(self, totals: Totals) -> None:
        """The table at the end."""


def screen_for(stream: TextIO, *, plain: bool) -> Screen:
    """The richest screen that this stream can show."""
    if plain or not stream.isatty() or importlib.util.find_spec("rich") is None:
        return PlainScreen(stream)
    from rich.console import Console

    return RichScreen(Console(file=stream))


class PlainScreen:
    """Lines of text without a control character."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def live(self) -> AbstractContextManager[Any]:
        """See `Screen`."""
        return nullcontext()

    def say(self, text: str) -> None:
        """See `Screen`."""
        self._stream.write(f"{text}\n")

    def add(self, line: Line) -> None:
        """See `Screen`."""
        self.say(f"{line.number:3}  {line.recipient:<28} {line.outcome:<9} {line.way}")
        if line.why:
            self.say(f"     {line.why}")

    def totals(self, totals: Totals) -> None:
        """See `Screen`."""
        self.say(f"{'route':<12}" + "".join(f"{outcome:>10}" for outcome in SIGNS))
        for route in sorted({route for route, _ in totals.by_route}):
            counts = "".join(f"{totals.by_route[route, outcome]:>10}" for outcome in SIGNS)
            self.say(f"{route:<12}{counts}")
        self.say("")
        self.say("what went wrong on the way:")
        for cause, count in totals.by_cause.most_common():
            self.say(f"{count:>4} × {cause}")


class RichScreen:
    """A live table of the last messages, with counters above it."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live

        self._console = console
        self._lines: list[Line] = []
        self._live = Live(console=console, refresh_per_second=20, transient=False)

    def live(self) -> AbstractContextManager[Any]:
        """See `Screen`."""
        return self._live

    def say(self, text: str) -> None:
        """See `Screen`."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def add(self, line: Line) -> None:
        """See `Screen`. What went wrong stays on the screen, above the table."""
        from rich.text import Text

        self._lines.append(line)
        if line.why:
            note = Text(f"{line.number:3}  ", style="dim")
            note.append(f"{line.recipient:<28} ")
            note.append(f"{line.outcome:<9} ", style=_STYLES[line.outcome])
            note.append(f"{line.way}\n     ")
            note.append(line.why, style="dim")
            self._console.print(note, soft_wrap=True)
        self._live.update(self._table())

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        counts = Counter(line.outcome for line in self._lines)
        title = "   ".join(f"[{_STYLES[one]}]{sign} {counts[one]} {one}[/]" for one, sign in SIGNS.items())
        table = Table(box=None, pad_edge=False, show_header=False)
        for line in self._lines[-_ROWS:]:
            sign = f"[{_STYLES[line.outcome]}]{SIGNS[line.outcome]}[/]"
            table.add_row(f"[dim]{line.number:3}[/]", line.recipient, sign, line.way)
        return Group(Text.from_markup(title), table)

    def totals(self, totals: Totals) -> None:
        """See `Screen`."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        table.add_column("route")
        for outcome in SIGNS:
            table.add_column(str(outcome), justify="right", style=_STYLES[outcome])
        for route in sorted({route for route, _ in totals.by_route}):
            table.add_row(route, *(str(totals.by_route[route, outcome]) for outcome in SIGNS))
        self._console.print(table)
        self.say("")
        self.say("What went wrong on the way:")
        for cause, count in totals.by_cause.most_common():
            self.say(f"{count:>4} × {cause}")
