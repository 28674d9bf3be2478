"""Group commit: whoever comes first writes for all lines that wait, in one transaction.

Each line still waits until its own permission is committed, so that what a crash leaves unknown stays at one message a
connection (or one flight); the database sees fewer transactions.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reliable_email.outbox.journal import Request, Written, commit_together
from reliable_email.outbox.keyring import Keyring

logger = logging.getLogger("reliable_email.outbox")

# Commits at once where the database is slow or far: there, one at a time would let each line wait for two of them.
WRITERS = 4
# Where it is quicker than this, one at a time is best: what it costs is work, and together there is less of it.
_QUICK_SECONDS = 0.0015


@dataclass(slots=True, eq=False)
class _Entry:
    """One line's request.

    Attributes:
        turn: held until it is written, or until this line has to write for `group`.
        group: whom this line writes for, itself among them.
        has_failed: it was written with others, and that came to nothing, as far as anybody knows.
    """

    request: Request
    turn: threading.Lock = field(default_factory=threading.Lock)
    group: "Sequence[_Entry]" = ()
    written: Written | None = None
    has_failed: bool = False


class Together:
    """See the module. Shared by the lines of a worker; each calls `commit` in its own thread."""

    def __init__(self, using: str, keyring: Keyring, *, writers: int = WRITERS) -> None:
        self._using = using
        self._keyring = keyring
        self._writers = writers
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._writing = 0
        self._last_seconds = 0.0

    @property
    def is_writing(self) -> bool:
        """Whether a commit is under way."""
        return self._writing > 0

    @property
    def waiting_count(self) -> int:
        """How many lines wait for the next one."""
        return len(self._waiting)

    def commit(self, request: Request) -> Written:
        """See `journal.commit`; what it raises concerns this request alone."""
        entry = _Entry(request)
        entry.turn.acquire()
        with self._lock:
            self._waiting.append(entry)
            if self._writing < (1 if self._last_seconds < _QUICK_SECONDS else self._writers):
                self._writing += 1
                entry.group, self._waiting = self._waiting, []
        if not entry.group:
            entry.turn.acquire()
        if entry.group:
            self._write(entry)
        if entry.has_failed:
            # Somebody else's row may be to blame, or the answer was lost: each finds that out about its own.
            return self._alone(replace(request, is_repeat=True))
        assert entry.written is not None, "it was written, or it has failed"
        return entry.written

    def _write(self, own: _Entry) -> None:
        """Write for the group, then let those who came meanwhile go on."""
        group = own.group
        began_at = time.monotonic()
        try:
            written = commit_together(self._using, [one.request for one in group], keyring=self._keyring)
        except BaseException as error:
            if len(group) == 1:
                raise
            logger.debug("A commit for %d lines failed, each tries by itself: %s", len(group), error)
            for one in group:
                one.has_failed = True
        else:
            for one, answer in zip(group, written, strict=True):
                one.written = answer
        finally:
            with self._lock:
                self._last_seconds = time.monotonic() - began_at
                following, self._waiting = self._waiting, []
                if not following:
                    self._writing -= 1
            if following:
                following[0].group = following
                following[0].turn.release()
            for one in group:
                if one is not own:
                    one.turn.release()

    def _alone(self, request: Request) -> Written:
        [written] = commit_together(self._using, [request], keyring=self._keyring)
        return written
