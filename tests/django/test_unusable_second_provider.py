"""A mistake in the environment about the second provider does not keep the first one from working."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from reliable_email import checks, env
from reliable_email.backends.failover import routes_for
from reliable_email.classification import Cause
from reliable_email.mailers import mailers
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import message, use_mailers

HOST = {"EMAIL_FALLBACK_HOST": "second.example.com"}
SECRET = "hunter2-hunter2"
MISTAKES = [
    pytest.param({**HOST, "EMAIL_FALLBACK_PORT": "x"}, "EMAIL_FALLBACK_PORT must be", id="port"),
    pytest.param(
        {**HOST, "EMAIL_FALLBACK_HOST_PASSWORD_FILE": "/no/such/secret"},
        "EMAIL_FALLBACK_HOST_PASSWORD_FILE names a file",
        id="file missing",
    ),
    pytest.param(
        {**HOST, "EMAIL_FALLBACK_USE_TLS": "1", "EMAIL_FALLBACK_USE_SSL": "1"}, "are both true", id="both kinds of TLS"
    ),
    pytest.param({"EMAIL_FALLBACK_HOST_USER": "u"}, "EMAIL_FALLBACK_HOST_USER is set, but no server", id="no host"),
    pytest.param({"EMAIL_FALLBACK_PROVIDER": "sendgird"}, "EMAIL_FALLBACK_PROVIDER", id="provider misspelt"),
    pytest.param({"EMAIL_FALLBACK_URL": f"ftp://u:{SECRET}@h"}, "EMAIL_FALLBACK_URL begins with an unknown", id="URL"),
    pytest.param({**HOST, "EMAIL_FALLBACK_MAX_RETRIES": "-"}, "EMAIL_FALLBACK_MAX_RETRIES must be", id="retries"),
]
URLS = [
    pytest.param("smtp://second.example.com:x", "EMAIL_URL is not a URL", id="port"),
    pytest.param("ftp://second.example.com", "EMAIL_URL begins with an unknown scheme", id="scheme"),
    pytest.param("smtp://second.example.com?tiemout=3", "unknown option 'tiemout'", id="option"),
]


def assert_the_first_works(entries: env.Mailers, words: str, server: ScriptedServer) -> None:
    """A message goes out, a check and the door say what is wrong with the other, and no secret is told."""
    with use_mailers(entries):
        sent = message()
        assert mailers["default"].send_messages([sent]) == 1
        first, second = routes_for("default")
        told = [str(one) for one in checks.configuration_messages() if one.is_serious()]
    assert len(server.messages) == 1
    assert not first.build_error
    assert words in second.build_error
    assert any(words in text for text in told), told
    assert SECRET not in f"{second.build_error} {told}"


@pytest.mark.parametrize(("second", "words"), MISTAKES)
def test_a_mistake_about_the_second_provider_costs_the_first_nothing(second: dict[str, str], words: str) -> None:
    """The site starts, sends, and a check names the variable."""
    with ScriptedServer() as server:
        first = {"EMAIL_HOST": server.host, "EMAIL_PORT": str(server.port)}
        assert_the_first_works(env.mailers({**first, **second}, debug=False), words, server)


@pytest.mark.parametrize(("second", "words"), URLS)
def test_a_mistake_in_the_second_url_costs_the_first_nothing(second: str, words: str) -> None:
    """Of `failover(…)`, too."""
    with ScriptedServer() as server:
        url = f"failover(smtp://{server.host}:{server.port} {second} smtp://127.0.0.1:9)"
        entries = env.mailers({"EMAIL_URL": url}, debug=False)
        assert list(entries) == ["default", "primary", "fallback1", "fallback2"]
        del entries["fallback2"], entries["default"]["OPTIONS"]["using"][2:]
        assert_the_first_works(entries, words, server)


def test_a_second_provider_that_cannot_be_used_is_said_where_the_first_fails() -> None:
    """The recipient's story has the reply of the one that was asked; the other one could not be."""
    with ScriptedServer(Script(mail="451 4.3.0 try later")) as server:
        first = {"EMAIL_HOST": server.host, "EMAIL_PORT": str(server.port), "EMAIL_MAX_RETRIES": "1"}
        with use_mailers(env.mailers({**first, **HOST, "EMAIL_FALLBACK_PORT": "x"}, debug=False)):
            sent = message()
            with pytest.raises(OSError, match=r"4\.3\.0"):
                mailers["default"].send_messages([sent])
    [outcome] = sent.delivery.recipients.values()  # type: ignore[attr-defined]
    assert outcome.cause is Cause.SYSTEM_TEMPORARY


def test_a_mistake_about_the_first_provider_is_refused_at_the_start() -> None:
    """There nothing would be sent as it was meant."""
    with pytest.raises(ImproperlyConfigured, match="EMAIL_PORT must be"):
        env.mailers({"EMAIL_HOST": "h", "EMAIL_PORT": "x", **HOST})
