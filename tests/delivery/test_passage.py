"""`Passage` where a route closes between two sends of one message."""

from datetime import UTC, datetime

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.passages.passage import Passage
from reliable_email.delivery.passages.progress import QUEUED, Progress
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent
from reliable_email.delivery.words import Priority
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import Job, RecipientResult, Transaction, Verdict

WHO = "a@example.com"
TROUBLE = RouteEvent(failure=local_failure(Cause.DISCONNECTED, "gone"), effect=Effect.COUNT)


@pytest.mark.timeout(10)
def test_a_route_that_closes_before_a_message_is_asked_once_more_is_passed_over() -> None:
    """The wish for another connection ends with the route's refusal, and the search for a way with it."""
    one = Progress(WHO)
    route = Route(alias="only", transport=None, fingerprint="f")  # type: ignore[arg-type]
    memory = MemoryRouteStateStore()
    passage = Passage(
        [one],
        [route],
        memory,
        QUEUED,
        from_domain="example.org",
        size=100,
        priority=Priority.NORMAL,
        on_unknown=None,
        said={},
    )
    (send,) = passage.next_sends()
    reply = parse_reply("503 5.5.1 Bad sequence of commands")
    failure = WireFailure(stage=Stage.MAIL, kind=FailureKind.REFUSED, reply=reply, detail="")
    job = Job(sender="s@example.org", recipients=(WHO,), content=BytesContent(b"x\r\n"))
    results = {WHO: RecipientResult(verdict=Verdict.REFUSED, failure=failure)}
    passage.take(send, Transaction(job=job, results=results, stage=Stage.MAIL, failure=failure), now=datetime.now(UTC))
    for _ in range(3):
        memory.tell(route, TROUBLE)
    assert passage.next_sends() == []
    assert passage.open == [one]
