"""Who may get mail by a route that has an allow-list, and how everybody else is told."""

from collections import Counter
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import Cause, classify
from reliable_email.delivery.transports.filters import RestrictedTransport, is_allowed, restricted
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.transaction import Aside, Ask, Grant, Job, Transaction, Verdict, Wait, allow_all, block
from reliable_email.testing.server import ScriptedServer
from tests.delivery.model import NO_SUCH_USER, TAKEN, Answer, Asked, Clock, Server, submission

OURS, THEIRS, OTHER = "dev@example.org", "customer@example.net", "second@example.net"


def job(*recipients: str) -> Job:
    """A message to these recipients."""
    one = submission(*recipients)
    return Job(sender=one.sender, recipients=recipients, content=one.content, key=one)


def server(log: list[Asked], **special: Answer) -> Server:
    """A server that takes everything but what `special` says of a local part."""

    def answer(job: Job) -> dict[str, Answer]:
        return {address: special.get(address.partition("@")[0], TAKEN) for address in job.recipients}

    return Server("a", answer, clock=Clock(), log=log)


def run(transport: RestrictedTransport, *jobs: Job) -> list[Transaction]:
    """What becomes of each."""
    return list(transport.transact(jobs, deadline=Deadline(10.0), authorize=allow_all))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("dev@example.org", True),
        ("DEV@EXAMPLE.ORG", True),
        ("one@staging.example", True),
        ("one@Staging.Example", True),
        ("one@sub.staging.example", False),
        ("other@example.org", False),
        ("dev@example.org.evil.example", False),
        ("staging.example@evil.example", False),
    ],
)
def test_addresses_and_whole_domains_are_allowed_and_nothing_that_looks_like_them(address: str, allowed: bool) -> None:
    """A domain does not stand for its subdomains."""
    assert is_allowed(address, ("dev@example.org", "staging.example")) is allowed


def test_without_a_list_nothing_stands_in_front_of_the_transport() -> None:
    """The common case costs nothing."""
    inner = server([])
    assert restricted(inner, only_to=()) is inner


def test_others_are_refused_before_the_wire_and_the_allowed_get_their_copy() -> None:
    """The refusal names the reason and is of a kind that no other route is asked about."""
    log: list[Asked] = []
    one = job(OURS, THEIRS)
    (transaction,) = run(RestrictedTransport(server(log), only_to=("example.org",)), one)
    assert transaction.job is one
    assert [asked.recipients for asked in log] == [(OURS,)]
    assert transaction.with_verdict(Verdict.ACCEPTED) == (OURS,)
    failure = transaction.results[THEIRS].failure
    assert failure is not None
    assert classify(failure).cause is Cause.SUPPRESSED
    assert "only_to" in failure.detail


def test_a_message_that_nobody_may_get_never_reaches_the_server() -> None:
    """It is answered in its turn, between those that do."""
    log: list[Asked] = []
    jobs = [job(THEIRS), job(OURS), job(THEIRS, OTHER), job(OURS), job(OTHER)]
    transactions = run(RestrictedTransport(server(log), only_to=("example.org",)), *jobs)
    assert [one.job for one in transactions] == jobs
    assert len(log) == 2
    assert [bool(one.with_verdict(Verdict.ACCEPTED)) for one in transactions] == [False, True, False, True, False]


def test_a_redirected_message_says_for_whom_it_was() -> None:
    """One copy to the one address; every recipient has that copy's outcome."""
    log: list[Asked] = []
    transport = RestrictedTransport(server(log), only_to=("example.org",), redirect_to="catch@example.org")
    (transaction,) = run(transport, job(OURS, THEIRS, OTHER))
    assert [asked.recipients for asked in log] == [(OURS, "catch@example.org")]
    assert log[0].content.startswith(
        b"X-Redirected-For: second@example.net\r\nX-Redirected-For: customer@example.net\r\n"
    )
    assert transaction.with_verdict(Verdict.ACCEPTED) == (OURS, THEIRS, OTHER)


def test_a_redirect_that_is_refused_is_the_refusal_of_those_it_stood_for() -> None:
    """Nothing is told as delivered that was not."""
    transport = RestrictedTransport(
        server([], catch=NO_SUCH_USER), only_to=("example.org",), redirect_to="catch@example.org"
    )
    (transaction,) = run(transport, job(OURS, THEIRS))
    assert transaction.results[THEIRS].verdict is Verdict.REFUSED
    assert transaction.results[OURS].verdict is Verdict.ACCEPTED


def test_a_header_is_never_made_of_a_recipients_line_ends() -> None:
    """What an address holds stays on its line."""
    log: list[Asked] = []
    transport = RestrictedTransport(server(log), only_to=("example.org",), redirect_to="catch@example.org")
    run(transport, job("x\r\nBcc: evil@example.net@\u00e9xample.net"))
    assert b"\r\nBcc:" not in log[0].content


def test_the_journal_is_asked_about_the_callers_own_jobs_and_recipients() -> None:
    """It knows nothing of what was made of them."""
    asked: list[tuple[Job, tuple[str, ...], set[str]]] = []
    settled_jobs: list[Job] = []

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> Collection[Job]:
        asked.extend((grant.job, grant.recipients, set(grant.refused)) for grant in grants)
        settled_jobs.extend(one.job for one in settled)
        return [grant.job for grant in grants]

    jobs = [job(THEIRS), job(OURS, THEIRS)]
    transport = RestrictedTransport(server([]), only_to=("example.org",))
    list(transport.transact(jobs, deadline=Deadline(10.0), authorize=authorize))
    assert asked == [(jobs[1], (OURS,), {THEIRS})]
    assert settled_jobs == [jobs[0]]


def test_what_the_wire_waits_for_is_waited_for_by_whoever_drives_it() -> None:
    """Staging goes the same way as production: each wait and each call comes through."""
    with ScriptedServer() as real:
        link = ConnectionOptions(host="127.0.0.1", port=real.port, tls=TLSPolicy(mode=TLSMode.NONE))
        transport = restricted(SMTPTransport(link), only_to=("example.org",))
        seen, jobs = Counter[type](), [job(OURS, THEIRS), job(THEIRS), job(OURS)]
        for step in transport.steps(jobs, deadline=Deadline(5)):
            seen[type(step)] += 1
            if isinstance(step, Wait):
                block(step)
            elif isinstance(step, Aside):
                step.make()
            elif isinstance(step, Ask):
                step.allowed = [grant.job for grant in step.grants]
        assert len(real.messages) == 2
    pool.reset()
    assert seen[Transaction] == 3
    assert (seen[Ask], seen[Aside]) == (2, 1)
    assert seen[Wait] >= 2


addresses = st.sampled_from([OURS, THEIRS, OTHER, "nobody@example.org", "catch@example.org"])


@given(
    st.lists(st.lists(addresses, min_size=1, max_size=4, unique=True), max_size=5),
    st.sampled_from([None, "catch@example.org", "box@elsewhere.example"]),
)
def test_every_job_is_answered_in_its_turn_for_each_of_its_recipients(
    batch: list[list[str]], redirect_to: str | None
) -> None:
    """Whatever is allowed, refused or redirected; and nobody who is not named ever gets a copy."""
    log: list[Asked] = []
    transport = RestrictedTransport(server(log, nobody=NO_SUCH_USER), only_to=("example.org",), redirect_to=redirect_to)
    jobs = [job(*recipients) for recipients in batch]
    transactions = run(transport, *jobs)
    assert [one.job for one in transactions] == jobs
    assert [set(one.results) for one in transactions] == [set(recipients) for recipients in batch]
    reached = {address for asked in log for address in asked.recipients}
    assert all(address.endswith("@example.org") or address == redirect_to for address in reached)
