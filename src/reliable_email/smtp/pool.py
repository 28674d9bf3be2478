"""The process's connections: kept warm across messages, requests and backends, keyed by their options.

Django makes a backend anew at every use, so what is worth keeping lives here. A connection is lent to one thread at a
time. It is never shared over a fork: the child forgets what it inherited, without a byte on the wire.
"""

import atexit
import os
import threading
import time
from collections import defaultdict

from reliable_email.smtp.connection import Connection
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions, Transcript
from reliable_email.smtp.stages import Stage

IDLE_SECONDS = 60.0  # servers end idle sessions after 10 s (SES) to 300 s (Postfix); a dead one is noticed and replaced
AGE_SECONDS = 600.0
MAX_IDLE_PER_SERVER = 8


class Pool:
    """See the module. `acquire`, use, `release`."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._idle: dict[ConnectionOptions, list[Connection]] = defaultdict(list)
        self._lent: dict[ConnectionOptions, int] = defaultdict(int)

    def acquire(
        self,
        options: ConnectionOptions,
        *,
        deadline: Deadline,
        transcript: Transcript | None = None,
        fresh: bool = False,
    ) -> tuple[Connection, bool]:
        """A usable connection, and whether it had been used before.

        Where `options.connections` are lent already, waits for one of them to come back, within the deadline.

        Raises:
            WireError: it could not be opened, or all stayed busy.
        """
        self._take_place(options, deadline)
        try:
            if fresh and options.connections is not None:
                self.close_idle(options)  # those that are open count, whether they work or wait
            if not fresh and transcript is None:
                warm = self._take_idle(options)
                if warm is not None:
                    return warm, True
            return Connection.open(options, deadline=deadline, transcript=transcript), False
        except BaseException:
            self._give_place(options)
            raise

    def release(self, connection: Connection) -> None:
        """Take a connection back: kept where it can be used again, closed where not."""
        keep = False
        with self._condition:
            idle = self._idle[connection.options]
            if connection.is_usable and connection.has_room and not _is_over_age(connection):
                keep = len(idle) < MAX_IDLE_PER_SERVER
            if keep:
                connection.idle_since = time.monotonic()
                idle.append(connection)
        self._give_place(connection.options)
        if not keep:
            connection.close()

    def close_idle(self, options: ConnectionOptions) -> None:
        """Close the idle connections with these options."""
        with self._condition:
            connections = self._idle.pop(options, [])
        for connection in connections:
            connection.close()

    def close_all(self) -> None:
        """Close what is idle, without waiting for anybody."""
        with self._condition:
            connections = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def forget_all(self) -> None:
        """In the child of a fork: drop what belongs to the parent. The old lock may be held by a thread of his."""
        self._condition = threading.Condition()
        idle, self._idle = self._idle, defaultdict(list)
        self._lent = defaultdict(int)
        for connections in idle.values():
            for connection in connections:
                connection.forget()

    def idle_count(self) -> int:
        """How many connections wait for work."""
        with self._condition:
            return sum(len(idle) for idle in self._idle.values())

    def _take_place(self, options: ConnectionOptions, deadline: Deadline) -> None:
        limit = options.connections
        with self._condition:
            if limit is not None:
                ends_at = time.monotonic() + deadline.stage_seconds()
                while self._lent[options] >= limit:
                    seconds = ends_at - time.monotonic()
                    if seconds <= 0:
                        detail = f"all {limit} connections to {options.host} stayed busy"
                        raise WireError(WireFailure(stage=Stage.CONNECT, kind=FailureKind.TIMEOUT, detail=detail))
                    self._condition.wait(seconds)
            self._lent[options] += 1

    def _give_place(self, options: ConnectionOptions) -> None:
        with self._condition:
            # After a fork the child's count starts at zero while a lent connection of the parent's may come back.
            self._lent[options] = max(0, self._lent[options] - 1)
            if not self._lent[options]:
                del self._lent[options]
            self._condition.notify()

    def _take_idle(self, options: ConnectionOptions) -> Connection | None:
        while True:
            with self._condition:
                idle = self._idle.get(options)
                connection = idle.pop() if idle else None  # the warmest first; the others age out
            if connection is None:
                return None
            is_old = time.monotonic() - connection.idle_since > IDLE_SECONDS or _is_over_age(connection)
            if not is_old and not connection.is_stale():
                return connection
            connection.close()


def _is_over_age(connection: Connection) -> bool:
    return time.monotonic() - connection.opened_at > AGE_SECONDS


pool = Pool()


def reset() -> None:
    """Close and forget every connection of this process."""
    pool.close_all()


atexit.register(pool.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget_all)
