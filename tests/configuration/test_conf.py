"""The dict RELIABLE_EMAIL."""

from dataclasses import fields
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from reliable_email import conf


def test_without_the_dict_the_defaults_hold() -> None:
    """A site starts without it."""
    with override_settings(RELIABLE_EMAIL={}):
        assert conf.get() == conf.Settings()
    assert conf.Settings().lease_seconds == 60.0
    assert conf.Settings().connections == 8


def test_values_are_read_once_and_again_when_they_change() -> None:
    """Tests override settings."""
    with override_settings(RELIABLE_EMAIL={"LEASE_SECONDS": 90, "ENVIRONMENT": "staging"}):
        assert (conf.get().lease_seconds, conf.get().environment) == (90.0, "staging")
        assert conf.get() is conf.get()
    with override_settings(RELIABLE_EMAIL={"LEASE_SECONDS": 30}):
        assert conf.get().lease_seconds == 30.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LEASE_SECONDS", 0),
        ("LEASE_SECONDS", "long"),
        ("CONNECTIONS", 0),
        ("CONNECTIONS", True),
        ("QUOTA_SOFT_LIMIT", 2),
        ("JOURNAL_DAYS", 7),
        ("EXPIRES_DAYS", 0),
        ("ENVIRONMENT", "x" * 65),
        ("NOTIFY", "perhaps"),
        ("ENCRYPTION_KEYS", 3),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key: str, value: Any) -> None:
    """With its place in the dict."""
    with override_settings(RELIABLE_EMAIL={key: value}), pytest.raises(ImproperlyConfigured) as caught:
        conf.get()
    assert f"RELIABLE_EMAIL[{key!r}] must" in str(caught.value)


def test_an_unknown_key_does_not_stop_a_running_site() -> None:
    """The system check reports it before."""
    with override_settings(RELIABLE_EMAIL={"LEASE_SECOND": 1, "BATCH": 7}):
        assert conf.get().batch == 7
        (problem,) = conf.key_problems()
    assert problem.is_unknown
    assert "'LEASE_SECONDS'" in problem.hint


def test_what_is_no_dict_is_refused() -> None:
    """In words."""
    with override_settings(RELIABLE_EMAIL=["BATCH"]), pytest.raises(ImproperlyConfigured, match="must be a dict"):
        conf.get()


def test_keys_of_encryption_are_in_no_repr() -> None:
    """One or several."""
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": "hunter2"}):
        assert conf.get().encryption_keys == ("hunter2",)
        assert "hunter2" not in repr(conf.get())
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": ["a\n"]}):
        assert "'a" not in conf.key_problems()[0].text


def test_every_key_has_a_sentence_of_help() -> None:
    """The documentation's table is made of them."""
    for one in fields(conf.Settings):
        assert one.metadata["help"].endswith("."), one.name
