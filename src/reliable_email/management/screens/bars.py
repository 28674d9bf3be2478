"""Progress bars for long work; nothing at all where there is no terminal, so that output stays what it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reliable_email.store.questions.progress import UNTOLD, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@contextmanager
def bars(console: "Console | None") -> Iterator[Progress]:
    """Bars while the block runs; they are gone when it ends, and its result is what stays on the screen."""
    if console is None:
        yield UNTOLD
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=console, transient=True) as shown:
        yield _Bars(shown)


class _Bars:
    """One bar for each part of the work."""

    def __init__(self, shown: "RichProgress") -> None:
        self._shown = shown
        self._task: TaskID | None = None

    def begin(self, what: str, total: Callable[[], int]) -> None:
        """Show a bar for new work."""
        self._task = self._shown.add_task(what, total=total())

    def advance(self, count: int) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._shown.advance(self._task, count)
