"""The lines of a worker while nothing works or nothing is to be done: one line tries, the others wait.

Eight lines that each try for themselves would open connections to the provider without an end, and be told nothing
new.
"""

import logging
import time
from collections.abc import Callable

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox import wake
from reliable_email.outbox.worker.steps import Rest, Steps

logger = logging.getLogger("reliable_email.outbox")

_FIRST_SECONDS = 0.5  # at most two connections a second
_LONGEST_SECONDS = 5.0
_OTHERS_SECONDS = 60.0  # they are woken


class Hardship:
    """The pauses of one worker's lines, in their thread, while nothing works."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._trier: int | None = None
        self._pause = _FIRST_SECONDS
        self.is_over_for_all = False

    @property
    def seconds(self) -> float:
        """Return the seconds for which nothing has worked; 0.0 if something does."""
        return 0.0 if self._began_at is None else time.monotonic() - self._began_at

    def meet(self, line: int, longest_seconds: float) -> Steps[None]:
        """This line's claim has failed: wait, as the only one that tries, or until another one's has not."""
        if self._began_at is None:
            self._began_at = time.monotonic()
        if self._trier is None:
            self._trier = line
        if self._trier == line:
            pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_SECONDS, max(longest_seconds, 0.5))
            yield Rest(pause, is_over=lambda: self.is_over_for_all)
        else:
            yield from self.wait(line)

    def wait(self, line: int) -> Steps[None]:
        """Wait while another line tries."""
        while self._trier is not None and self._trier != line and not self.is_over_for_all:
            yield Rest(_OTHERS_SECONDS, is_over=lambda: self._trier is None or self.is_over_for_all)

    def end(self) -> None:
        """Note that something works."""
        if self._began_at is not None:
            logger.info("The worker's claims work again, after %.1f s", self.seconds, extra=log_fields())
        self._began_at = self._trier = None
        self._pause = _FIRST_SECONDS

    def leave(self, line: int) -> None:
        """This line ends."""
        if self._trier == line:
            self._trier = None


class Idleness:
    """One idle line watches for all of them; when it finds more than it can take, the next one looks.

    Attributes:
        is_more: whether there may be more than was claimed last.
        seen: the generation of `wake` when the last claim began.
    """

    def __init__(self) -> None:
        self.is_more = False
        self.seen = 0
        self._is_watched = False

    def rest(self, poll_seconds: float, goes_on: Callable[[], bool]) -> Steps[None]:
        """A claim has found nothing.

        Args:
            goes_on: whether there is anything to watch for; one after the other would look once more at the end.
        """
        while self._is_watched and not self.is_more and goes_on():
            yield Rest(_OTHERS_SECONDS, is_over=lambda: not self._is_watched or self.is_more or not goes_on())
        if not goes_on():
            return
        if self.is_more:
            self.is_more = False
            return
        self._is_watched = True
        # Whatever was queued since the last claim began may have been missed by it.
        seen = self.seen
        yield Rest(poll_seconds, is_over=lambda: wake.generation() != seen or self.is_more or not goes_on())
        self._is_watched = self.is_more = False
