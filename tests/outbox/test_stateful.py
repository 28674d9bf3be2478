"""Any order of queueing, claiming, sending, losing, dying, sleeping, rescuing and meddling, on the real tables.

Two workers are driven step by step through the very functions that lines use. The model is the server's ledger: after
each step the tables must agree with it as far as they claim to know.
"""

import os
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reliable_email import models
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.operations.operate import Resolution
from reliable_email.outbox.rows.claim import Claimed, Wanted, claim
from reliable_email.outbox.rows.journal import Intent, commit
from reliable_email.outbox.rows.rescue import RescuePolicy, rescue
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.rows.transitions import Event
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.filters import Filter
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.acts import cancel, hold, requeue, resolve
from tests.outbox.desk import let_leases_end, let_time_pass, submission

WORKERS = st.sampled_from(["ada", "bob"])
EVIDENCE = Evidence(route="route", stage="final_reply")


@dataclass
class Hand:
    """A message in a worker's hands: its recipients, whether it may send, and what the server said."""

    rows: list[Claimed]
    is_permitted: bool = False
    heard: str = ""


class OutboxMachine(RuleBasedStateMachine):
    """See the module."""

    using = ""

    @initialize()
    def start(self) -> None:
        """Empty tables, idle workers."""
        for model in (models.Attempt, models.OutboxRecipient, models.OutboxMessage, models.Action):
            model._base_manager.using(self.using).all().delete()
        self.hands: dict[str, list[Hand]] = {"ada": [], "bob": []}
        self.copies: dict[int, int] = {}
        self.by_hand: set[int] = set()

    @rule(count=st.integers(1, 3), policy=st.sampled_from(list(OnUnknown)))
    def queue(self, count: int, policy: OnUnknown) -> None:
        """A message of one to three recipients."""
        one = submission(to=[f"r{n}@example.com" for n in range(count)], on_unknown=policy)
        enqueue([one], QueueOptions(mailer="routes", using=self.using))

    @rule(name=WORKERS, limit=st.integers(1, 4), suspects=st.booleans())
    def claim(self, name: str, limit: int, suspects: bool) -> None:
        """A worker takes what is due."""
        taken = claim(
            self.using, Wanted(environment=""), worker=name, limit=limit, lease_seconds=600, suspects=suspects
        )
        messages: dict[int, list[Claimed]] = {}
        for row in taken.rows:
            messages.setdefault(row.message_id, []).append(row)
        self.hands[name] += [Hand(rows) for rows in messages.values()]

    def _first(self, name: str, *, is_permitted: bool, heard: bool) -> Hand | None:
        for hand in self.hands[name]:
            if hand.is_permitted is is_permitted and bool(hand.heard) is heard:
                return hand
        return None

    @rule(name=WORKERS)
    def ask(self, name: str) -> None:
        """It asks the journal for permission; refused, it forgets the message."""
        hand = self._first(name, is_permitted=False, heard=False)
        if hand is None:
            return
        written = commit(self.using, intents=[Intent(recipients=hand.rows, route="route")], keyring=Keyring())
        hand.is_permitted = written.permitted[0]
        if not hand.is_permitted:
            self._settle(name, hand, Event.RELEASE)

    @rule(name=WORKERS, heard=st.sampled_from(["taken", "refused", "deferred", "lost", "taken, lost", "unsent"]))
    def send(self, name: str, heard: str) -> None:
        """It sends what it may send, however long ago it was permitted."""
        hand = self._first(name, is_permitted=True, heard=False)
        if hand is None:
            return
        if heard.startswith("taken"):
            for row in hand.rows:
                self.copies[row.id] = self.copies.get(row.id, 0) + 1
        hand.heard = heard

    @rule(name=WORKERS)
    def settle(self, name: str) -> None:
        """It writes what it heard."""
        hand = self._first(name, is_permitted=True, heard=True)
        if hand is None:
            return
        event = {
            "taken": Event.ACCEPT,
            "refused": Event.REJECT,
            "deferred": Event.DEFER,
            "lost": Event.LOSE,
            "taken, lost": Event.LOSE,
            "unsent": Event.DEFER,
        }[hand.heard]
        self._settle(name, hand, event)

    def _settle(self, name: str, hand: Hand, event: Event) -> None:
        resend = OutboxRecipient.objects.using(self.using).get(pk=hand.rows[0].id).message.on_unknown == "resend"
        settlements = [
            Settlement(claimed=row, event=event, evidence=EVIDENCE, resend=resend, spends_attempt=True)
            for row in hand.rows
        ]
        outcomes = {Event.ACCEPT: Outcome.ACCEPTED, Event.REJECT: Outcome.REJECTED, Event.LOSE: Outcome.UNKNOWN}
        attempts = [
            AttemptRow(
                message_id=hand.rows[0].message_id,
                claim=hand.rows[0].delivery.claim,
                worker=name,
                evidence=EVIDENCE,
                seconds=0.1,
                outcomes={row.position: outcomes.get(event, Outcome.DEFERRED) for row in hand.rows},
            )
        ]
        if event is Event.RELEASE:
            attempts = []
        commit(self.using, settlements=settlements, attempts=attempts, keyring=Keyring())
        self.hands[name].remove(hand)

    @rule(name=WORKERS)
    def die(self, name: str) -> None:
        """It forgets everything that it had in hand."""
        self.hands[name] = []

    @rule()
    def leases_end(self) -> None:
        """Somebody slept."""
        let_leases_end(self.using)

    @rule()
    def rescue(self) -> None:
        """Somebody looks after what is left."""
        rescue(self.using, RescuePolicy(environment="", worker="rescuer", final_reply_seconds=0))

    @rule()
    def time_passes(self) -> None:
        """Whatever waits is due."""
        let_time_pass(self.using)

    @rule(act=st.sampled_from([cancel, hold, requeue]))
    def meddle(self, act: object) -> None:
        """A person does something to everything."""
        act(Filter(), actor="eve", using=self.using)  # type: ignore[operator]

    @rule()
    def resend(self) -> None:
        """A person has all that is unknown sent again, and answers for the copies."""
        unknown = OutboxRecipient.objects.using(self.using).filter(state=State.UNKNOWN)
        self.by_hand.update(unknown.values_list("pk", flat=True))
        resolve(Filter(), Resolution.RESEND, actor="eve", using=self.using)

    @invariant()
    def rows_say_what_is_true(self) -> None:
        """Taken means taken, not taken means not taken, and a second copy only after a doubt."""
        if not hasattr(self, "copies"):
            return
        for row in OutboxRecipient.objects.using(self.using).select_related("message"):
            copies = self.copies.get(row.pk, 0)
            match State(row.state):
                case State.ACCEPTED:
                    assert copies >= 1
                case State.REJECTED | State.EXPIRED | State.CANCELLED | State.QUEUED | State.PARKED:
                    assert copies == 0, row.state
                case State.CLAIMED if not row.unknowns:
                    assert copies == 0
            may_repeat = row.message.on_unknown == "resend" or row.pk in self.by_hand
            assert copies <= 1 or may_repeat

    @invariant()
    def the_audit_is_clean(self) -> None:
        """The same that an operator runs."""
        if hasattr(self, "copies"):
            findings = [one for one in audit(self.using).findings if "lease is over" not in one.text]
            assert findings == []


@pytest.mark.timeout(300)
def test_any_order_keeps_the_promises(using: str) -> None:
    """A few dozen histories on each database; many more with RELIABLE_EMAIL_EXAMPLES."""
    machine = type("Machine", (OutboxMachine,), {"using": using})
    examples = int(os.environ.get("RELIABLE_EMAIL_EXAMPLES", "15"))
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=checks, database=None
        ),
    )
