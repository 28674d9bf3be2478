"""The decision whether a message may use a route now, and the notes to the route's memory afterwards. Pure."""

from collections.abc import Iterator, Sequence

from reliable_email.classification import Cause, Failure
from reliable_email.delivery import breaker
from reliable_email.delivery.breaker import Permission
from reliable_email.delivery.failures import closed_failure, closed_there_failure, local_failure
from reliable_email.delivery.passages.progress import Progress, Send, domain_of
from reliable_email.delivery.policy import Decision, Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent, RouteStateStore
from reliable_email.delivery.words import Priority
from reliable_email.records import dataclass, field, record
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Transaction, Verdict

_HEARD = frozenset({Stage.RCPT, Stage.DATA, Stage.CONTENT, Stage.FINAL_REPLY})


@record(frozen=True, slots=True)
class Pass:
    """A route's permission for one envelope; see `Send` for the fields."""

    reserved: int
    is_probe: bool
    opening: int


@dataclass(slots=True, eq=False)
class Admission:
    """One message's dealings with the memory of its routes.

    Attributes:
        is_lone: the route is asked although its breaker or quota says no. A breaker is there to find another way; where
            there is none, only a refused password or a person stops a direct send.
        from_domain: of the message's From header.
        size: of its content, in bytes.
        reserves: see `Manner`.
        said: what routes said a moment ago, by alias, shared by the messages of one batch.
        halves: by alias: the most recipients to ask a route for at once, where it refused more of this message's.
    """

    memory: RouteStateStore
    is_lone: bool
    from_domain: str
    size: int
    priority: Priority
    said: dict[str, Failure]
    reserves: bool
    halves: dict[str, int] = field(default_factory=dict)

    def parts(self, route: Route, recipients: list[Progress]) -> Iterator[tuple[Progress, ...]]:
        """Recipients in envelopes of the size that the route takes, as documented or as learned."""
        alone = [one for one in recipients if one.is_alone]
        again = [one for one in recipients if one.again_on and not one.is_alone]
        others = recipients if not (alone or again) else [r for r in recipients if not (r.is_alone or r.again_on)]
        for one in alone:
            yield (one,)
        for group in (again, others):
            if group:
                count = len(group)
                size = 1 if count == 1 else self._envelope(route, count)
                for start in range(0, len(group), size):
                    yield tuple(group[start : start + size])

    def _envelope(self, route: Route, count: int) -> int:
        learned = breaker.max_recipients(self.memory.read(route), now=self.memory.now())
        limits = (route.max_recipients, learned, self.halves.get(route.alias))
        return min((limit for limit in limits if limit), default=count)

    def too_large(self, route: Route) -> Failure | None:
        """Say why the route takes no message of this size, as documented or as learned."""
        learned = breaker.max_message_bytes(self.memory.read(route), now=self.memory.now())
        limit = min((one for one in (route.max_message_bytes, learned) if one is not None), default=None)
        if limit is None or self.size <= limit:
            return None
        detail = f"the message has {self.size:,} bytes, {route.alias} takes at most {limit:,}"
        return local_failure(Cause.MESSAGE_TOO_LARGE, detail)

    def room(self, route: Route, count: int) -> int:
        """Return how many of so many recipients fit into what is left of the route's quotas; all where none do."""
        if not route.quotas or self.is_lone or count == 1:
            return count
        return min(self.memory.room(route, priority=self.priority) or count, count)

    def refuses_sender(self, route: Route) -> bool:
        """Return whether the route is closed for this sender until an operator corrects the sender's setup."""
        return not self.is_lone and breaker.is_sender_closed(
            self.memory.read(route), self.from_domain, now=self.memory.now()
        )

    def refusing(self, route: Route, part: Sequence[Progress]) -> list[tuple[Progress, Failure]]:
        """Return those whose receivers refuse this sender by the route, each with the words for it."""
        state = self.memory.read(route)
        if self.is_lone or not state.closed_senders:
            return []
        now, sender = self.memory.now(), self.from_domain
        found = [(one, domain_of(one)) for one in part]
        return [
            (one, closed_there_failure(route, sender_domain=sender, receiver=domain))
            for one, domain in found
            if breaker.is_sender_closed(state, sender, now=now, receiver=domain)
        ]

    @staticmethod
    def no_quota(route: Route) -> Failure:
        """Say that the quota is used up."""
        return local_failure(Cause.QUOTA_EXCEEDED, f"the quota of {route.alias} is used up for now")

    def enter(self, route: Route, count: int) -> Pass | Failure:
        """Ask quota and breaker for so many recipients; a failure says why not, and nothing is reserved then."""
        # The quota first: whoever is given the only probe and then stays away keeps the others from it.
        has_room = self._has_room(route, count)
        if not has_room and not self.is_lone:  # alone, the provider itself is asked
            return self.no_quota(route)
        answer = self.memory.ask(route, sender_domain=self.from_domain)
        closed = self._closed_because(route) if answer is Permission.NO else None
        if closed is not None:
            if has_room and self.reserves:
                self.memory.settle(route, reserved=count, used=0, reserved_at=self.memory.now())
            return closed
        reserved = count if route.quotas and has_room and self.reserves else 0
        return Pass(reserved, answer is Permission.PROBE, self.memory.read(route).number)

    def _has_room(self, route: Route, count: int) -> bool:
        if self.reserves:
            return self.memory.reserve(route, count, priority=self.priority)
        room = self.memory.room(route, priority=self.priority) if route.quotas else None
        return room is None or room >= count

    def closed_meanwhile(self, send: Send) -> Failure | None:
        """Say why the route is closed now to an envelope that was let in a while ago; None where it may go."""
        route = send.route
        if not self.reserves and not self._has_room(route, 1):
            return self.no_quota(route)
        state = self.memory.read(route)
        send.opening = state.number
        if send.is_probe and state.phase is breaker.Phase.HALF_OPEN:
            return None
        if breaker.permission(state, now=self.memory.now(), sender_domain=self.from_domain) is not Permission.NO:
            return None
        closed = self._closed_because(route)
        known = self.said.get(route.alias)
        # What was said a moment ago, in this very stream, tells more than that the route is closed.
        return known if closed is not None and known is not None and known.cause is state.reason else closed

    def leave(self, send: Send, *, used: int) -> None:
        """Give back what was reserved and not used."""
        if send.reserved:
            self.memory.settle(send.route, reserved=send.reserved, used=used, reserved_at=send.reserved_at)

    def _closed_because(self, route: Route) -> Failure | None:
        """Return the failure that explains why a closed route is not asked; None if it is asked anyway."""
        state = self.memory.read(route)
        if self.is_lone and state.reason is not Cause.AUTH_FAILED and not state.paused_by:
            return None
        return closed_failure(route, state, sender_domain=self.from_domain, now=self.memory.now())

    # Telling.

    def tell(self, send: Send, worst: tuple[Failure, Decision] | None, transaction: Transaction) -> None:
        """Tell the route's memory what came of a transaction: its worst failure, or that the route is alive."""
        accepted = len(transaction.with_verdict(Verdict.ACCEPTED))
        if worst is not None and worst[1].effect is not Effect.NONE:
            if accepted and worst[1].effect is not Effect.COUNT:
                self._tell_success(send)
            self.tell_failure(send, *worst, accepted=accepted)
        elif (accepted or transaction.stage in _HEARD) and not send.is_marked:
            self._tell_success(send)

    def tell_failure(self, send: Send, failure: Failure, decision: Decision, *, accepted: int) -> None:
        """Tell of a failure, with how many recipients the transaction had taken."""
        event = RouteEvent(
            failure=failure,
            effect=decision.effect,
            sender_domain=self.from_domain,
            receivers=send.refused_at,
            recipients=accepted,
            message_bytes=self.size,
            opening=send.opening,
        )
        self.memory.tell(send.route, event)

    def _tell_success(self, send: Send) -> None:
        self.memory.tell(send.route, RouteEvent(failure=None, sender_domain=self.from_domain, opening=send.opening))
