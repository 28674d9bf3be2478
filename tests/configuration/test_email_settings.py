"""Without MAILERS, `ReliableSMTPBackend` takes its route from the `EMAIL_*` settings."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from reliable_email.backends.reading.route_options import SMTPOptions, smtp_options
from reliable_email.exceptions import InvalidMailer
from reliable_email.smtp.options import TLSMode

# Django 6.1 warns whoever sets the old names, as these tests must.
pytestmark = pytest.mark.filterwarnings("ignore:The EMAIL_")
UseSettings = Callable[..., None]


def route(**arguments: Any) -> SMTPOptions:
    """The route of the settings, with a backend's arguments over them."""
    return smtp_options(arguments, alias=None)


def test_nothing_set_is_localhost(email_settings: UseSettings) -> None:
    """As in Django."""
    email_settings()
    assert route().summary() == "localhost:25, no TLS, no login"
    assert route().route == "primary"


def test_django_s_names_are_read(email_settings: UseSettings) -> None:
    """A project changes EMAIL_BACKEND and nothing else."""
    email_settings(
        EMAIL_HOST="mail.example.com",
        EMAIL_PORT=2587,
        EMAIL_USE_TLS=True,
        EMAIL_HOST_USER="u",
        EMAIL_HOST_PASSWORD="p",
        EMAIL_TIMEOUT=7,
    )
    options = route()
    assert options.summary() == "mail.example.com:2587, STARTTLS, login as u"
    assert options.timeout == 7.0


def test_the_names_of_this_package_are_read(email_settings: UseSettings) -> None:
    """EMAIL_MAX_RETRIES is the number of attempts in all."""
    email_settings(EMAIL_PROVIDER="gmail", EMAIL_SSL_VERIFY=False, EMAIL_MAX_RETRIES="5", EMAIL_SSL_STRICT="true")
    options = route()
    assert options.connection.host == "smtp.gmail.com"
    assert options.max_attempts == 5
    assert not options.connection.tls.verify
    assert options.connection.tls.strict is True


def test_no_retries_are_one_attempt(email_settings: UseSettings) -> None:
    """Who writes 0 retries does not want 0 attempts."""
    email_settings(EMAIL_HOST="h", EMAIL_MAX_RETRIES=0)
    assert route().max_attempts == 1


def test_the_port_follows_the_tls_mode_here_too(email_settings: UseSettings) -> None:
    """Django would take 25."""
    email_settings(EMAIL_HOST="h", EMAIL_USE_SSL=True)
    assert route().connection.port == 465


def test_arguments_win_over_settings(email_settings: UseSettings) -> None:
    """`get_connection(host=…)` and send_mail(auth_user=…) of old."""
    email_settings(EMAIL_HOST="h", EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="p")
    options = route(host="other", username="me", password=None, fail_silently=True)
    assert options.connection.host == "other"
    assert options.connection.credentials is not None
    assert (options.connection.credentials.username, options.connection.credentials.password) == ("me", "p")
    assert options.fail_silently


def test_errors_name_the_setting(email_settings: UseSettings) -> None:
    """Not an option that nobody wrote."""
    email_settings(EMAIL_HOST="h", EMAIL_PORT="smtp", EMAIL_MAX_RETRIES="many")
    with pytest.raises(InvalidMailer) as caught:
        route(timeout=-1)
    text = str(caught.value)
    assert "EMAIL_PORT must be" in text
    assert "EMAIL_MAX_RETRIES must be" in text
    assert "The argument 'timeout' must be" in text
    assert "MAILERS" not in text


def test_both_tls_modes_are_named_by_their_settings(email_settings: UseSettings) -> None:
    """As Django's own error does."""
    email_settings(EMAIL_HOST="h", EMAIL_USE_TLS=True, EMAIL_USE_SSL=True)
    with pytest.raises(InvalidMailer, match="EMAIL_USE_TLS and EMAIL_USE_SSL are both true"):
        route()


def test_reading_them_does_not_warn_again(email_settings: UseSettings) -> None:
    """Django 6.1 warned the project when it started; a warning at every send would be noise, or an error."""
    email_settings(EMAIL_HOST="h", EMAIL_USE_TLS=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert route().connection.tls.mode is TLSMode.STARTTLS


def test_a_second_provider_becomes_the_fallback(email_settings: UseSettings) -> None:
    """By the same names with another prefix."""
    email_settings(EMAIL_HOST="h", EMAIL_FALLBACK_PROVIDER="sendgrid", EMAIL_FALLBACK_HOST_PASSWORD="key")
    fallback = route().fallback
    assert fallback is not None
    assert fallback.connection.host == "smtp.sendgrid.net"
    assert fallback.route == "sendgrid"


def test_the_fallback_can_be_switched_off(email_settings: UseSettings) -> None:
    """Without removing its settings."""
    email_settings(EMAIL_HOST="h", EMAIL_FALLBACK_HOST="other", EMAIL_FALLBACK_ENABLED=False)
    assert route().fallback is None


def test_errors_of_the_fallback_name_its_setting(email_settings: UseSettings) -> None:
    """With its own prefix; the first provider is used all the same."""
    email_settings(EMAIL_HOST="h", EMAIL_FALLBACK_HOST="other", EMAIL_FALLBACK_PORT="x")
    assert "EMAIL_FALLBACK_PORT must be" in route().fallback_error
    email_settings(EMAIL_HOST="h", EMAIL_PORT="x", EMAIL_FALLBACK_HOST="other", EMAIL_FALLBACK_PORT="x")
    with pytest.raises(InvalidMailer, match="EMAIL_PORT must be"):
        route()


@pytest.mark.parametrize("debug", [True, False])
def test_a_fallback_without_a_provider_is_the_console_in_development(email_settings: UseSettings, debug: bool) -> None:
    """And nothing in production."""
    email_settings(EMAIL_HOST="h", EMAIL_FALLBACK_ENABLED=True, DEBUG=debug)
    assert route().fallback_to_console is debug
    assert route().fallback is None


def test_a_switch_that_is_no_switch_is_named(email_settings: UseSettings) -> None:
    """It is not read as true."""
    email_settings(EMAIL_HOST="h", EMAIL_FALLBACK_ENABLED="perhaps")
    with pytest.raises(InvalidMailer, match="EMAIL_FALLBACK_ENABLED must be true or false"):
        route()


def test_beside_mailers_they_are_not_read(mailers_setting: Callable[..., None]) -> None:
    """MAILERS is then the only place."""
    mailers_setting({"default": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "h"}}})
    assert route().connection.host == "localhost"
