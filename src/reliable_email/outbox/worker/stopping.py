"""Signals that end a worker in two stages, while it runs in the main thread."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from reliable_email.outbox.worker.process import Worker

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


class Stopping:
    """A context in which the first signal lets the worker finish, and a second one, or the end of its time, does not.

    Args:
        tell: told at the first signal what a second one would do; None for nobody.
        is_guest: whether the process is somebody else's, who hears each signal too: at once, or where it would simply
            have ended the process, when the worker has ended.
    """

    def __init__(
        self, worker: Worker, stop_seconds: float, *, tell: Callable[[str], None] | None = None, is_guest: bool = False
    ) -> None:
        self._worker = worker
        self._stop_seconds = stop_seconds
        self._tell = tell
        self._is_guest = is_guest
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None
        self._put_off: int | None = None
        self.signal_name = ""

    @property
    def was_told(self) -> bool:
        """True if a signal came."""
        return bool(self.signal_name)

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                # Who has it ignored, as nohup does, wants the worker to outlive its terminal.
                if (before is signal.SIG_IGN and number != signal.SIGINT) or before is None:
                    continue
                self._before[number] = signal.signal(number, self._told)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._timer is not None:
            self._timer.cancel()
        if self._put_off is not None:
            os.kill(os.getpid(), self._put_off)

    def _told(self, number: int, frame: FrameType | None) -> None:
        if self.was_told:
            self._worker.stop_now()
        else:
            self.signal_name = signal.Signals(number).name
            self._worker.stop()
            self._timer = threading.Timer(self._stop_seconds, self._worker.stop_now)
            self._timer.daemon = True
            self._timer.start()
            if self._tell is not None:
                # Not here: whoever was interrupted may be writing to the same stream.
                threading.Thread(target=self._tell, args=(self._warning(),), daemon=True).start()
        if self._is_guest:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            self._put_off = number

    def _warning(self) -> str:
        return (
            f"{self.signal_name}: the messages in hand are finished, which takes {self._stop_seconds:g} s at most. "
            "Once more ends at once: a message that was handed over and whose reply is still awaited, at most one "
            "for each connection, is unknown then."
        )
