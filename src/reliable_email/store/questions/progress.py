"""The progress of long work, for the commands and pages that show it."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told by long work, in the thread that does it."""

    def begin(self, what: str, total: Callable[[], int]) -> None:
        """A part of the work begins: how many there are is counted by those alone who show it."""

    def advance(self, count: int) -> None:
        """Note that `count` more are done."""


class _Untold:
    """A receiver of progress that does nothing."""

    def begin(self, what: str, total: Callable[[], int]) -> None:
        """Count nothing."""

    def advance(self, count: int) -> None:
        """Ignore the progress."""


UNTOLD: Progress = _Untold()
