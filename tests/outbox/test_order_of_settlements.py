"""Several settlements of one recipient in one commit keep their order, whatever stands beside them."""

from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.journal import commit
from reliable_email.outbox.rows.settle import Evidence, Settlement
from reliable_email.outbox.rows.transitions import Event
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, rows


def test_what_a_route_refused_is_remembered_beside_a_neighbour_that_waits(using: str) -> None:
    """One recipient is deferred; the other is refused by a route and then deferred: that route is not asked again."""
    queue(using, "ok1@example.com")
    queue(using, "ok2@example.com")
    first, second = claim(using, Wanted(environment=""), worker="w", limit=2, lease_seconds=60).rows
    later = Evidence(route="second", cause="connect_failed")
    settlements = [
        Settlement(claimed=first, event=Event.DEFER, evidence=later),
        Settlement(
            claimed=second, event=Event.KEEP, evidence=Evidence(route="first", cause="unclassified"), notes=["first"]
        ),
        Settlement(claimed=second, event=Event.DEFER, evidence=later),
    ]
    written = commit(using, settlements=settlements, keyring=Keyring())
    assert written.settled == [True] * 3
    assert [(one.state, one.refused_by) for one in rows(using)] == [(State.QUEUED, []), (State.QUEUED, ["first"])]
