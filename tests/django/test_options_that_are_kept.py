"""What a door has made of its options serves the next message, as long as they are the same."""

import copy
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.test.utils import override_settings

from reliable_email.backends import smtp
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, message, use_mailers

PASSWORD = "correct horse battery staple"


def entry(**options: Any) -> dict[str, Any]:
    """MAILERS with one server."""
    return {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "mail.example.org", **options}}}


def route() -> Any:
    """The default mailer's route, as the next message would have it."""
    backend = mailers["default"]
    assert isinstance(backend, smtp.ReliableSMTPBackend)
    return backend.route()


def test_the_same_options_make_one_route() -> None:
    """The second message reads no options."""
    with use_mailers(entry(username="u", password=PASSWORD, quota={"day": 500}, only_to=["example.org"])):
        first = route()
    with use_mailers(entry(username="u", password=PASSWORD, quota={"day": 500}, only_to=["example.org"])):
        kept = route()
        assert kept is not first  # whoever changes a setting may have changed what a route is made of besides
        assert route() is kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"port": 25}, {"port": 26}, id="port"),
        pytest.param({"username": "u", "password": "a"}, {"username": "u", "password": "b"}, id="password"),
        pytest.param({"username": "u", "password": "p"}, {"username": "v", "password": "p"}, id="user name"),
        pytest.param({"timeout": 3}, {"timeout": 4}, id="timeout"),
        pytest.param({"quota": {"day": 1}}, {"quota": {"hour": 1}}, id="quota"),
        pytest.param({"only_to": ["a.example"]}, {"only_to": ["b.example"]}, id="allow-list"),
        pytest.param({}, {"use_tls": True}, id="one more"),
    ],
)
def test_options_that_were_changed_in_place_are_obeyed(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Also where no signal tells: some projects read secrets again and write them into the dict."""
    entries = entry(**copy.deepcopy(before))
    with use_mailers(entries):
        first = route()
        entries["default"]["OPTIONS"].clear()
        entries["default"]["OPTIONS"].update(host="mail.example.org", **after)
        second = route()
    assert second is not first
    assert (second.transport, second.timeout, second.quotas) != (first.transport, first.timeout, first.quotas)


def test_a_list_that_was_changed_in_place_is_obeyed() -> None:
    """The list is the same object, and says something else."""
    allowed = ["a.example"]
    with use_mailers(entry(only_to=allowed)):
        first = route()
        allowed[0] = "b.example"
        assert route() is not first


@pytest.mark.parametrize(("name", "good", "bad"), [("port", 1, True), ("quota", {"day": 1}, {"day": True})])
def test_a_mistake_is_told_although_the_options_were_good_before(name: str, good: object, bad: object) -> None:
    """True is no number, whatever Python thinks of its being 1."""
    entries = entry(**{name: good})
    with use_mailers(entries):
        assert route()
        entries["default"]["OPTIONS"][name] = bad
        with pytest.raises(InvalidMailer, match=name):
            route()


def test_a_file_that_is_gone_is_told_with_the_next_message(tmp_path: Path) -> None:
    """What files hold is not in the options, so they are looked at again."""
    authority = tmp_path / "ca.pem"
    authority.write_text("x")
    with use_mailers(entry(ssl_cafile=str(authority), use_tls=True)):
        assert route()
        authority.unlink()
        with pytest.raises(InvalidMailer, match="ssl_cafile"):
            route()


def test_a_new_secret_key_makes_a_new_fingerprint() -> None:
    """The state of routes is shared by those who have the same key."""
    with use_mailers(entry()):
        first = route().fingerprint
        with override_settings(SECRET_KEY="another"):
            assert route().fingerprint != first


def test_no_password_is_kept_to_compare_with() -> None:
    """Only the options that a connection is made with have it."""
    with use_mailers(entry(username="someone@example.org", password=PASSWORD)):
        assert route()
        kept = smtp._known["default"].given
    assert kept is not None
    words = repr(kept)
    assert PASSWORD not in words
    assert "someone" not in words


def test_a_derived_class_that_sets_an_attribute_sends_by_that() -> None:
    """What it sets after `super().__init__()` counts, also where the options are known."""
    with ScriptedServer() as right, ScriptedServer() as wrong:

        class Elsewhere(smtp.ReliableSMTPBackend):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                self.port = right.port

        for _ in range(2):
            backend = Elsewhere(alias="default", **wrong.options())
            sent: EmailMessage = message()
            assert backend.send_messages([sent]) == 1
        assert len(right.messages) == 2
        assert not wrong.messages
