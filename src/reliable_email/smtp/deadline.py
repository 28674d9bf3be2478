"""The budget of a submission: one clock for resolving, connecting and every stage together."""

import time
from collections.abc import Callable

# A hang on the first attempt must leave time for a second, but a slow server must not be cut off early:
# a stage gets the larger of half of what is left and this many seconds, never more than what is left.
STAGE_FLOOR_SECONDS = 10.0


class Deadline:
    """How much of a message's time is left.

    The budget is per message: a transport calls `renew()` when the next message of a stream gets its turn. Time in
    which content makes progress and time spent waiting for the final reply are not counted against it; the driver
    gives them back with `extend()`.
    """

    __slots__ = ("_clock", "_ends_at", "seconds")

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends_at = clock() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._ends_at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.left() <= 0.0

    def stage_seconds(self) -> float:
        """What one stage may take now."""
        left = self.left()
        return min(left, max(left / 2, STAGE_FLOOR_SECONDS))

    def renew(self) -> None:
        """Start the whole budget again, for the next message."""
        self._ends_at = self._clock() + self.seconds

    def extend(self, seconds: float) -> None:
        """Give back time that does not count."""
        self._ends_at += seconds
