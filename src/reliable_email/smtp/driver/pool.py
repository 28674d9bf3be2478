"""The process's connections: kept warm across messages, requests and backends, keyed by their options.

Django makes a backend anew at every use, so what is worth keeping lives here. A connection is lent to one thread at a
time. It is never shared over a fork: the child forgets what it inherited, without a byte on the wire.

What nobody uses is closed: a thread of the pool's own lives as long as something is idle, and no set of options, which
may hold a password, is kept for longer than a connection or a limit that was learned with it.
"""

import atexit
import threading
import time
from collections import defaultdict
from contextlib import suppress
from functools import partial

from reliable_email.process_state import remember
from reliable_email.records import dataclass
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.connection import Connection
from reliable_email.smtp.driver.first_logins import first_logins
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions, Transcript
from reliable_email.smtp.stages import Stage

IDLE_SECONDS = 60.0  # servers end idle sessions after 10 s (SES) to 300 s (Postfix); a dead one is noticed and replaced
AGE_SECONDS = 600.0
MAX_IDLE_PER_SERVER = 32  # as many as a worker of many lines
MAX_IDLE = 64  # over all servers and logins; the one that was idle for longest goes first
GROWTH_SECONDS = 60.0  # a limit that a server has taught us grows by one connection in this time
FIRST_GROWTH_SECONDS = 5.0  # so does one that it did not put in words; each time in vain, it takes twice as long
FORGET_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    """The number of connections at which a server refused one more."""

    limit: int
    at: float
    growth_seconds: float
    is_guess: bool

    def now(self, now: float) -> int:
        return self.limit + int((now - self.at) / self.growth_seconds)


class _Reaper:
    """The thread that closes what was idle for too long: when it looks next, and what wakes it before."""

    def __init__(self) -> None:
        self.looks_at = 0.0
        self.wake = threading.Event()


class Pool:
    """A pool of connections: `acquire` one, use it, `release` it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._idle: dict[ConnectionOptions, list[Connection]] = {}  # the one that was used last at the end
        self._lent: dict[ConnectionOptions, int] = defaultdict(int)
        self._at_work: dict[ConnectionOptions, int] = defaultdict(int)  # of those, what is open
        self._learned: dict[ConnectionOptions, _Learned] = {}
        self._reaper: _Reaper | None = None

    def acquire(
        self,
        options: ConnectionOptions,
        *,
        deadline: Deadline,
        transcript: Transcript | None = None,
        fresh: bool = False,
    ) -> tuple[Connection, bool]:
        """A usable connection, and whether it had been used before.

        Where `options.connections` are lent already, waits for one of them to come back, within the deadline. So it
        does where the server refuses one more while others of this process work, in words or by closing it (Courier,
        tcpserver, firewalls): the server has a limit of its own, which is kept from then on, and is tried to exceed by
        one connection every `GROWTH_SECONDS`. What was closed may have been a stray one: such a limit is tried sooner,
        and forgotten as soon as more are open.

        Raises:
            WireError: it could not be opened, or all stayed busy.
        """
        while True:
            self._take_place(options, deadline)
            try:
                if fresh and self._limit(options) is not None:
                    self.close_idle(options)  # those that are open count, whether they work or wait
                if not fresh and transcript is None:
                    warm = self._take_idle(options)
                    if warm is not None:
                        self._note_open(options)
                        return warm, True
                opened = first_logins.open(
                    options,
                    partial(Connection.open, options, deadline=deadline, transcript=transcript),
                    deadline=deadline,
                    takes_old_answers=not fresh,
                )
                self._note_open(options)
                return opened, False
            except WireError as error:
                has_learned = self._learn(options, error)
                self._give_place(options)
                if not has_learned:
                    raise
            except BaseException:
                self._give_place(options)
                raise

    def is_full(self, options: ConnectionOptions) -> bool:
        """Return whether `acquire` would have to wait now."""
        with self._condition:
            limit = self._limit(options)
            return limit is not None and self._lent[options] >= limit

    def is_in_use(self, options: ConnectionOptions) -> bool:
        """Return whether a connection with these options is lent."""
        with self._condition:
            return self._lent[options] > 0

    def release(self, connection: Connection) -> None:
        """Take a connection back: kept where it can be used again, closed where not."""
        closing = [connection]
        with self._condition:
            if connection.is_usable and connection.has_room and not _is_over_age(connection):
                idle = self._idle.setdefault(connection.options, [])
                if len(idle) < MAX_IDLE_PER_SERVER:
                    connection.idle_since = time.monotonic()
                    idle.append(connection)
                    closing = self._over_the_cap()
                    self._begin_to_reap(connection)
        self._give_place(connection.options, was_open=True)
        for one in closing:
            one.close()

    def close_idle(self, options: ConnectionOptions) -> None:
        """Close the idle connections with these options."""
        with self._condition:
            connections = self._idle.pop(options, [])
        for connection in connections:
            connection.close()

    def close_all(self) -> None:
        """Close all idle connections, without waiting."""
        with self._condition:
            connections = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
            self._end_reaping()
        for connection in connections:
            connection.close()

    def forget_limits(self) -> None:
        """Forget how many connections servers let us have."""
        with self._condition:
            self._learned.clear()

    def forget_all(self) -> None:
        """Drop the parent's connections in the child of a fork. The parent's lock may be held by one of its threads."""
        self._condition = threading.Condition()
        idle, self._idle = self._idle, {}
        self._lent, self._at_work = defaultdict(int), defaultdict(int)
        self._learned.clear()
        self._reaper = None  # that thread is the parent's
        for connections in idle.values():
            for connection in connections:
                connection.forget()

    def idle_count(self) -> int:
        """Return the number of idle connections."""
        with self._condition:
            return sum(len(idle) for idle in self._idle.values())

    def _take_place(self, options: ConnectionOptions, deadline: Deadline) -> None:
        with self._condition:
            ends_at: float | None = None
            while (limit := self._limit(options)) is not None and self._lent[options] >= limit:
                now = time.monotonic()
                ends_at = ends_at if ends_at is not None else now + deadline.stage_seconds()
                if now >= ends_at:
                    detail = f"all {limit} connections to {options.host} stayed busy"
                    raise WireError(WireFailure(stage=Stage.CONNECT, kind=FailureKind.BUSY, detail=detail))
                self._condition.wait(min(ends_at - now, 1.0))  # a limit that was learned grows by itself
            self._lent[options] += 1

    def _limit(self, options: ConnectionOptions) -> int | None:
        """Return the number of connections that may be lent at once, configured or learned; None for no limit."""
        learned = self._learned.get(options)
        if learned is None:
            return options.connections
        limit = learned.now(time.monotonic())
        if limit >= FORGET_LIMIT:
            del self._learned[options]
            return options.connections
        return limit if options.connections is None else min(limit, options.connections)

    def _note_open(self, options: ConnectionOptions) -> None:
        with self._condition:
            self._at_work[options] += 1
            learned = self._learned.get(options)
            if learned is not None and learned.is_guess and self._at_work[options] > learned.limit:
                del self._learned[options]
                self._condition.notify_all()

    def _learn(self, options: ConnectionOptions, error: WireError) -> bool:
        """Learn the number of other connections as the server's limit, if it refused one more for their number."""
        is_guess = _is_closed_without_a_word(error)
        if not is_guess and not _is_refused_for_now(error):
            return False
        with self._condition:
            # A server that is gone closes new ones, too: only those that it has let in prove that it is there.
            others = self._at_work.get(options, 0) if is_guess else self._lent[options] - 1
            if others < 1:
                return False
            now, before = time.monotonic(), self._learned.get(options)
            growth = FIRST_GROWTH_SECONDS if is_guess else GROWTH_SECONDS
            if is_guess and before is not None:
                growth = min(before.growth_seconds * (2 if before.now(now) > before.limit else 1), GROWTH_SECONDS)
            self._learned[options] = _Learned(limit=others, at=now, growth_seconds=growth, is_guess=is_guess)
            return True

    def _give_place(self, options: ConnectionOptions, *, was_open: bool = False) -> None:
        with self._condition:
            # After a fork the child's count starts at zero while a lent connection of the parent's may come back.
            for counts, one in ((self._lent, 1), (self._at_work, int(was_open))):
                counts[options] = max(0, counts[options] - one)
                if not counts[options]:
                    del counts[options]
            self._condition.notify_all()  # each waits for a server of its own

    def _take_idle(self, options: ConnectionOptions) -> Connection | None:
        while True:
            with self._condition:
                idle = self._idle.get(options)
                connection = idle.pop() if idle else None  # the warmest first; the others age out
                if not idle:
                    self._idle.pop(options, None)
            if connection is None:
                return None
            if time.monotonic() < _ends_at(connection) and not connection.is_stale():
                return connection
            connection.close()

    # What nobody uses.

    def _over_the_cap(self) -> list[Connection]:
        """Take out the idle connections above the maximum, and return them. Call it with the lock held."""
        if sum(map(len, self._idle.values())) <= MAX_IDLE:
            return []
        return [self._take_out(min((idle[0] for idle in self._idle.values()), key=lambda one: one.idle_since))]

    def _take_out(self, connection: Connection) -> Connection:
        idle = self._idle[connection.options]
        idle.remove(connection)
        if not idle:
            del self._idle[connection.options]
        return connection

    def _begin_to_reap(self, connection: Connection) -> None:
        """Make sure that a thread closes the connection when its time comes. Call it with the lock held."""
        if self._reaper is None:
            reaper = _Reaper()
            with suppress(RuntimeError):  # no room for one more, or the interpreter ends: a later one tries again
                threading.Thread(target=self._reap, args=(reaper,), name="reliable-email-idle", daemon=True).start()
                self._reaper = reaper
        elif _ends_at(connection) < self._reaper.looks_at:
            self._reaper.wake.set()

    def _end_reaping(self) -> None:
        """The lock is held."""
        if self._reaper is not None:
            self._reaper.wake.set()
            self._reaper = None

    def _reap(self, me: "_Reaper") -> None:
        while True:
            with self._condition:
                if self._reaper is not me:
                    return  # another one took over, or none is needed
                me.wake.clear()
                now = time.monotonic()
                idle = [one for connections in self._idle.values() for one in connections]
                closing = [self._take_out(one) for one in idle if now >= _ends_at(one)]
                me.looks_at = min((_ends_at(one) for one in idle if one not in closing), default=0.0)
                if not me.looks_at:
                    self._reaper = None
                self._forget_old_limits()
            for one in closing:
                one.close()
            del idle, closing  # a connection has a password in its options
            me.wake.wait(max(0.0, me.looks_at - now))

    def _forget_old_limits(self) -> None:
        now = time.monotonic()
        old = [options for options, learned in self._learned.items() if learned.now(now) >= FORGET_LIMIT]
        for options in old:
            del self._learned[options]


def _ends_at(connection: Connection) -> float:
    """Return the time at which an idle connection must be closed."""
    idle_seconds = connection.options.idle_seconds or IDLE_SECONDS
    return min(connection.idle_since + idle_seconds, connection.opened_at + AGE_SECONDS)


def _is_refused_for_now(error: WireError) -> bool:
    """Return whether the server replied 4yz before the login: with others at work, that is about their number."""
    reply = error.failure.reply
    return reply is not None and 400 <= reply.code < 500 and error.failure.kind is FailureKind.REFUSED


def _is_closed_without_a_word(error: WireError) -> bool:
    if error.failure.kind is FailureKind.CONNECT_FAILED:
        return error.failure.stage is Stage.CONNECT  # at another it is where tokens come from
    return error.failure.kind is FailureKind.DISCONNECTED


def _is_over_age(connection: Connection) -> bool:
    return time.monotonic() - connection.opened_at > AGE_SECONDS


pool = Pool()


def reset() -> None:
    """Close and forget every connection of this process, and what was learned about their number."""
    pool.close_all()
    pool.forget_limits()
    first_logins.reset()


atexit.register(pool.close_all)
remember(__name__, after_fork=pool.forget_all, reset=reset)
