"""Every spelling of an address is that address: for the suppression list, search, provider events and acts."""

import pytest

from reliable_email.outbox.operations.provider_events import Report, note_report
from reliable_email.outbox.operations.suppressed import allow, prune_suppressions, suppress, unify_suppressions
from reliable_email.outbox.operations.suppression_list import suppressed, unwanted_by_direct_sends
from reliable_email.store.questions.filters import Filter, recipients
from reliable_email.store.questions.search import Search, search
from reliable_email.store.questions.suppressions import suppression_page
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.events import EventKind
from reliable_email.store.tables.shared import Suppression
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, row, states, worker
from tests.outbox.network import Network

SPELLINGS = [
    "Victim@bücher.example",
    "victim@xn--bcher-kva.example",
    "victim@XN--BCHER-KVA.Example",
    '"victim"@bücher.example',
    "victim@ｂücher.example",
    "victim@bü\u00adcher.example",
    "victim@bü\u200dcher.example",
    "victim@bu\u0308cher.example",
]
PATH = "victim@xn--bcher-kva.example"


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_worker_sends_nothing_to_a_suppressed_address_however_it_is_spelled(using: str, spelled: str) -> None:
    """Neither side of the comparison has to be in the usual form."""
    for listed in (SPELLINGS[0], spelled):
        suppress([listed], source="by hand", using=using)
        queue(using, spelled)
        network = Network()
        worker(using, network.route()).run()
        assert (row(using).state, row(using).cause) == (State.REJECTED, "suppressed")
        assert not network.taken
        assert Suppression.objects.using(using).count() == 1
        assert allow([spelled], using=using) == 1
        row(using).message.delete()


@pytest.mark.parametrize("stored", ["victim@bücher.example", PATH])
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_lists_that_were_written_before_go_on_to_work(using: str, stored: str, spelled: str) -> None:
    """Such a line is found as it is, by search, too, and written as an identity when the list is pruned."""
    Suppression.objects.using(using).create(address=stored, created_at=DatabaseNow())
    assert suppressed(using, [spelled, "other@example.com"]) == {spelled.lower()}
    assert [one.address for one in suppression_page(using, text=spelled).addresses] == [stored]
    assert len(suppression_page(using, text="@bücher.example").addresses) == 1
    prune_suppressions(using)
    assert list(Suppression.objects.using(using).values_list("address", flat=True)) == [PATH]
    assert suppressed(using, [spelled]) == {spelled.lower()}
    assert allow([spelled], using=using) == 1


def test_lines_that_turn_out_to_be_one_address_keep_the_longest(using: str) -> None:
    """Of three spellings, in whatever order they came."""
    for number, (address, days) in enumerate(
        [(PATH, 10), ("victim@bücher.example", None), ('"victim"@bücher.example', 5)]
    ):
        Suppression.objects.using(using).create(
            address=address,
            reason=str(number),
            created_at=DatabaseNow(),
            expires_at=DatabaseNow(days * 86400) if days else None,
        )
    assert unify_suppressions(using) == 2
    assert unify_suppressions(using) == 0
    [line] = Suppression.objects.using(using)
    assert (line.address, line.expires_at, line.reason) == (PATH, None, "1")


def test_a_new_line_takes_the_place_of_an_older_spelling(using: str) -> None:
    """A provider's report about an address that is on the list for ever does not let it go sooner."""
    Suppression.objects.using(using).create(address="victim@bücher.example", created_at=DatabaseNow(), reason="first")
    suppress(["Victim@xn--bcher-kva.example"], source="SendGrid", reason="second", using=using, may_shorten=False)
    [line] = Suppression.objects.using(using)
    assert (line.address, line.reason, line.expires_at) == (PATH, "first", None)


@pytest.mark.django_db
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_direct_send_asks_in_every_spelling(spelled: str) -> None:
    """The other door, and the same list."""
    suppress([SPELLINGS[0]], source="by hand")
    assert unwanted_by_direct_sends([spelled, "other@example.com"]) == [spelled]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_queued_recipient_is_found_and_named_in_any_spelling(using: str, spelled: str) -> None:
    """By the search of pages, by the filter of acts, and by a provider's report."""
    message = queue(using, "Victim@Bücher.example", spelled, "other@example.com")
    assert [one.address for one in recipients(Filter(), using).order_by("position")] == [
        "Victim@xn--bcher-kva.example",
        "other@example.com",
    ]
    assert [one.message for one in search(Search(text=spelled), using).lines] == [message.pk]
    assert recipients(Filter(recipient=spelled), using).count() == 1
    assert recipients(Filter(recipient="@BÜCHER.example"), using).count() == 1
    network = Network()
    worker(using, network.route()).run()
    assert network.copies("Victim@xn--bcher-kva.example") == 1
    report = Report(
        names=[message.message_id], recipient=spelled, kind=EventKind.BOUNCED, source="SendGrid", event_id="1"
    )
    assert note_report(report, using).is_new
    again = Report(names=[message.message_id], recipient=PATH, kind=EventKind.BOUNCED, source="SendGrid", event_id="1")
    assert not note_report(again, using).is_new
    assert states(using) == [State.ACCEPTED] * 2
