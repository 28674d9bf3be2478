"""Routes are known by names that are keyed with SECRET_KEY; another key is not yet another account."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import override_settings

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Permission
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.delivery.submission import Priority
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.shared import RouteState

REFUSED = RouteEvent(failure=local_failure(Cause.AUTH_FAILED, "535 no"), effect=Effect.OPEN)


class Process:
    """One process of a site, as it was configured when it began; its memory is its own, the row is everybody's."""

    def __init__(self, using: str, key: str, *fallbacks: str, **options: Any) -> None:
        self._keys = {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": list(fallbacks)}
        self._options = {"host": "mx.example", "quota": "10/day", "use_tls": True} | options
        self._options = {"username": "ann@example.org", "password": "right"} | self._options
        self._store = DatabaseRouteStateStore(using)
        self._using = using

    @contextmanager
    def _at_work(self) -> Iterator[Route]:
        with override_settings(**self._keys):
            yield ReliableSMTPBackend(alias="smtp", **self._options).route()

    def takes(self, count: int) -> bool:
        """Whether so much of the quota was there, and is taken."""
        with self._at_work() as route:
            return self._store.reserve(route, count, priority=Priority.HIGH)

    def asks(self) -> Permission:
        """Whether a message may go, as a process answers that has just looked."""
        with self._at_work() as route:
            return DatabaseRouteStateStore(self._using).ask(route, sender_domain="")

    def tells(self, event: RouteEvent) -> None:
        """Something has happened."""
        with self._at_work() as route:
            self._store.tell(route, event)


@pytest.fixture
def process(using: str) -> Callable[..., Process]:
    """Starts one, with SECRET_KEY and SECRET_KEY_FALLBACKS, and options of the route."""
    return lambda *keys, **options: Process(using, *keys, **options)


def test_two_keys_at_the_same_time_do_not_erase_each_others_ledger(process: Callable[..., Process]) -> None:
    """Whether the account is the same cannot be told, so that what was used counts for both."""
    one, other = process("one"), process("another")
    assert one.takes(6)
    assert not other.takes(6)
    assert other.takes(3)
    assert one.takes(1)
    assert not one.takes(1)
    assert not other.takes(1)
    assert not process("a third").takes(1)


def test_a_rotation_of_the_key_keeps_what_is_known(process: Callable[..., Process]) -> None:
    """Old and new processes side by side, and those that know the new key alone."""
    old, new, later = process("old"), process("new", "old"), process("new")
    assert old.takes(4)
    assert new.takes(3)
    assert old.takes(1)
    assert later.takes(1)
    assert [one.takes(2) for one in (old, new, later)] == [False] * 3
    new.tells(REFUSED)
    assert [one.asks() for one in (old, new, later)] == [Permission.NO] * 3


def test_a_corrected_password_is_known_across_a_rotation(process: Callable[..., Process]) -> None:
    """The earlier key says that it is another one."""
    process("old", password="wrong").tells(REFUSED)
    assert process("new", "old", password="wrong").asks() is Permission.NO
    assert process("new", "old").asks() is Permission.YES
    assert process("new", "old", password="wrong").takes(1), "writes what the new key calls it"
    assert process("new", password="wrong").asks() is Permission.NO
    assert process("new").asks() is Permission.YES


def test_a_key_that_nobody_knows_gives_one_login_to_a_route_that_waits_for_a_person(
    process: Callable[..., Process],
) -> None:
    """The password may have been corrected with it; two keys do not make two logins again and again."""
    one, other = process("one", password="wrong"), process("another", password="wrong")
    one.tells(REFUSED)
    assert other.asks() is Permission.PROBE
    other.tells(REFUSED)
    assert [who.asks() for who in (one, other, one, other)] == [Permission.NO] * 4
    assert process("another").asks() is Permission.YES, "its own key says that the password is another one"


def test_a_mailboxs_new_password_is_asked_anew_and_is_no_new_quota(process: Callable[..., Process]) -> None:
    """The quota is the account's."""
    wrong = process("key", password="wrong")
    assert wrong.takes(8)
    wrong.tells(REFUSED)
    assert wrong.asks() is Permission.NO
    right = process("key")
    assert right.asks() is Permission.YES
    assert right.takes(2)
    assert not right.takes(1)
    assert process("key", username="bob@example.org").takes(10)


def test_another_password_may_be_another_account_where_the_user_name_names_none(
    process: Callable[..., Process],
) -> None:
    """SendGrid calls every account `apikey`."""
    assert process("key", username="apikey", password="one").takes(10)
    assert process("key", username="apikey", password="two").takes(10)


def test_what_an_earlier_version_has_written_is_still_known(using: str, process: Callable[..., Process]) -> None:
    """Its names have no key beside them."""
    one = process("key")
    assert one.takes(6)
    one.tells(REFUSED)
    row = RouteState.objects.using(using).get()
    for part in (row.breaker, row.ledger):
        part["fingerprint"] = part["fingerprint"].split(":")[-1]
    row.save(using=using)
    assert process("key").asks() is Permission.NO
    assert not process("key").takes(5)
    assert process("key", password="corrected").asks() is Permission.YES


def test_another_key_is_said_once(process: Callable[..., Process], caplog: pytest.LogCaptureFixture) -> None:
    """With what to do about it; a rotation that names the earlier key is nothing to speak of."""
    caplog.set_level(logging.WARNING, "reliable_email")
    assert process("one").takes(1)
    assert process("two", "one").takes(1)
    assert "SECRET_KEY" not in caplog.text
    other = process("three")
    assert other.takes(1)
    assert process("two").takes(1)
    assert other.takes(1)
    assert caplog.text.count("SECRET_KEY_FALLBACKS") == 1
