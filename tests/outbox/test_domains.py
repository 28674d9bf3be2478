"""A cap of connections for one recipient domain."""

import threading
from collections import Counter

import pytest

from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.domains import DomainCap
from reliable_email.smtp.transaction import Job
from reliable_email.store.questions.audit import audit
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, rows, states, worker
from tests.outbox.network import Network


@pytest.mark.parametrize("domain", ["example.com", "under_score.example", "100%.example", "bang!.example"])
def test_a_closed_domain_is_passed_over_at_claim(using: str, domain: str) -> None:
    """That domain alone, however it is spelt; one that only looks like its pattern is claimed."""
    queue(using, "ok@other.example")
    queue(using, "ok@underXscore.example")
    queue(using, "ok@placeholder.example")
    OutboxRecipient.objects.using(using).filter(address="ok@placeholder.example").update(address=f"ok@{domain}")
    taken = claim(using, Wanted(environment="", closed_domains=[domain]), worker="w", limit=10, lease_seconds=60)
    assert {row.address for row in taken.rows} == {"ok@other.example", "ok@underxscore.example"}


def test_the_line_that_comes_second_gives_back_what_it_may_not_have(using: str) -> None:
    """Two claims may be made at once; a cap of one leaves the domain to the first of them."""
    cap = DomainCap(1)
    for n in range(2):
        queue(using, f"ok{n}@example.com")
    queue(using, "ok@example.net")
    first = claim(using, Wanted(environment=""), worker="w", limit=1, lease_seconds=60)
    second = claim(using, Wanted(environment=""), worker="w", limit=9, lease_seconds=60)
    assert not cap.enter(first)
    assert cap.full == ["example.com"]
    by_address = {row.address: row.id for row in second.rows}
    assert cap.enter(second) == {by_address["ok1@example.com"]}
    assert cap.leave(first)
    assert cap.full == ["example.net"]


def test_no_cap_gives_back_nothing(using: str) -> None:
    """The default."""
    cap = DomainCap(0)
    queue(using)
    taken = claim(using, Wanted(environment=""), worker="w", limit=1, lease_seconds=60)
    assert (cap.enter(taken), cap.enter(taken), cap.full) == (frozenset(), frozenset(), [])


def counting_network() -> tuple[Network, Counter[str]]:
    """A network, and the most sends that were under way at each domain at once."""
    at_work: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()

    def enter(job: Job) -> None:
        domain = job.recipients[0].partition("@")[2]
        with lock:
            at_work[domain] += 1
            most[domain] = max(most[domain], at_work[domain])

    def leave(job: Job) -> None:
        with lock:
            at_work[job.recipients[0].partition("@")[2]] -= 1

    network = Network(before_send=enter, after_send=leave)
    return network, most


def test_two_workers_of_one_database_share_the_cap(using: str) -> None:
    """Each with four lines: never more than two of the eight at one domain, and all arrives once."""
    network, most = counting_network()
    for n in range(60):
        queue(using, f"ok{n}@{'example.com' if n % 3 else 'example.net'}")
    workers = [worker(using, network.route(), connections=4, batch=3, domain_connections=2) for _ in range(2)]
    assert len({one.name for one in workers}) == 2
    threads = [threading.Thread(target=one.run) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(using) == [State.ACCEPTED] * 60
    assert set(network.taken.values()) == {1}
    assert max(most.values()) <= 2
    assert not audit(using).findings


def test_a_domain_never_has_more_lines_than_its_cap_and_all_arrive(using: str) -> None:
    """Four lines, two domains, one line for each at a time; nothing stays behind."""
    network, most = counting_network()
    for n in range(40):
        queue(using, f"ok{n}@{'example.com' if n % 2 else 'example.net'}")
    worker(using, network.route(), connections=4, batch=3, domain_connections=1).run()
    assert states(using) == [State.ACCEPTED] * 40
    assert most == {"example.com": 1, "example.net": 1}
    assert all(one.attempts == 1 for one in rows(using))
    assert not audit(using).findings
