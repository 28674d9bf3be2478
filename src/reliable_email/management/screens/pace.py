"""The growth of a count in the last minute, from the values that were seen."""

from collections import deque

_WINDOW_SECONDS = 60.0


class Pace:
    """Fed with a count now and then; instants are seconds of any one clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, count: int, *, now: float) -> None:
        """The count at this moment."""
        self._seen.append((now, count))
        while self._seen[0][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def in_the_last_minute(self) -> int:
        """The growth; 0 if the count shrank, as it does when old messages are pruned, or was seen only once."""
        return max(0, self._seen[-1][1] - self._seen[0][1]) if self._seen else 0
