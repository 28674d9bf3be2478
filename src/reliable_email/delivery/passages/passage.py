"""One message's way over its routes: the next route to ask, and the meaning of each answer for each recipient. Pure.

This is the only place that chooses, splits, admits, follows and tells, for a direct send and for the queue alike. The
doors drive it (`delivery.direct`, `outbox.worker.batch`): they ask `next_sends`, hand the jobs to the routes'
transports, and give every transaction to `take`. When nothing is left to ask, `close` says what becomes of
whoever is still open.

Rules that no answer passes:

1. A recipient that was accepted, or may have been, is never offered to another route.
2. `rejected` rests on proof (P7): a reply to this recipient's own RCPT, a reply to this message that no other route
   contradicts, an API's documented answer, or our own certain knowledge. Everything else is the route's matter.
3. A cause that is a recipient's, said to an envelope of several, is asked of each recipient alone first.
4. A route that was left alone (closed, without quota, not buildable) costs the message no attempt.
5. A recipient that waits for one route (greylisting, a full mailbox) waits only while that route can be asked.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import assert_never

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.passages.admission import Admission
from reliable_email.delivery.passages.judging import calls_for_person, failure_of, judge, says_later
from reliable_email.delivery.passages.progress import (
    NOBODY,
    UNABLE,
    Fate,
    Manner,
    Progress,
    Send,
    is_own,
    is_withheld,
    note_not_asked,
    noted,
    outcome_of,
    receivers_of,
    standing_alone,
    told_by,
    why_nobody_else,
)
from reliable_email.delivery.policy import Decision, Effect, Step
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore
from reliable_email.delivery.words import OnUnknown, Outcome, Priority
from reliable_email.smtp.transaction import RecipientResult, Transaction, Verdict


class Passage:
    """One message's way over its routes.

    Args:
        recipients: each once.
        routes: in order of preference, each once; at least one.
        memory: what is known of them.
        from_domain: of the message's From header.
        size: of its content, in bytes.
        priority: for quotas.
        on_unknown: the message's own wish.
        said: what routes said a moment ago, by alias, shared by the passages of one batch.

    It is long because who is asked next and what an answer means rest on the same memory of each recipient: in two
    classes, rule 1 would have to hold between them.
    """

    __slots__ = ("_admission", "_ended", "_manner", "_on_unknown", "key", "recipients", "routes")

    def __init__(
        self,
        recipients: Sequence[Progress],
        routes: Sequence[Route],
        memory: RouteStateStore,
        manner: Manner,
        *,
        from_domain: str,
        size: int,
        priority: Priority,
        on_unknown: OnUnknown | None,
        said: dict[str, Failure],
        key: object = None,
    ) -> None:
        self.recipients = recipients
        self.routes = routes
        self.key = key
        self._manner = manner
        self._on_unknown = on_unknown
        is_lone = len(routes) == 1 and manner.asks_a_lone_route
        self._admission = Admission(memory, is_lone, from_domain, size, priority, said, manner.reserves)
        self._ended: list[Progress] = []  # without a transaction

    # Choosing.

    @property
    def open(self) -> list[Progress]:
        """The recipients for whom something may still be tried."""
        return [one for one in self.recipients if one.fate is Fate.OPEN]

    def begin_round(self) -> None:
        """Let every route be asked again that may be."""
        for one in self.recipients:
            one.asked = NOBODY

    def may_ask_again(self) -> bool:
        """Return whether another round could ask any route."""
        return any(
            route.alias not in one.left_out and self._is_candidate(route, one)
            for one in self.open
            for route in self.routes
        )

    def next_sends(self) -> list[Send]:
        """Say who is asked next: each open recipient by the first route that is left to it in this round.

        Routes that cannot be asked are passed over at once; empty where nobody is left to ask.
        """
        # It ends: whoever cannot be admitted has that route among its `asked`, and is chosen for another one or none.
        while chosen := self._chosen():
            sends = []
            for route, recipients in chosen:
                for part in self._admission.parts(route, recipients):
                    send = self._admit(route, part)
                    if send is not None:
                        sends.append(send)
            if sends:
                return sends
        return []

    def _chosen(self) -> list[tuple[Route, list[Progress]]]:
        chosen: dict[str, tuple[Route, list[Progress]]] = {}
        for one in self.recipients:
            if one.fate is Fate.OPEN:
                route = self._choose(one)
                if route is not None:
                    chosen.setdefault(route.alias, (route, []))[1].append(one)
        return list(chosen.values())

    def _choose(self, one: Progress) -> Route | None:
        for route in self.routes:
            if one.again_on:  # this route alone: by the next one, what a second word settles would become a failover
                if route.alias == one.again_on:
                    return route
            elif route.alias not in one.asked and self._is_candidate(route, one):
                return route
        if one.again_on:
            one.again_on = ""
            return self._choose(one)
        if one.pin and not one.is_doubted and one.is_pin_over(self.routes):
            one.pin = ""
            return self._choose(one)
        if one.may_stand:
            return next((route for route in self.routes if one.may_stand_by(route.alias)), None)
        return None

    def _is_candidate(self, route: Route, one: Progress) -> bool:
        return one.may_try(route.alias, most=1 if self._manner.waits else route.max_attempts)

    # Admitting.

    def _admit(self, route: Route, part: tuple[Progress, ...]) -> Send | None:
        """Let an envelope in, where the route can be asked; where it cannot, that costs no attempt."""
        alias, admission = route.alias, self._admission
        is_again = any(one.again_on for one in part)
        for one in part:
            one.asked |= {alias}
            one.again_on = ""  # also where the route cannot be asked: else it would be chosen for ever
        if route.build_error:
            self._pass_over(route, part, local_failure(Cause.CANNOT_BE_BUILT, route.build_error))
            return None
        too_large = admission.too_large(route)
        if too_large is not None:
            for one in part:
                note_not_asked(one, route, too_large)
                self._cannot_carry(route, one, too_large)
                if one.fate is not Fate.OPEN:
                    self._ended.append(one)
            return None
        refusing = admission.refusing(route, part)
        if refusing:
            for one, failure in refusing:
                self._pass_over(route, [one], failure, needs_person=True)
            left_out = [one for one, _ in refusing]
            part = tuple(one for one in part if one not in left_out)
            if not part:
                return None
        # The quota is cut to size before `enter`, which reserves all or nothing; and behind `refusing`, so that nothing
        # is taken for those who do not go.
        room = admission.room(route, len(part))
        if room < len(part):
            self._pass_over(route, part[room:], admission.no_quota(route))
            part = part[:room]
        entered = admission.enter(route, len(part))
        if isinstance(entered, Failure):
            self._pass_over(route, part, entered, needs_person=admission.refuses_sender(route))
            return None
        for one in part:
            if alias in one.left_out:  # an earlier round's; whoever is asked now was not left alone (rule 4)
                one.left_out -= {alias}
        return Send(
            passage=self,
            route=route,
            recipients=part,
            reserved=entered.reserved,
            reserved_at=admission.memory.now() if entered.reserved else 0.0,
            is_probe=entered.is_probe,
            opening=entered.opening,
            is_repeat=is_again or any(one.wants_fresh(alias) for one in part),
            is_alone=is_again,
            may_resend=self.may_resend(route),
        )

    def may_still_go(self, send: Send) -> bool:
        """Ask once more before a job's turn in a stream: what came before it may have closed the route.

        Where it may not go, it is withdrawn, and its recipients look for another route.
        """
        closed = self._admission.closed_meanwhile(send)
        if closed is not None:
            self.withdraw(send)
            self._pass_over(send.route, send.recipients, closed)
        return closed is None

    def withdraw(self, send: Send) -> None:
        """Take back an envelope that was not handed over."""
        self._admission.leave(send, used=0)

    def may_resend(self, route: Route) -> bool:
        """Return whether a second copy may follow an unknown outcome: by the provider's or the message's policy."""
        wish = self._on_unknown or route.on_unknown
        return route.idempotency_header is not None or wish is OnUnknown.RESEND

    def _pass_over(
        self, route: Route, recipients: Sequence[Progress], failure: Failure, *, needs_person: bool = False
    ) -> None:
        for one in recipients:
            one.left_out |= {route.alias}
            if needs_person:
                one.held_by |= {route.alias}
            else:
                one.may_come_back |= {route.alias}
            note_not_asked(one, route, failure)

    # Following.

    def refuse_early(self, send: Send, refused: Mapping[str, RecipientResult], *, now: datetime) -> list[Progress]:
        """Take what was refused at RCPT, before the others are permitted: so that a crash makes none of it unknown."""
        taken = []
        for one in send.recipients:
            result = refused.get(one.address)
            if result is not None and one.address not in send.outcomes:
                found = self._take_one(send, one, result, shared=1, now=now)
                taken.append(one)
                if found is None or found[1].effect is Effect.NONE:
                    continue
                if found[1].effect is Effect.CLOSE_SENDER_THERE:
                    send.refused_at = receivers_of([(one, result)])
                if found[1].effect is Effect.LEARN_RECIPIENTS:
                    send.left_out_by = found  # the limit is how many were taken, which the end will show
                else:
                    send.is_marked = True
                    self._admission.tell_failure(send, *found, accepted=0)
        return taken

    def take(self, send: Send, transaction: Transaction, *, now: datetime) -> list[Progress]:
        """Take a finished transaction; those whose fate or way it has changed. A second time changes nothing."""
        if send.is_taken:  # a transport may tell twice: with an `Ask`, and at its end
            return []
        send.is_taken = True
        told = told_by(transaction, send.recipients)
        # How many share one reply: what was said at RCPT is each recipient's own.
        shared = sum(not is_own(result) for result in told)
        taken: list[Progress] = []
        worst = send.left_out_by
        refused_there = []
        used = 0
        for one, result in zip(send.recipients, told, strict=True):
            used += result.verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN)  # the provider may have counted it
            if one.address in send.outcomes:
                continue  # taken at RCPT, by `refuse_early`
            found = self._take_one(send, one, result, shared=shared, now=now)
            taken.append(one)
            if found is not None and found[1].effect is Effect.CLOSE_SENDER_THERE:
                refused_there.append((one, result))
            if found is not None and (worst is None or worst[1].effect is Effect.NONE):
                worst = found
        send.refused_at = receivers_of(refused_there)
        # The quota first: a failure may close the route below, and what was not used is free for others either way.
        self._admission.leave(send, used=used)
        if not is_withheld(transaction):
            self._admission.tell(send, worst, transaction)
        return taken

    def lose(self, send: Send, addresses: Collection[str], failure: Failure) -> None:
        """Make the outcome unknown for addresses whose message was handed over and whose reply will not be read."""
        for one in send.recipients:
            # Only the open ones: whoever was refused or taken before the loss has an answer that stands.
            if one.fate is Fate.OPEN and one.address in addresses:
                one.is_doubted, one.route, one.failure = True, send.route.alias, failure
                one.fate = Fate.UNKNOWN

    def _take_one(
        self, send: Send, one: Progress, result: RecipientResult, *, shared: int, now: datetime
    ) -> tuple[Failure, Decision] | None:
        route = send.route
        one.attempts += 1
        one.tries[route.alias] = one.tries.get(route.alias, 0) + 1
        one.route, one.result = route.alias, result
        if result.verdict is Verdict.ACCEPTED:
            send.outcomes[one.address] = self._accept(route, one)
            return None
        failure = failure_of(route, result, sender_domain=self._admission.from_domain, now=now)
        decision = judge(send, one, failure, result, shared=shared)
        one.failure = failure
        send.failures[one.address] = failure
        self._admission.said[route.alias] = failure
        one.spends_attempt |= decision.spends_attempt
        # What was said is noted above and followed now: a step may replace `one.failure` by a better reason.
        self._follow(send, one, failure, decision)
        send.outcomes[one.address] = outcome_of(one, result)
        return failure, decision

    def _accept(self, route: Route, one: Progress) -> Outcome:
        one.spends_attempt = True
        if route.delivers:
            one.fate, one.failure = Fate.ACCEPTED, None
            return Outcome.ACCEPTED
        # What a console has printed has reached nobody.
        one.failure = local_failure(Cause.ROUTE_CLOSED, f"{route.alias} only shows messages, it delivers none")
        one.fate = Fate.LATER
        return Outcome.DEFERRED

    def _follow(self, send: Send, one: Progress, failure: Failure, decision: Decision) -> None:
        """Do what was decided with one recipient."""
        route = send.route
        match decision.step:
            case Step.REJECT:
                one.fate = Fate.REJECTED
            case Step.STOP:
                one.fate = Fate.RELEASED
            case Step.PARK:
                one.fate = Fate.PARKED
            case Step.HOLD:
                self._hold(route, one)
            case Step.SAME_ROUTE_LATER:
                one.was_answered = one.standing is not None
                one.pin = route.alias
                if self._manner.waits:
                    one.fate = Fate.LATER
            case Step.SPLIT:
                self._split(send, one)
            case Step.EACH_ALONE:
                one.is_alone = True
                one.ask_at_once(route.alias)
            case Step.ONCE_MORE_ALONE:
                one.conversed |= {route.alias}
                one.again_on = route.alias
                one.ask_at_once(route.alias)
            case Step.ONE_OTHER_ROUTE:
                self._ask_one_other(route, one, failure)
            case Step.ROOMIER_ROUTE:
                self._cannot_carry(route, one, failure)
            case Step.OTHER_ROUTE | Step.ANY_ROUTE:
                self._leave(route, one, failure, decision)
            case _:
                assert_never(decision.step)

    def _hold(self, route: Route, one: Progress) -> None:
        one.is_doubted = True
        one.pin = route.alias  # by another route, a second copy would be certain where this one has the first (P2)
        one.may_resend = self.may_resend(route)
        if self._manner.waits or not one.may_resend:
            one.fate = Fate.UNKNOWN

    def _leave(self, route: Route, one: Progress, failure: Failure, decision: Decision) -> None:
        """The route's matter: the next one is asked at once."""
        alias = route.alias
        if calls_for_person(failure):
            one.held_by |= {alias}
        else:
            one.may_come_back |= {alias}
        if decision.step is Step.OTHER_ROUTE or not decision.retries_directly:
            one.excluded |= {alias}
        if one.standing is not None and says_later(failure):
            one.was_answered = True
        if not one.is_doubted:
            one.pin = ""  # the wait that began here cannot end here

    def _split(self, send: Send, one: Progress) -> None:
        """Too many in one envelope: at once again, with those alone that were left out."""
        alias = send.route.alias
        if Outcome.ACCEPTED not in send.outcomes.values():
            self._admission.halves[alias] = max(1, len(send.recipients) // 2)
        one.ask_at_once(alias)

    def _ask_one_other(self, route: Route, one: Progress, failure: Failure) -> None:
        """One other route is asked before it ends; where none is there, or one has refused it too, it ends."""
        # Asked before this route is noted: else its own refusal would be the second opinion on itself (rule 2).
        already = any(one.has_refused(other.alias) for other in self.routes)
        one.notes = noted(one.notes, route.alias)
        if already or not one.routes_left(self.routes):
            if one.may_stand and not one.standing:
                failure = standing_alone(failure, why_nobody_else(one, self.routes))
            one.failure, one.fate = failure, Fate.REJECTED
            return
        one.standing = one.standing or failure
        if not one.is_doubted:
            one.pin = ""

    def _cannot_carry(self, route: Route, one: Progress, failure: Failure) -> None:
        one.notes = noted(one.notes, UNABLE + route.alias)
        if not one.routes_left(self.routes):
            one.failure, one.fate = one.standing or failure, Fate.REJECTED
        elif not one.is_doubted:
            one.pin = ""

    # Ending.

    def ended_unasked(self) -> list[Progress]:
        """Return, once, the recipients whose fate was decided without asking a route."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> list[Progress]:
        """Say what becomes of those for whom no route is left in this passage."""
        ended = self.open
        for one in ended:
            self._end(one)
        return ended

    def _end(self, one: Progress) -> None:
        # Doubt before all else: with a copy out there by a route that is gone, none of the others may have it (rule 1).
        if one.is_doubted and one.pin and all(route.alias != one.pin for route in self.routes):
            detail = f"the route {one.pin}, which may have sent it, is there no more"
            one.failure = local_failure(Cause.OUTCOME_UNKNOWN, detail)
            one.fate = Fate.PARKED if self._manner.waits else Fate.UNKNOWN
            return
        if self._manner.waits:
            one.fate = Fate.PARKED if one.held_by and not one.may_come_back else Fate.LATER
            for route in self.routes:
                if route.alias in one.left_out:
                    self._admission.memory.hurry(route)  # mail waits for it
        elif one.standing is not None and not one.was_answered:
            one.failure = standing_alone(one.standing, why_nobody_else(one, self.routes))
            one.fate = Fate.REJECTED
