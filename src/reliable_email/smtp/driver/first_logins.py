"""First logins: new credentials are tried on one connection of the process before the others.

A worker opens eight connections at once, and a busy site more. With a wrong password that would be eight wrong logins,
and many providers lock the account at the third. So while nobody knows whether a login works, one connection finds
out, and the others wait for it: no longer than one stage of their own budget, and then they go. A refusal is an answer
to all who waited.
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from reliable_email.process_state import remember
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError
from reliable_email.smtp.options import ConnectionOptions
from reliable_email.smtp.stages import Stage

MAX_KNOWN = 4096
# Those who set out together come a moment apart, and the route's memory hears of a refusal a moment later.
REFUSAL_HOLDS_SECONDS = 1.0

Opened = TypeVar("Opened")


class _Trial:
    """One connection's attempt that others wait for."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.refusal: WireError | None = None


class FirstLogins:
    """A gate for logins that are new to the process. Create one, at module level."""

    def __init__(self) -> None:
        self._forget()
        remember(__name__, after_fork=self._forget)

    def open(
        self,
        options: ConnectionOptions,
        call: Callable[[], Opened],
        *,
        deadline: Deadline,
        takes_old_answers: bool = True,
    ) -> Opened:
        """Return what `call` opens, after a first login with the same credentials that is under way has ended.

        Args:
            options: whose login it is; without one nothing is waited for.
            call: opens a connection and logs in.
            deadline: of whom waits.
            takes_old_answers: whether a refusal of a moment ago is an answer, too.

        Raises:
            WireError: from `call`, or the refusal that another connection has got for the same login.
        """
        if options.credentials is None:
            return call()
        # Only the hash is kept: a password stays no longer than a connection that uses it.
        key = hash((options.host, options.port, options.credentials, options.mechanism))
        waits_until = time.monotonic() + deadline.stage_seconds()
        while True:
            trial, is_mine = self._trial(key)
            if trial is None or is_mine:
                return self._tried(key, trial, call)
            over = trial.is_over.is_set()
            if over and not takes_old_answers:
                return self._tried(key, None, call)
            if not over and not trial.is_over.wait(max(0.0, waits_until - time.monotonic())):
                return self._tried(key, None, call)
            if trial.refusal is not None:
                raise WireError(trial.refusal.failure) from trial.refusal

    def reset(self) -> None:
        """Know no login any more."""
        with self._lock:
            self._known.clear()
            self._trials.clear()

    def _trial(self, key: Hashable) -> tuple[_Trial | None, bool]:
        """The attempt that is under way, or a new one that is the caller's; None where the login is known to work."""
        with self._lock:
            if key in self._known:
                return None, False
            trial, until = self._trials.get(key, (None, 0.0))
            if trial is not None and (not trial.is_over.is_set() or time.monotonic() < until):
                return trial, False
            trial = _Trial()
            self._trials[key] = trial, 0.0
            return trial, True

    def _tried(self, key: Hashable, trial: _Trial | None, call: Callable[[], Opened]) -> Opened:
        refusal: WireError | None = None
        try:
            opened = call()
        except WireError as error:
            if is_login_refused(error):
                refusal = error
                with self._lock:
                    self._known.discard(key)
            raise
        else:
            with self._lock:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known.add(key)
            return opened
        finally:
            if trial is not None:
                with self._lock:
                    if refusal is not None:
                        trial.refusal = refusal
                        self._trials[key] = trial, time.monotonic() + REFUSAL_HOLDS_SECONDS
                    else:
                        self._trials.pop(key, None)
                trial.is_over.set()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._known: set[Hashable] = set()
        self._trials: dict[Hashable, tuple[_Trial, float]] = {}


def is_login_refused(error: WireError) -> bool:
    """Return whether the server permanently refused the login."""
    failure = error.failure
    is_final = failure.reply is not None and failure.reply.code >= 500
    return failure.stage is Stage.AUTH and failure.kind is FailureKind.REFUSED and is_final


first_logins = FirstLogins()
