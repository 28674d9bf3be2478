"""What is remembered of routes between sends: the protocol, and which implementation is used.

State is shared by all processes where the app's tables are there, else it lives in the process. It is never written
or read inside a caller's transaction (a rollback would undo it, a row lock would queue every request behind it), so an
implementation answers from what the process knows and writes later; it never raises.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from reliable_email.classification import Failure
from reliable_email.delivery.breaker import BreakerState, Permission
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.submission import Priority
from reliable_email.process_state import remember


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEvent:
    """What happened on a route: the input of the state machine, also after the fact.

    Attributes:
        failure: None for a success.
        effect: the policy's word on the failure.
        sender_domain: of the message.
        receivers: domains of the recipients whose receiver refused the sender, for `CLOSE_SENDER_THERE`.
        recipients: how many of the transaction were accepted.
        message_bytes: size of the message, for `LEARN_SIZE`.
        opening: the `number` of the route's state when the transaction began; None for the one that it has now.
    """

    failure: Failure | None
    effect: Effect = Effect.NONE
    sender_domain: str = ""
    receivers: frozenset[str] = frozenset()
    recipients: int = 0
    message_bytes: int = 0
    opening: int | None = None


class RouteStateStore(Protocol):
    """See the module. Every method is quick, thread-safe, and raises nothing."""

    def now(self) -> float:
        """Seconds of the clock by which the states' instants are meant; the database's where it is shared."""

    def read(self, route: Route) -> BreakerState:
        """The route's state, at most a second old."""

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """Whether a message may go; PROBE is given to one caller alone, who then holds the probe."""

    def begin_standby_probe(self, route: Route, *, every_seconds: float) -> bool:
        """Take the turn to probe the route without a message; True for one caller alone, who then does and tells."""

    def hurry(self, route: Route) -> None:
        """Mail waits for the route, which nothing else could take: let it be probed within a minute, where it may."""

    def tell(self, route: Route, event: RouteEvent) -> None:
        """Note what happened."""

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """Take so many recipients from the route's quotas; False, and nothing is taken, where they do not fit."""

    def room(self, route: Route, *, priority: Priority) -> int | None:
        """How many recipients still fit into the route's quotas, so that envelopes can be cut; None for no limit."""

    def goes_on_at(self, route: Route, *, priority: Priority) -> float | None:
        """When it may take a message again that it may not take now, by its clock; None where nobody knows."""

    def settle(self, route: Route, *, reserved: int, used: int, reserved_at: float) -> None:
        """Give back what was reserved at that moment of its clock, and not used."""

    def flush(self) -> None:
        """Write what was noted where it could not be written at once."""


class _Restraint(threading.local):
    """What this thread may ask the database for.

    Attributes:
        reads_nothing: it may ask for no route.
        writes_nothing: it may not write what it knows of routes.
    """

    reads_nothing = False
    writes_nothing = False


restraint = _Restraint()
remember(__name__, after_fork=restraint.__dict__.clear)  # whatever the thread that forked was, its child is none such


@contextmanager
def answering_from_memory() -> Iterator[None]:
    """Let this thread ask no database for routes: it answers by what the process knows, and notes what it is told.

    For a thread that many wait for, such as the one that drives a worker's connections. Whoever uses it sees to it that
    other threads read now and then, and flush.
    """
    before = restraint.reads_nothing, restraint.writes_nothing
    restraint.reads_nothing = restraint.writes_nothing = True
    try:
        yield
    finally:
        restraint.reads_nothing, restraint.writes_nothing = before


@contextmanager
def writing_nothing() -> Iterator[None]:
    """Let this thread read routes and write none: a row that somebody holds must not hold up whoever reads."""
    before = restraint.writes_nothing
    restraint.writes_nothing = True
    try:
        yield
    finally:
        restraint.writes_nothing = before
