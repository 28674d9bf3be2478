"""Calls that may hang and cannot be interrupted: made in a daemon thread, waited for as long as there is time.

Who asks for the same thing meanwhile waits for the same call, and the number of threads is limited, so that a dead
resolver or token endpoint costs a few threads and not one per message. What an abandoned call brings in the end
still reaches those who wait for it then.
"""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from reliable_email.process_state import remember

MAX_CALLS = 32
# A call that has been hanging for so long is not joined any more: its thread may never come back.
JOINABLE_SECONDS = 10.0

Result = TypeVar("Result")


class TooManyCalls(Exception):
    """The maximum number of hanging calls is reached, so no other call is begun."""


class SharedCalls(Generic[Result]):
    """The calls of one kind in this process. Make it once, at module level."""

    def __init__(self, name: str, *, limit: int = MAX_CALLS, joinable_seconds: float = JOINABLE_SECONDS) -> None:
        self._name = name
        self._limit = limit
        self._joinable_seconds = joinable_seconds
        self._forget()
        # The threads stay in the parent, and with them whoever holds the lock.
        remember(f"{__name__}: {name}", after_fork=self._forget)

    def call(self, key: Hashable, function: Callable[[], Result], *, timeout: float) -> Result:
        """Return the result of the function, or of a running call with the same key.

        Raises:
            TimeoutError: it was not there in time.
            TooManyCalls: it was not even begun.
        """
        with self._lock:
            began_at, answer = self._running.get(key, (0.0, None))
            is_new = answer is None or time.monotonic() - began_at > self._joinable_seconds
            if answer is None or is_new:
                if self._thread_count >= self._limit:
                    raise TooManyCalls(f"{self._thread_count} earlier calls still wait for an answer")
                answer = Future()
                self._running[key] = time.monotonic(), answer
                self._thread_count += 1
        if is_new:
            work = threading.Thread(target=self._work, args=(key, function, answer), name=self._name, daemon=True)
            try:
                work.start()
            except RuntimeError:
                # The interpreter is shutting down, or no thread is left: better unbounded than not at all.
                self._work(key, function, answer)
        return answer.result(timeout)

    def reset(self) -> None:
        """Join no call that is under way now."""
        with self._lock:
            self._running.clear()

    def _work(self, key: Hashable, function: Callable[[], Result], answer: Future[Result]) -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - handed to those who wait
            self._leave(key, answer)
            answer.set_exception(error)
        else:
            self._leave(key, answer)
            answer.set_result(result)

    def _leave(self, key: Hashable, answer: Future[Result]) -> None:
        with self._lock:
            self._thread_count -= 1
            if self._running.get(key, (0.0, None))[1] is answer:
                del self._running[key]

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, tuple[float, Future[Result]]] = {}
        self._thread_count = 0
