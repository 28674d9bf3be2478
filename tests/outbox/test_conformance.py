"""The SQL does what the table of transitions says: each event on each state, with and without claim, lease and doubt.

The table itself is searched for all interleavings in `test_transitions`; here it is the judge of the statements.
"""

from collections.abc import Iterator
from itertools import product

import pytest

from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.operations.operate import Resolution
from reliable_email.outbox.operations.provider_events import Noted, Report, note_report
from reliable_email.outbox.rows.claim import Claimed, Wanted, claim
from reliable_email.outbox.rows.journal import Intent, commit
from reliable_email.outbox.rows.rescue import RescuePolicy, rescue
from reliable_email.outbox.rows.settle import Evidence, Settlement
from reliable_email.outbox.rows.transitions import LATE, RULES, Delivery, Event, Guard, apply
from reliable_email.store.questions.filters import Filter
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.events import EventKind
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank, State
from tests.outbox.acts import cancel, hold, requeue, resolve
from tests.outbox.desk import queue, row

MINE, OTHER = 7, 8
HOLDERS = [event for event, rule in RULES.items() if rule.guard is Guard.HOLDS_CLAIM and "late" not in event]


def put(using: str, delivery: Delivery, *, is_lease_live: bool) -> OutboxRecipient:
    """Make the only row this one."""
    in_hand = delivery.state.is_in_hand
    is_due = delivery.state is State.QUEUED or delivery.is_resend_due
    OutboxRecipient.objects.using(using).update(
        state=delivery.state,
        claim=delivery.claim,
        unknowns=delivery.unknowns,
        crashes=0,
        lease_until=DatabaseNow(60 if is_lease_live else -60) if in_hand else None,
        due_at=DatabaseNow(-1) if is_due else None,
        authorized_at=DatabaseNow() if delivery.state is State.AUTHORIZED else None,
        authorized_route="route" if delivery.state is State.AUTHORIZED else "",
    )
    return row(using)


def read(using: str) -> Delivery:
    """The row as the rules see it."""
    one = row(using)
    return Delivery(
        state=State(one.state),
        claim=one.claim,
        unknowns=one.unknowns,
        is_resend_due=one.state == State.UNKNOWN and one.due_at is not None,
    )


def deliveries(claim_number: int) -> Iterator[Delivery]:
    """Every row that can be: an unknown one is always in doubt, and one that is final without doubt never is."""
    for state, unknowns, due in product(State, (0, 1), (False, True)):
        if state is State.UNKNOWN and not unknowns:
            continue
        if unknowns and state not in (State.UNKNOWN, State.CLAIMED, State.AUTHORIZED, State.ACCEPTED):
            continue
        if due and state is not State.UNKNOWN:
            continue
        yield Delivery(state=state, claim=claim_number, unknowns=unknowns, is_resend_due=due)


def in_hand(one: OutboxRecipient, believed: Delivery) -> Claimed:
    """What a worker holds, or thinks that it holds."""
    return Claimed(
        id=one.pk,
        message_id=one.message_id,
        position=0,
        address=one.address,
        mailer=one.mailer,
        priority=PriorityRank.NORMAL,
        attempts=0,
        crashes=0,
        pinned_route="",
        refused_by=[],
        is_over=False,
        delivery=believed,
    )


@pytest.mark.parametrize("event", HOLDERS)
def test_a_holders_write(using: str, event: Event) -> None:
    """As the rule says, or as the rule for a late reply says, or not at all."""
    queue(using)
    for number, live, resend in product((MINE, OTHER), (True, False), (True, False)):
        for before in deliveries(number):
            for believed_state in (State.CLAIMED, State.AUTHORIZED):
                if before.state.is_in_hand and believed_state is not before.state and number == MINE:
                    continue  # the holder of a live claim knows what it has done
                if event in (Event.ACCEPT, Event.LOSE) and believed_state is State.CLAIMED:
                    continue  # without a permission nothing can be taken, and nothing lost
                one = put(using, before, is_lease_live=live)
                doubts = before.unknowns - (before.state is State.UNKNOWN)
                believed = Delivery(state=believed_state, claim=MINE, unknowns=doubts)
                late = LATE.get(event)
                expected = apply(before, event, claim=MINE, resend=resend)
                if expected is None and late is not None:
                    expected = apply(before, late, claim=MINE)
                settlement = Settlement(claimed=in_hand(one, believed), event=event, evidence=Evidence(), resend=resend)
                written = commit(using, settlements=[settlement], keyring=Keyring())
                assert read(using) == (expected or before), (before, believed, event)
                assert written.settled == [expected is not None]


def test_the_permission(using: str) -> None:
    """Only to the holder, only from claimed, only while the lease is live."""
    queue(using)
    for number, live in product((MINE, OTHER), (True, False)):
        for before in deliveries(number):
            one = put(using, before, is_lease_live=live)
            believed = Delivery(state=State.CLAIMED, claim=MINE, unknowns=before.unknowns)
            expected = apply(before, Event.AUTHORIZE, claim=MINE, is_lease_live=live and before.state.is_in_hand)
            written = commit(
                using, intents=[Intent(recipients=[in_hand(one, believed)], route="route")], keyring=Keyring()
            )
            assert written.permitted == [expected is not None], before
            assert read(using) == (expected or before)


def test_a_claim(using: str) -> None:
    """What is queued, and what is unknown and due again."""
    queue(using)
    for before in deliveries(MINE):
        put(using, before, is_lease_live=True)
        taken = claim(using, Wanted(environment=""), worker="w", limit=5, lease_seconds=60)
        expected = apply(before, Event.CLAIM, claim=taken.number)
        assert read(using) == (expected or before)
        assert [one.delivery for one in taken.rows] == ([expected] if expected else [])


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_rescue(using: str, policy: OnUnknown) -> None:
    """What is in hand, when its lease is over; the journal decides what becomes of it."""
    queue(using, on_unknown=policy)
    for live, crash_limit in product((True, False), (1, 5)):
        for before in deliveries(MINE):
            put(using, before, is_lease_live=live)
            sent = before.state is State.AUTHORIZED
            unsent = Event.RESCUE_POISON if crash_limit == 1 else Event.RESCUE_UNSENT
            expected = apply(
                before,
                Event.RESCUE_SENT if sent else unsent,
                is_lease_live=live,
                resend=policy is OnUnknown.RESEND,
            )
            rescue(using, RescuePolicy(environment="", worker="r", crash_limit=crash_limit))
            assert read(using) == (expected or before)


@pytest.mark.parametrize(
    ("event", "act"),
    [
        (Event.CANCEL, lambda using: cancel(Filter(), actor="a", using=using)),
        (Event.HOLD, lambda using: hold(Filter(), actor="a", using=using)),
        (Event.REQUEUE, lambda using: requeue(Filter(), actor="a", using=using)),
        (Event.RESOLVE_ACCEPTED, lambda using: resolve(Filter(), Resolution.ACCEPTED, actor="a", using=using)),
        (Event.RESOLVE_REJECTED, lambda using: resolve(Filter(), Resolution.REJECTED, actor="a", using=using)),
        (Event.RESOLVE_RESEND, lambda using: resolve(Filter(), Resolution.RESEND, actor="a", using=using)),
    ],
)
def test_what_a_person_does(using: str, event: Event, act: object) -> None:
    """From the states from which it is allowed, and from no other."""
    queue(using)
    for before in deliveries(MINE):
        put(using, before, is_lease_live=True)
        expected = apply(before, event)
        count = act(using)  # type: ignore[operator]
        # Of a doubt without a resend, a hold or a cancel changes the mark of an earlier hold at most.
        is_moot = before.state is State.UNKNOWN and expected == before
        assert count in ({0, 1} if is_moot else {expected is not None})
        assert read(using) == (expected or before), before


@pytest.mark.parametrize(
    ("event", "kind"), [(Event.REPORT_TAKEN, EventKind.DELIVERED), (Event.REPORT_REFUSED, EventKind.BOUNCED)]
)
def test_what_a_provider_reports(using: str, event: Event, kind: EventKind) -> None:
    """Only where there is a doubt, and never against a permission that was given."""
    message = queue(using)
    for number, before in enumerate(deliveries(MINE)):
        one = put(using, before, is_lease_live=True)
        expected = apply(before, event)
        report = Report(
            names=[message.message_id], recipient=one.address, kind=kind, source="a provider", event_id=str(number)
        )
        assert note_report(report, using) == Noted(is_known=True, is_new=True, has_settled=expected is not None)
        assert read(using) == (expected or before), before


def test_every_event_is_tried_here() -> None:
    """But those that the others stand for: late replies, and expiry, which a claim finds out."""
    tried = {
        *HOLDERS,
        Event.AUTHORIZE,
        Event.CLAIM,
        Event.RESCUE_SENT,
        Event.RESCUE_UNSENT,
        Event.RESCUE_POISON,
        Event.CANCEL,
        Event.HOLD,
        Event.REQUEUE,
        Event.RESOLVE_ACCEPTED,
        Event.RESOLVE_REJECTED,
        Event.RESOLVE_RESEND,
        Event.REPORT_TAKEN,
        Event.REPORT_REFUSED,
        *LATE.values(),
        Event.EXPIRE,
    }
    assert tried == set(Event)


def test_a_permission_for_several_is_for_all_or_none(using: str) -> None:
    """The server would deliver to all that it took: one that was cancelled in between withholds the others too."""
    queue(using, "ok1@example.com", "ok2@example.com")
    taken = claim(using, Wanted(environment=""), worker="w", limit=5, lease_seconds=60)
    OutboxRecipient.objects.using(using).filter(pk=taken.rows[0].id).update(state=State.CANCELLED, lease_until=None)
    written = commit(using, intents=[Intent(recipients=taken.rows, route="route")], keyring=Keyring())
    assert written.permitted == [False]
    left = OutboxRecipient.objects.using(using).get(pk=taken.rows[1].id)
    assert (left.state, left.authorized_at, left.authorized_route) == (State.CLAIMED, None, "")


def test_a_claim_takes_its_number_of_rows_in_order(using: str) -> None:
    """By priority, then by time, then by number; and the lease ends when it should."""
    for n in range(5):
        queue(using, f"ok{n}@example.com")
    taken = claim(using, Wanted(environment=""), worker="w", limit=3, lease_seconds=60)
    assert [one.address for one in taken.rows] == ["ok0@example.com", "ok1@example.com", "ok2@example.com"]
    held = OutboxRecipient.objects.using(using).exclude(lease_until=None)
    assert held.count() == 3
    assert held.filter(lease_until__gt=DatabaseNow(50), lease_until__lt=DatabaseNow(61)).count() == 3
