"""Deadlines: a message's time budget, and within it the clock of each stage of one connection.

* A stage of commands may take what the `Deadline` gives a stage, however the bytes trickle in; each command that is
  waited for begins a clock of its own.
* Content may take as long as it gets on, and 30 seconds without any progress.
* The final reply has an option of its own, since a short timer there only manufactures unknown outcomes.
* The first word to a chained envelope comes within a second, or four round trips, or it does not come.

Content and final reply do not count against the message's budget: they are given back to the deadline.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from reliable_email.smtp.stages import Stage

if TYPE_CHECKING:
    from reliable_email.smtp.protocol.session import Session

# A hang on the first attempt must leave time for a second, but a slow server must not be cut off early:
# a stage gets the larger of half of what is left and this many seconds, never more than what is left.
STAGE_FLOOR_SECONDS = 10.0
CONTENT_STALL_SECONDS = 30.0  # without any progress; RFC 5321 §4.5.3.2.5 allows three minutes a block
SILENCE_SECONDS = 1.0  # behind a final reply; what is chained there may be lost


class Deadline:
    """The time that is left to a message.

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
        """Return whether no time is left."""
        return self.left() <= 0.0

    def stage_seconds(self) -> float:
        """Return the seconds that one stage may take now."""
        left = self.left()
        return min(left, max(left / 2, STAGE_FLOOR_SECONDS))

    def renew(self) -> None:
        """Start the whole budget again, for the next message."""
        self._ends_at = self._clock() + self.seconds

    def extend(self, seconds: float) -> None:
        """Give back time that does not count."""
        self._ends_at += seconds


class StageClock:
    """The clock of one session: it watches how long each stage waits.

    Attributes:
        ends_at: when the present wait is over, on the monotonic clock.
        began_at: when it began.
    """

    __slots__ = (
        "_channel",
        "_final_reply_seconds",
        "_round_trip",
        "_session",
        "_spent",
        "_turn",
        "began_at",
        "ends_at",
        "stage",
    )

    def __init__(self, session: "Session", *, final_reply_seconds: float) -> None:
        self.stage: Stage | None = None
        self.began_at = 0.0
        self.ends_at = 0.0
        self._session = session
        self._channel = session.channel
        self._final_reply_seconds = final_reply_seconds
        self._turn = -1
        self._round_trip = float("inf")  # as EHLO took, at its quickest
        self._spent: dict[Stage, float] = {}

    def watch(self, deadline: Deadline) -> None:
        """Note that something was written or read. Call it each time."""
        stage, turn = self._session.stage, self._channel.turn
        if stage is self.stage and turn == self._turn:
            return
        now = time.monotonic()
        if self.stage in (Stage.CONTENT, Stage.FINAL_REPLY):
            deadline.extend(now - self.began_at)
        elif self.stage is Stage.EHLO:
            self._round_trip = min(self._round_trip, now - self.began_at)
        self.note(now)
        self.stage, self._turn = stage, turn
        self.began_at = now
        match stage:
            case Stage.CONTENT:
                self.ends_at = now + CONTENT_STALL_SECONDS
            case Stage.FINAL_REPLY:
                self.ends_at = now + self._final_reply_seconds
            case _:
                seconds = deadline.stage_seconds()
                if self._session.is_on_trial:
                    # Half of what is left at most: the job is asked again in the other half.
                    seconds = min(seconds, max(SILENCE_SECONDS, 4 * self._round_trip), deadline.left() / 2)
                self.ends_at = now + seconds

    def has_progressed(self) -> None:
        """Bytes were written: in mid content that is worth another half minute."""
        if self.stage is Stage.CONTENT:
            self.ends_at = time.monotonic() + CONTENT_STALL_SECONDS

    def note(self, now: float) -> None:
        """Add the time since the last note to the present stage."""
        if self.stage is not None:
            self.spend(self.stage, now - self.began_at)
            self.began_at = now

    def spend(self, stage: Stage, seconds: float) -> None:
        """Add time that was spent elsewhere."""
        self._spent[stage] = self._spent.get(stage, 0.0) + seconds

    def pause(self, now: float) -> None:
        """Note the time, and watch nothing until the next `watch`."""
        self.note(now)
        self.stage = None

    def spent(self) -> dict[Stage, float]:
        """Seconds by stage so far."""
        return dict(self._spent)

    def take_spent(self) -> dict[Stage, float]:
        """Return the seconds spent at each stage, and count from zero again."""
        spent, self._spent = self._spent, {}
        return spent
