"""The live screen: two tracks that fill message by message; what went wrong stays above them, with its reason."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo.story import SIGNS, Line, Totals
from reliable_email.delivery.report import Outcome

_STYLES = {
    Outcome.ACCEPTED: "green",
    Outcome.REJECTED: "red",
    Outcome.DEFERRED: "yellow",
    Outcome.UNKNOWN: "bold magenta",
}
_MARKS = SIGNS | {Outcome.ACCEPTED: "●"}
# So that a person can follow; a run of fifty then takes some seven seconds.
_ORDINARY_SECONDS = 0.04
_READING_SECONDS = 0.4
_MOST_COLUMNS = 100


class RichScreen:
    """See the module, and `Screen`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._console.width = min(console.width, _MOST_COLUMNS)
        self._lines: list[Line] = []
        self._count = 0
        self._routes: Sequence[str] = ()
        self._live: Live | None = None

    @contextmanager
    def live(self, count: int, routes: Sequence[str]) -> Iterator[None]:
        """See `Screen`."""
        self._count, self._routes = count, routes
        with Live(self._now(), console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def say(self, text: str = "") -> None:
        """See `Screen`."""
        self._console.print(Text(text))

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._note(Text(), Text(text))

    def warn(self, text: str) -> None:
        """See `Screen`."""
        self._note(Text("!", style="yellow"), Text(text, style="dim"))
        time.sleep(_READING_SECONDS)

    def add(self, line: Line) -> None:
        """See `Screen`."""
        self._lines.append(line)
        troubles = line.troubles
        if troubles:
            head = Text()
            head.append(f"{SIGNS[line.outcome]} {line.outcome:<9}", style=_STYLES[line.outcome])
            head.append(f"  {line.way:<26}  ")
            head.append(line.recipient, style="dim")
            self._note(Text(str(line.number)), head)
            for hop in troubles:
                if hop.said:
                    self._note(Text(), Text(f"{hop.route} said: {hop.said}", style="dim italic"))
                self.note(hop.why)
        if self._live is not None:
            self._live.update(self._now(), refresh=True)
        time.sleep(_READING_SECONDS if troubles else _ORDINARY_SECONDS)

    def totals(self, totals: Totals) -> None:
        """See `Screen`."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        table.add_column("")
        for outcome in SIGNS:
            table.add_column(str(outcome), justify="right", style=_STYLES[outcome])
        table.add_column("on its server", justify="right")
        for route, held in totals.held.items():
            table.add_row(route, *(str(totals.by_route[route, outcome]) for outcome in SIGNS), str(held))
        together = (str(totals.count(outcome)) for outcome in SIGNS)
        table.add_row(Text("together", style="bold"), *together, str(sum(totals.held.values())), style="bold")
        self._console.print(Padding(table, (0, 0, 1, 2)))
        troubles = Table.grid(padding=(0, 3, 0, 0))
        for one in totals.troubles:
            numbers = ", ".join(map(str, one.numbers))
            troubles.add_row(one.route, str(one.cause), f"no. {numbers}", Text(", ".join(one.ended_as), style="dim"))
        self._console.print(Padding(troubles, (0, 0, 0, 2)))

    def verdict(self, text: str, *, is_good: bool) -> None:
        """See `Screen`."""
        style = "bold green" if is_good else "bold red"
        self._note(Text("✓" if is_good else "✗", style=style), Text(text, style=style))

    def _note(self, sign: Text, text: Text) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=3, justify="right")
        grid.add_column()
        grid.add_row(sign, text)
        self._console.print(grid)

    def _now(self) -> Group:
        tracks = Table.grid(padding=(0, 2, 0, 0))
        room = self._console.width - 16
        for route in self._routes:
            tracks.add_row(Text(f"  {route}"), self._track(route, self._lines[-room:]))
        counts = Counter(line.outcome for line in self._lines)
        summary = Text(f"  {len(self._lines)} of {self._count}", style="dim")
        for outcome, sign in SIGNS.items():
            summary.append(
                f"   {sign} {counts[outcome]} {outcome}", style=_STYLES[outcome] if counts[outcome] else "dim"
            )
        last = self._lines[-1] if self._lines else None
        latest = Text(f"  {last.recipient}  {last.way}" if last else "", style="dim")
        return Group(Text(), tracks, summary, latest)

    def _track(self, route: str, lines: list[Line]) -> Text:
        track = Text()
        for line in lines:
            last = next((hop for hop in reversed(line.hops) if hop.route == route), None)
            track.append(_MARKS[last.outcome] if last else " ", style=_STYLES[last.outcome] if last else "")
        return track
