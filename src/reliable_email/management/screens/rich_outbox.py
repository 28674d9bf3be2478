"""The live view of the outbox: the verdict first, for a terminal of 80 columns and more."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reliable_email.diagnosis.verdict import Health
from reliable_email.management.screens.outbox_view import OutboxView, RouteView, due_words, finding_words, queued_words
from reliable_email.management.screens.pace import Pace
from reliable_email.monitoring.findings import span
from reliable_email.store.questions.status import Status, WorkerStatus
from reliable_email.store.tables.states import State
from reliable_email.values import printable

_VERDICTS = {
    Health.HEALTHY: "bold green",
    Health.DEGRADED: "bold yellow",
    Health.UNHEALTHY: "bold red",
}
_STATES = {
    State.ACCEPTED: "green",
    State.REJECTED: "red",
    State.EXPIRED: "red",
    State.UNKNOWN: "bold magenta",
    State.PARKED: "bold yellow",
}
# A terminal has few lines: the others are shown while there is something in them.
_ALWAYS = (State.QUEUED, State.UNKNOWN, State.PARKED, State.ACCEPTED)
# How many findings, the worst first, and whether each is one line: the first of these that leaves room for the queue.
_SHORTER = ((2, False), (1, False), (2, True), (1, True))
_WORKERS_AT_MOST = 8
_OTHER_LINES = 3  # the title, a blank one, and the mark of what was cut off


class RichOutbox:
    """Draws what it is shown; remembers enough for the pace."""

    def __init__(self) -> None:
        self._accepted = Pace()

    def draw(self, view: OutboxView, *, now: float, fits: Callable[[RenderableType], bool] = lambda _: True) -> Group:
        """The outbox. `now` is of any one clock.

        Args:
            fits: whether the terminal has the lines for this; findings are shortened until the queue is on it, too.
        """
        found = view.status
        self._accepted.see(found.recipients[State.ACCEPTED], now=now)
        states = self._states(found)
        verdicts = (_verdict(view, findings=count, is_short=is_short) for count, is_short in _SHORTER)
        verdict = next((one for one in verdicts if fits(Group(one, Text(), states))), _verdict(view, findings=0))
        parts: list[RenderableType] = [verdict, Text(), states]
        if found.oldest_due_seconds is not None:
            parts.append(Text(f"  {due_words(found)}"))
        if view.routes:
            parts += [Text(), _routes(view.routes)]
        if found.workers:
            parts += [Text(), _workers(found.workers)]
        return Group(*parts)

    def _states(self, found: Status) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column(justify="right", min_width=9)
        table.add_column(style="dim")
        for name, count in found.recipients.items():
            state = State(name)
            if not count and state not in _ALWAYS:
                continue
            note = queued_words(found) if state is State.QUEUED else ""
            if state is State.ACCEPTED and self._accepted.in_the_last_minute:
                note = f"{self._accepted.in_the_last_minute:,} in the last minute"
            style = _STATES.get(state, "") if count else "dim"
            table.add_row(Text(f"  {name}", style=style), Text(f"{count:,}", style=style), note)
        return table


class RichWatchScreen:
    """A screen that rich redraws; a context manager."""

    def __init__(self, console: Console) -> None:
        self._outbox = RichOutbox()
        self._live = Live(Text(), console=console, auto_refresh=False, redirect_stderr=sys.stderr.isatty())

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, title: str, view: OutboxView) -> None:
        """Draw the view."""
        self._update(title, view.status.at, self._outbox.draw(view, now=time.monotonic(), fits=self._fits))

    def away(self, title: str, text: str) -> None:
        """Draw that the database does not answer."""
        self._update(title, None, Text(text, style="bold red"))

    def _fits(self, shown: RenderableType) -> bool:
        console = self._live.console
        return len(console.render_lines(shown)) + _OTHER_LINES <= console.height

    def _update(self, title: str, at: datetime | None, shown: RenderableType) -> None:
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC  " if at is not None else ""
        self._live.update(Group(Text(f"{when}{printable(title)}", style="dim"), Text(), shown), refresh=True)


def _verdict(view: OutboxView, *, findings: int, is_short: bool = False) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    said = Text(no_wrap=is_short, overflow="ellipsis" if is_short else None)
    for finding in view.health.findings[:findings]:
        said.append(f"\n{finding_words(finding)}")
        if finding.remedy and not is_short:
            said.append(f"\n{printable(finding.remedy)}", style="dim")
    more = len(view.health.findings) - findings
    if more > 0:
        said.append(f"\nand {more} more, which “manage.py email_outbox status” tells", style="dim")
    grid.add_row(Text(view.health.verdict.upper(), style=_VERDICTS[view.health.verdict]), said[1:])
    return grid


def _routes(routes: Sequence[RouteView]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for route in routes:
        said = Text(printable(route.use), style="green" if route.is_in_use else "bold yellow")
        table.add_row(Text(f"  {route.alias}"), said)
        if route.evidence:
            table.add_row("", Text(printable(route.evidence), style="dim", no_wrap=True, overflow="ellipsis"))
    return table


def _workers(workers: list[WorkerStatus]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for worker in workers[:_WORKERS_AT_MOST]:
        color = {"running": "green", "lost": "bold yellow"}.get(worker.state, "dim")
        table.add_row(
            Text(f"  {printable(worker.name)}", overflow="fold"),
            Text(worker.state, style=color),
            Text(f"{worker.settled:,} transactions"),
            Text(f"seen {span(worker.silent_seconds)} ago", style="dim"),
        )
    more = len(workers) - _WORKERS_AT_MOST
    if more > 0:
        table.add_row(Text(f"  and {more} more", style="dim"))
    return table
