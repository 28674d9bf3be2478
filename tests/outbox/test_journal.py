"""Lines of one worker are written together: for each row that is the same as if it were written alone."""

from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.journal import commit_together
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.desk import asks, claimed, queue, rows, settles, states, worker
from tests.outbox.network import Network

KEYRING = Keyring()


def test_each_row_is_judged_by_itself(using: str) -> None:
    """A row that somebody else has taken is left alone; those beside it in the same statement are written."""
    first, second, third = claimed(using, 3)
    OutboxRecipient.objects.using(using).filter(pk=second.id).update(claim=1)
    asked = commit_together(using, [asks(one) for one in (first, second, third)], keyring=KEYRING)
    assert [one.permitted for one in asked] == [[True], [False], [True]]
    OutboxRecipient.objects.using(using).filter(pk=third.id).update(claim=1)
    answers = commit_together(using, [settles(first, "250 a"), settles(third, "250 c")], keyring=KEYRING)
    assert [one.settled for one in answers] == [[True], [False]]
    assert states(using) == [State.ACCEPTED, State.CLAIMED, State.AUTHORIZED]


def test_each_row_gets_its_own_words(using: str) -> None:
    """Replies of one statement are not mixed up, whatever they have in common."""
    in_hand = claimed(using, 3)
    commit_together(using, [asks(one) for one in in_hand], keyring=KEYRING)
    replies = ["250 2.0.0 taken as A", "250 taken as B", "251 2.1.0 taken as C"]
    commit_together(using, [settles(one, reply) for one, reply in zip(in_hand, replies, strict=True)], keyring=KEYRING)
    found = [(row.reply_code, row.reply_enhanced, row.reply_text, row.attempts, row.route) for row in rows(using)]
    alone = []
    for reply in replies:
        parsed = parse_reply(reply)
        alone.append((parsed.code, parsed.enhanced, parsed.text, 1, "route"))
    assert found == alone


def test_what_is_permitted_in_part_is_not_permitted(using: str) -> None:
    """The server would deliver to every recipient that it took, so all of a message's must be ours still."""
    queue(using, "a@example.com", "b@example.com")
    queue(using, "c@example.com")
    a, b, c = claim(using, Wanted(environment=""), worker="w", limit=3, lease_seconds=60).rows
    OutboxRecipient.objects.using(using).filter(pk=b.id).update(claim=1)
    written = commit_together(using, [asks(a, b), asks(c)], keyring=KEYRING)
    assert [one.permitted for one in written] == [[False], [True]]
    assert states(using) == [State.CLAIMED, State.CLAIMED, State.AUTHORIZED]


def test_an_attempts_cause_is_that_of_its_own_transaction(using: str) -> None:
    """A failover that ends well does not say of the second route what the first one said."""
    queue(using)
    down, up = Network(alias="down", is_down=True), Network(alias="up")
    worker(using, down.route(fingerprint="1"), up.route(fingerprint="2")).run()
    found = Attempt._base_manager.using(using).order_by("id").values_list("route", "cause", "reply_code")
    assert list(found) == [("down", "connect_failed", None), ("up", "", 250)]
