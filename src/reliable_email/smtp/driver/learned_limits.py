"""Limits that were learned from a server, by host and port; and whether envelopes may be chained there.

Facts live in this process unless `keep_in` names another place for them; each is believed for a time of its own.

Whether the next job's envelope may go out behind a terminator is never proven, only not yet disproved: some servers
refuse what is buffered when they write the final reply, some throw it away, and both depend on how the bytes were cut
into segments. While one stream of jobs finds out, the others do without. A chained envelope that comes to nothing was
*not asked*, the job is asked again by itself, and only the second answer tells whose fault it was:

* it gets further than the chained one did: the server mishandles chaining;
* it is answered alike: chaining made no difference.

A connection that is lost between a terminator and its final reply, while an envelope was out behind it, counts against
chaining at once: there the price of a second try is an unknown outcome.
"""

import threading
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from reliable_email.process_state import remember
from reliable_email.records import dataclass

if TYPE_CHECKING:
    from reliable_email.smtp.options import ConnectionOptions
    from reliable_email.smtp.protocol.events import NotAsked
    from reliable_email.smtp.transaction import Job, Transaction

Server = tuple[str, int]


class Fact(StrEnum):
    """The kinds of what can be learned. The value of a yes-or-no fact is 1."""

    NO_CHAINING = "no_chaining"  # an envelope behind a terminator is lost or refused
    NO_PIPELINING = "no_pipelining"  # commands of a group are lost, although PIPELINING is announced
    NO_FLIGHTS = "no_flights"  # it hung up on messages in flight; each of them became unknown
    MESSAGES_PER_CONNECTION = "messages_per_connection"  # the server ends or refuses after so many


KEPT_SECONDS: Mapping[Fact, float] = {
    Fact.NO_CHAINING: 7 * 86400.0,
    Fact.NO_PIPELINING: 3600.0,
    Fact.NO_FLIGHTS: 3600.0,
    Fact.MESSAGES_PER_CONNECTION: 86400.0,
}


_NOTHING: Mapping[Fact, int] = {}


class Memory(Protocol):
    """A store of learned facts. Both calls happen between two bytes on the wire: they must not block or raise."""

    def read(self, server: Server) -> Mapping[Fact, int]:
        """The facts about this server that are still to be believed."""

    def learn(self, server: Server, fact: Fact, value: int, *, seconds: float) -> None:
        """Believe this for so many seconds from now."""

    def clear(self) -> None:
        """Forget everything."""


class ProcessMemory:
    """Facts of this process alone."""

    def __init__(self) -> None:
        self._facts: dict[Server, dict[Fact, tuple[int, float]]] = {}

    def read(self, server: Server) -> Mapping[Fact, int]:
        """Return the facts about this server that have not expired."""
        facts = self._facts.get(server)
        if not facts:
            return _NOTHING
        now = time.monotonic()
        return {fact: value for fact, (value, until) in list(facts.items()) if now < until}

    def learn(self, server: Server, fact: Fact, value: int, *, seconds: float) -> None:
        """Remember a fact about this server for some seconds."""
        known = dict(self._facts.get(server, ()))
        known[fact] = (value, time.monotonic() + seconds)
        self._facts[server] = known

    def clear(self) -> None:
        """Forget all facts."""
        self._facts.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """One server's.

    Attributes:
        mishandles_chaining: what stands behind a terminator is lost or refused there.
        mishandles_pipelining: it announced PIPELINING and lost commands of a group.
        loses_flights: it hung up while messages were in flight.
        messages_per_connection: it ended the connection, or refused to go on, after so many messages.
    """

    mishandles_chaining: bool = False
    mishandles_pipelining: bool = False
    loses_flights: bool = False
    messages_per_connection: int | None = None


_NONE = Habits()
_memory: Memory = ProcessMemory()
_lock = threading.Lock()
_chained: set[Server] = set()  # took a chained envelope since this process began, which proves nothing for good
_askers: dict[Server, set[object]] = {}  # who is finding out


def keep_in(memory: Memory) -> None:
    """Keep facts there from now on."""
    global _memory
    _memory = memory


def of(host: str, port: int) -> Habits:
    """Return everything that is known about this server now."""
    facts = _memory.read((host, port))
    if not facts:
        return _NONE
    return Habits(
        mishandles_chaining=Fact.NO_CHAINING in facts,
        mishandles_pipelining=Fact.NO_PIPELINING in facts,
        loses_flights=Fact.NO_FLIGHTS in facts,
        messages_per_connection=facts.get(Fact.MESSAGES_PER_CONNECTION),
    )


def learn_pipelining_is_mishandled(host: str, port: int) -> None:
    """Commands go one by one from now on."""
    _learn((host, port), Fact.NO_PIPELINING, 1)


def learn_chaining_is_mishandled(host: str, port: int) -> None:
    """Remember that nothing may be sent behind a terminator on this server."""
    _learn((host, port), Fact.NO_CHAINING, 1)


def learn_flights_are_lost(host: str, port: int) -> None:
    """Messages go one after the other from now on: a second loss would make as many outcomes unknown again."""
    _learn((host, port), Fact.NO_FLIGHTS, 1)


def learn_messages_per_connection(host: str, port: int, count: int) -> None:
    """Connections are replaced before the server does it; of two numbers the smaller one counts."""
    known = of(host, port).messages_per_connection
    _learn((host, port), Fact.MESSAGES_PER_CONNECTION, min(count, known or count))


def _learn(server: Server, fact: Fact, value: int) -> None:
    with _lock:
        _memory.learn(server, fact, value, seconds=KEPT_SECONDS[fact])


# Who may chain.


def may_chain(host: str, port: int, asker: object) -> bool:
    """Return whether this asker may send an envelope behind a terminator now.

    The first one that may is finding out until it says `chaining_passed` or `withdraw`.
    """
    server = host, port
    if Fact.NO_CHAINING in _memory.read(server):
        return False
    if server in _chained and server not in _askers:
        return True
    with _lock:
        askers = _askers.get(server, set())
        if askers - {asker}:
            return False
        if server not in _chained:
            _askers[server] = {asker}
        return True


def chaining_passed(host: str, port: int, asker: object) -> None:
    """A chained envelope was taken as it should be."""
    with _lock:
        _chained.add((host, port))
        _forget_asker((host, port), asker)


def question_chaining(host: str, port: int, asker: object) -> None:
    """Let one asker find out again; other connections do not chain until it has."""
    with _lock:
        _askers.setdefault((host, port), set()).add(asker)


def withdraw(host: str, port: int, asker: object) -> None:
    """The asker finds nothing out any more."""
    with _lock:
        _forget_asker((host, port), asker)


def _forget_asker(server: Server, asker: object) -> None:
    askers = _askers.get(server)
    if askers is not None:
        askers.discard(asker)
        if not askers:
            del _askers[server]


@dataclass(frozen=True, slots=True)
class _Question:
    job: "Job"
    event: "NotAsked"


class Trial:
    """One stream of jobs' part in finding out, over all its connections. Close it in the end."""

    def __init__(self, options: "ConnectionOptions") -> None:
        self._options = options
        self._server = options.host, options.port
        self._is_asking = False
        self._questions: dict[int, _Question] = {}  # by the id of the job, which is kept alive here

    def may_chain(self) -> bool:
        """Return whether an envelope may be sent behind the terminator that is being sent."""
        if self._options.chaining is not True:
            if self._options.chaining is False or not may_chain(*self._server, self):
                return False
            self._is_asking = True
        return True

    def goes_alone(self, job: "Job") -> bool:
        """Return whether the job must not be chained: it was, and was not asked; or it wants a new connection."""
        return job.is_repeat or id(job) in self._questions

    def flights_are_lost(self) -> bool:
        """Return whether the server closed the connection on messages in flight."""
        return of(*self._server).loses_flights

    def flight_was_lost(self) -> None:
        """A message in flight became unknown."""
        learn_flights_are_lost(*self._server)

    def passed(self) -> None:
        """A chained envelope got its 354."""
        if self._is_asking:
            self._is_asking = False
            chaining_passed(*self._server, self)

    def not_asked(self, job: "Job", event: "NotAsked") -> None:
        """A chained envelope came to nothing."""
        if event.counts_at_once:
            self._blame()
        self._questions[id(job)] = _Question(job, event)
        if self._options.chaining == "auto":
            question_chaining(*self._server, self)
            self._is_asking = True

    def blame(self) -> None:
        """The final reply itself complained about what stood behind the terminator."""
        self._blame()

    def is_wanted(self, job: "Job") -> None:
        """The job's content is wanted, now that it was asked by itself."""
        question = self._questions.pop(id(job), None)
        if question is not None:
            if question.event.is_telling:
                self._blame()
            self._withdraw()

    def concluded(self, transaction: "Transaction") -> None:
        """The job's story is told."""
        if not self._questions:
            return
        question = self._questions.pop(id(transaction.job), None)
        if question is None:
            return
        codes = {result.reply.code for result in transaction.results.values() if result.reply is not None}
        before = question.event.failure.reply
        if codes and question.event.is_telling and (before is None or before.code not in codes):
            self._blame()
        self._withdraw()

    def close(self) -> None:
        """End the trial: nothing more is found out by it."""
        self._questions.clear()
        self._withdraw()

    def _blame(self) -> None:
        learn_chaining_is_mishandled(*self._server)

    def _withdraw(self) -> None:
        if self._is_asking and not self._questions:
            self._is_asking = False
            withdraw(*self._server, self)


def reset() -> None:
    """Forget everything."""
    with _lock:
        _memory.clear()
        _chained.clear()
        _askers.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _askers.clear()  # they are the parent's


remember(__name__, after_fork=_after_fork, reset=reset)
