"""A person on the pages: what is stored, its export, its erasure."""

import json
from collections.abc import Callable

import pytest
from django.test import Client

from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from tests.outbox.desk import queue

PAGE = "/mail/people/"
ANN = "ann@example.com"


@pytest.fixture
def ann(db: None) -> None:
    """Two messages to her, one of them with somebody else."""
    queue("default", ANN)
    queue("default", "Ann@example.com", "bob@example.com")


@pytest.mark.usefixtures("ann")
def test_the_page_says_what_is_stored(operator: Client) -> None:
    """Asked for in any spelling."""
    text = operator.get(PAGE, {"q": "Ann Smith <ANN@Example.com>"}).content.decode()
    assert '<dd id="messages">2</dd>' in text
    assert "Erase…" in text
    assert "There is no data about" in operator.get(PAGE, {"q": "nobody@example.com"}).content.decode()
    assert "is not an address" in operator.get(PAGE, {"q": "nobody"}).content.decode()


@pytest.mark.usefixtures("ann")
def test_an_erasure_is_confirmed_and_says_why(operator: Client) -> None:
    """The first POST changes nothing; neither does one without a reason."""
    asked = operator.post(f"{PAGE}erase/", {"address": ANN})
    assert "This cannot be undone" in asked.content.decode()
    assert operator.post(f"{PAGE}erase/", {"address": ANN, "confirmed": "1"}).status_code == 400
    assert OutboxRecipient.objects.filter(address__iexact=ANN).count() == 2
    done = operator.post(f"{PAGE}erase/", {"address": ANN, "confirmed": "1", "reason": f"{ANN} wishes it"})
    assert done.status_code == 302
    after = operator.get(done["Location"]).content.decode()
    assert "2 deliveries were erased" in after
    assert ANN not in after
    [noted] = Action.objects.filter(verb="erase")
    assert (noted.actor, noted.reason) == ("olga", "(erased) wishes it")
    assert Suppression.objects.exclude(digest_key="").count() == 1


@pytest.mark.usefixtures("ann")
def test_an_export_is_a_file_without_the_others(operator: Client) -> None:
    """Nobody keeps it on the way."""
    answer = operator.post(f"{PAGE}export/", {"address": ANN})
    told = json.loads(b"".join(answer))  # type: ignore[arg-type]
    assert len(told["messages"]) == 2
    assert "bob@example.com" not in json.dumps(told)
    assert answer["Content-Disposition"] == "attachment; filename*=UTF-8''ann%40example.com.json"
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("act", ["erase", "export"])
def test_an_address_that_is_not_here_is_told(operator: Client, act: str) -> None:
    """Most likely it is misspelt; nothing is recorded."""
    answer = operator.post(f"{PAGE}{act}/", {"address": "anne@example.com", "confirmed": "1", "reason": "x"})
    assert answer.status_code == 400
    assert Action.objects.count() == 0


@pytest.mark.usefixtures("ann")
def test_the_acts_have_permissions_of_their_own(person: Callable[..., Client]) -> None:
    """Who may run the queue may neither erase nor export."""
    client = person("view_outboxmessage", "act_on_outbox", "read_content")
    assert "neither export nor erase" in client.get(PAGE, {"q": ANN}).content.decode()
    assert client.post(f"{PAGE}erase/", {"address": ANN}).status_code == 403
    assert client.post(f"{PAGE}export/", {"address": ANN}).status_code == 403
