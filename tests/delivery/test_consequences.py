"""What people are told is done: the five groups of action, the sentence, and the table of the documentation."""

from dataclasses import replace

import pytest

from reliable_email.classification import Cause, Failure, Scope, classify
from reliable_email.delivery.policy import Action, Step, action_of, decide
from reliable_email.delivery.telling.consequences import causes_table, package_does, typical
from reliable_email.smtp.syntax.replies import parse_reply


def failure(cause: Cause, *, code: int = 550, scope: Scope | None = None) -> Failure:
    """A failure as a reply of that code brings it."""
    found = typical(cause, code)
    return found if scope is None else replace(found, scope=scope)


@pytest.mark.parametrize(
    ("causes", "action"),
    [
        ("mailbox_unknown mailbox_inactive address_invalid suppressed dns_or_routing", Action.FAIL_RECIPIENT),
        ("content_rejected message_too_large sender_rejected system_permanent", Action.FAIL_MESSAGE),
        ("mailbox_full greylisted system_temporary withheld", Action.RETRY_LATER),
        ("auth_throttled connection_limit rate_limited too_many_recipients", Action.THROTTLE_ROUTE),
        ("sender_not_verified sender_not_authenticated auth_failed helo_refused relay_denied", Action.LEAVE_ROUTE),
        ("tls_required tls_failed quota_exceeded reputation_blocked host_not_found", Action.LEAVE_ROUTE),
        ("unclassified outcome_unknown", Action.FAIL_MESSAGE),
    ],
)
def test_lasting_failures_belong_to_five_groups(causes: str, action: Action) -> None:
    """The values of `explain_reply --json` are a promise to scripts."""
    for cause in causes.split():
        assert action_of(failure(Cause(cause))) is action, cause


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("code", [421, 450, 550])
@pytest.mark.parametrize("cause", list(Cause))
def test_what_is_said_is_what_is_done(cause: Cause, code: int, scope: Scope) -> None:
    """Neither the group nor the sentence promises a rejection where the policy waits, nor the other way."""
    found = failure(cause, code=code, scope=scope)
    step, action, said = decide(found).step, action_of(found), package_does(found)
    rejects = step in (Step.REJECT, Step.ONE_OTHER_ROUTE, Step.ROOMIER_ROUTE)
    assert rejects == ("ejects" in said)
    assert (step is Step.REJECT) == said.startswith("Rejects")
    if step not in (Step.HOLD, Step.PARK):
        assert rejects == (action in (Action.FAIL_RECIPIENT, Action.FAIL_MESSAGE))


def test_a_four_hundred_about_content_is_tried_again_and_says_so() -> None:
    """The group, the sentence and the policy agree on a reply of which the first digit leaves the door open."""
    found = classify(parse_reply("450 4.7.1 message content rejected, see our policy"))
    assert found.cause is Cause.CONTENT_REJECTED
    assert decide(found).step is Step.ANY_ROUTE
    assert action_of(found) is Action.RETRY_LATER
    assert "tries again later" in package_does(found)


def test_the_table_has_a_row_for_each_cause():
    """Each cause once, every row with the same number of columns."""
    header, rule, *rows = causes_table().splitlines()
    assert [row.split("`")[1] for row in rows] == [cause.value for cause in Cause if cause.value in causes_table()]
    assert len(rows) == len(Cause)
    assert {line.count("|") for line in (header, rule, *rows)} == {7}
