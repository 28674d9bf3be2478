"""Who may do what: every address of the pages, every method, every kind of person."""

from collections.abc import Callable, Iterator
from itertools import combinations, product

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.test import Client, override_settings
from django.urls import URLPattern, reverse

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.urls import urlpatterns
from tests.outbox.desk import submission

VIEW, ACT, READ = "view_outboxmessage", "act_on_outbox", "read_content"
ERASE, EXPORT = "erase_person", "export_person"
STAFF, ANYBODY = "staff", "anybody"
# What each page asks for. A page that is added has to be entered here.
ASKED: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("overview", "messages", "message", "routes", "failures", "workers", "suppressions", "record", "people"),
        frozenset({VIEW}),
    ),
    **dict.fromkeys(
        ("act", "release_hold", "act_on_route", "suppress_address", "allow_address"), frozenset({VIEW, ACT})
    ),
    **dict.fromkeys(("content", "html", "source", "attachment"), frozenset({READ})),
    "export_person": frozenset({VIEW, READ, EXPORT}),
    "erase_person": frozenset({VIEW, ERASE}),
    "live": frozenset({ANYBODY}),
    "health": frozenset({STAFF}),
    "metrics": frozenset({STAFF}),
}
CODENAMES = (VIEW, ACT, READ, ERASE, EXPORT)
SECRET = "ann@example.com"


def pages() -> list[str]:
    """The names of all addresses."""
    return [str(one.name) for one in urlpatterns if isinstance(one, URLPattern)]


def kinds() -> Iterator[frozenset[str]]:
    """Every set of permissions that a person may have."""
    for size in range(len(CODENAMES) + 1):
        yield from map(frozenset, combinations(CODENAMES, size))


@pytest.fixture
def address(db: None) -> Callable[[str], str]:
    """Where a page is, for a message that exists."""
    [queued] = enqueue([submission(to=[SECRET])], QueueOptions(mailer="routes"))

    def find(name: str) -> str:
        numbers = {"message": 1, "content": 1, "html": 1, "source": 1, "attachment": 2}.get(name, 0)
        return reverse(f"reliable_email:{name}", args=[queued.pk, 0][:numbers])

    return find


def permit(user: User, codenames: frozenset[str]) -> None:
    """Let a person have these permissions and no other."""
    user.user_permissions.set(
        Permission.objects.filter(codename__in=codenames, content_type__app_label="reliable_email")
    )


def somebody(codenames: frozenset[str], **attributes: bool) -> Client:
    """A client of a person with these permissions and no other."""
    user, _ = User.objects.get_or_create(username="-".join([*sorted(codenames), *attributes]), defaults=attributes)
    permit(user, codenames)
    client = Client()
    client.force_login(user)
    return client


def test_every_page_is_in_the_table() -> None:
    """And nothing else."""
    assert set(pages()) == set(ASKED)


@pytest.mark.parametrize("name", pages())
def test_a_page_opens_for_who_may_and_for_nobody_else(address: Callable[[str], str], name: str) -> None:
    """By any method; who is refused learns of nobody."""
    url = address(name)
    user = User.objects.create(username="vera")
    client = Client()
    client.force_login(user)  # once: logging in costs more than most pages
    for held, method in product(kinds(), ("get", "post", "delete")):
        permit(user, held)
        answer = getattr(client, method)(url)
        text = b"".join(answer) if answer.streaming else answer.content
        if ANYBODY in ASKED[name]:
            assert answer.status_code in (200, 405), method
        elif not ASKED[name] <= held:
            # A method that a page does not have is refused before anybody is asked who they are.
            assert answer.status_code in (403, 405), (name, method, sorted(held), answer.status_code)
            assert SECRET.encode() not in text, (method, sorted(held))
        else:
            assert answer.status_code != 403, (name, method, sorted(held))


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", sorted(set(pages()) - {"live"}))
def test_a_stranger_gets_nowhere(address: Callable[[str], str], name: str, method: str) -> None:
    """Also somebody whose account was closed."""
    closed = somebody(frozenset(CODENAMES))
    User.objects.update(is_active=False)
    for client in (Client(), closed):
        answer = getattr(client, method)(address(name), {"address": SECRET})
        assert answer.status_code in (302, 401, 403, 405)
        assert SECRET.encode() not in answer.content


@pytest.mark.parametrize("name", ["health", "metrics"])
def test_monitors_are_for_staff(address: Callable[[str], str], name: str) -> None:
    """Permissions of the pages do not open them."""
    assert somebody(frozenset(CODENAMES)).get(address(name)).status_code == 403
    assert somebody(frozenset(), is_staff=True).get(address(name)).status_code in (200, 503)


@pytest.mark.parametrize("name", sorted(one for one in ASKED if ASKED[one] - {VIEW, READ, STAFF, ANYBODY}))
def test_no_other_site_can_send_a_form(address: Callable[[str], str], name: str) -> None:
    """Without the token of the page, whoever is logged in."""
    User.objects.create_superuser("olga")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="olga"))
    assert client.post(address(name), {"address": SECRET, "confirmed": "1", "reason": "x"}).status_code == 403


@override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
@pytest.mark.parametrize("name", sorted(set(pages()) - {"live"}))
def test_a_site_without_users_shows_nothing(address: Callable[[str], str], name: str) -> None:
    """Nobody is known there."""
    for method in ("get", "post"):
        answer = getattr(Client(), method)(address(name))
        assert answer.status_code in (401, 403, 405)
    assert not mail.outbox
