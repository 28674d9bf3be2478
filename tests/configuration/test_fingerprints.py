"""A route's fingerprint: other credentials make another one, another process with the same ones does not."""

import subprocess
import sys
from typing import Any

import pytest
from django.test import override_settings

from reliable_email.backends.failover import make_route
from reliable_email.backends.reading.fingerprint import described
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.smtp.oauth.grants import RefreshTokenProvider

SITES_OWN = "tests.configuration.test_fingerprints.SitesOwnBackend"


class SitesOwnBackend:
    """Somebody else's backend: of its options and settings only it knows what they are."""

    def __init__(self, **options: Any) -> None:
        self.options = options


def fingerprint(backend: str = SITES_OWN, **options: Any) -> str:
    """Of a route with these options."""
    mailers = {"api": {"BACKEND": backend, "OPTIONS": options}}
    with override_settings(MAILERS=mailers):
        return make_route("api").fingerprint


def test_another_key_of_a_foreign_backend_is_another_fingerprint() -> None:
    """What a wrong key has closed is asked anew once the key is corrected; the same key is the same question."""
    wrong, right = fingerprint(api_key="wrong"), fingerprint(api_key="right")
    assert wrong == fingerprint(api_key="wrong")
    assert wrong != right


@pytest.mark.parametrize(
    ("backend", "name", "one", "other"),
    [
        ("anymail.backends.mailgun.EmailBackend", "ANYMAIL", {"MAILGUN_API_KEY": "a"}, {"MAILGUN_API_KEY": "b"}),
        ("anymail.backends.mailgun.EmailBackend", "MAILGUN_API_KEY", "a", "b"),
        (SITES_OWN, "TESTS_MAIL_TOKEN", "a", "b"),
    ],
)
def test_a_key_in_the_settings_of_its_package_counts(backend: str, name: str, one: object, other: object) -> None:
    """Wherever the package looks for it: in its own dict, or under the service's name."""
    if backend.startswith("anymail"):
        pytest.importorskip("anymail")
    found = []
    for value in (one, other):
        with override_settings(**{name: value}):
            if backend.startswith("anymail") and name != "ANYMAIL":
                with override_settings(ANYMAIL={}):
                    found.append(fingerprint(backend))
            else:
                found.append(fingerprint(backend))
    assert found[0] != found[1]


def test_settings_of_others_do_not_count() -> None:
    """A web process and a worker may differ in what has nothing to do with mail."""
    before = fingerprint()
    with override_settings(STRIPE_API_KEY="only here"):
        assert fingerprint() == before


def test_a_token_provider_is_the_same_in_every_process_and_changes_with_its_secret() -> None:
    """Its secrets are in no repr, and an address in memory is no part of a configuration."""

    def route(**options: Any) -> str:
        return ReliableSMTPBackend(alias="a", host="h.example", username="ann", **options).route().fingerprint

    def provider(secret: str) -> RefreshTokenProvider:
        return RefreshTokenProvider(client_id="us", refresh_token=secret)

    assert route(token_provider=provider("one")) == route(token_provider=provider("one"))
    assert route(token_provider=provider("one")) != route(token_provider=provider("two"))
    code = "from reliable_email.backends.reading.fingerprint import described\nfrom email.message import Message\n"
    code += "print(described([Message(), Message, len, {'b': b'x', 'a': {2, 1}}]))"
    told = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(told) == 1
    assert "Message" in told.pop()


def test_what_is_described_is_told_apart_by_value() -> None:
    """Nothing that could be a credential falls under the table."""
    values: list[object] = [None, "", "a", b"a", 1, 1.5, ["a"], {"a": "a"}, {"a": "b"}, {"a"}, len, print, dict]
    assert len({described(one) for one in values}) == len(values)
