"""A route that cannot be built costs the others nothing, and is told of everywhere."""

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from anymail.exceptions import AnymailNotSupportedWarning
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import call_command

from reliable_email.backends.building import build_route
from reliable_email.backends.failover import routes_for
from reliable_email.backends.routes import mailer
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.diagnosis.configuration import configuration_messages
from reliable_email.diagnosis.verdict import Health
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.monitoring.health import examine_site
from reliable_email.monitoring.route_health import site_routes
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_email_settings, use_mailers
from tests.django.post import A, B, message, received

FAILOVER = "reliable_email.backends.FailoverBackend"
SECRET = "hunter2-hunter2"


class Raises(BaseEmailBackend):
    """Cannot be made."""

    error: Exception = RuntimeError("no such region")

    def __init__(self, **options: Any) -> None:
        raise self.error


class RaisesImproperly(Raises):
    """As anymail without its key."""

    error = ImproperlyConfigured("You must set a KEY")


class RaisesOSError(Raises):
    """As a file that is gone."""

    error = FileNotFoundError(2, "No such file", "/etc/key.json")


class RaisesRecursion(Raises):
    """Anything at all."""

    error = RecursionError("maximum recursion depth exceeded")


class TellsItsPassword(Raises):
    """Says in its error what it must not."""

    def __init__(self, **options: Any) -> None:
        raise ValueError(f"login with {options['password']} is malformed")


class DerivedOfOurs(ReliableSMTPBackend):
    """A class of the project's that looks something up."""

    def __init__(self, **options: Any) -> None:
        raise LookupError("no such tenant")


class BrokenModule:
    """Stands for nothing."""


def own(name: str, **options: Any) -> dict[str, Any]:
    """A route by a class of this module."""
    return {"BACKEND": f"{__name__}.{name}", "OPTIONS": options}


UNBUILDABLE = [
    pytest.param({"BACKEND": "nowhere.EmailBackend"}, id="package missing"),
    pytest.param({"BACKEND": f"{__name__}.Missing"}, id="class missing"),
    pytest.param({"BACKEND": "tests.django.broken_module.EmailBackend"}, id="module raises"),
    pytest.param({"BACKEND": "anymail.backends.postmark.EmailBackend"}, id="anymail without key"),
    pytest.param(own("Raises"), id="RuntimeError"),
    pytest.param(own("RaisesImproperly"), id="ImproperlyConfigured"),
    pytest.param(own("RaisesOSError"), id="OSError"),
    pytest.param(own("RaisesRecursion"), id="RecursionError"),
    pytest.param(own("TellsItsPassword", password=SECRET), id="secret in the error"),
    pytest.param(own("DerivedOfOurs", host="127.0.0.1"), id="a class derived of ours"),
    pytest.param({"BACKEND": SMTP, "OPTIONS": {"host": "h", "ssl_cafile": "/no/such.pem"}}, id="file missing"),
    pytest.param({"BACKEND": SMTP, "OPTIONS": {"host": "h", "hots": "x"}}, id="unknown option"),
    pytest.param({"BACKEND": SMTP, "OPTIONS": {}}, id="no host"),
    pytest.param({"BACKEND": FAILOVER, "OPTIONS": {"using": []}}, id="a failover of nothing"),
    pytest.param({"BACKEND": FAILOVER, "OPTIONS": {"using": ["default"]}}, id="a circle"),
    pytest.param(None, id="no such mailer"),
]
DJANGO_SMTP_MISSPELT = pytest.param(
    {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"host": "h", "hots": "x"}},
    id="Django's with an unknown option",
)
Site = Callable[..., Any]


@pytest.fixture
def site(overrides: list[Any]) -> Site:
    """A failover over these, as "a", "b", and so on; None for a name that no mailer has."""

    def make(*routes: ScriptedServer | dict[str, Any] | None, **options: Any) -> Any:
        names = ("a", "b", "c")[: len(routes)]
        entries: dict[str, Any] = {"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": list(names), **options}}}
        for name, route in zip(names, routes, strict=True):
            if isinstance(route, ScriptedServer):
                route = {"BACKEND": SMTP, "OPTIONS": route.options(timeout=5)}
            if route is not None:
                entries[name] = route
        override = use_mailers(entries)
        override.enable()
        overrides.append(override)
        return mailers["default"]

    return make


@pytest.fixture(autouse=True)
def _no_anymail_settings(settings: Any) -> None:
    settings.ANYMAIL = {}


@pytest.mark.parametrize("bad", [*UNBUILDABLE, DJANGO_SMTP_MISSPELT])
@pytest.mark.parametrize("bad_is_first", [True, False])
def test_the_others_are_used(
    site: Site, server: ScriptedServer, bad: dict[str, Any] | None, bad_is_first: bool, caplog: Any
) -> None:
    """Whatever stands in the way of one, in whichever place; the log says it once."""
    backend = site(bad, server) if bad_is_first else site(server, bad)
    one, two = message(A), message(B)
    with caplog.at_level(logging.WARNING, logger="reliable_email"):
        assert [backend.send_messages([one]), backend.send_messages([two])] == [1, 1]
    assert received(server) == [(A,), (B,)]
    assert delivery_of(one).accepted == [A]
    told = [record for record in caplog.records if "cannot be built" in record.getMessage()]
    assert len(told) == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize("bad", [*UNBUILDABLE, DJANGO_SMTP_MISSPELT])
def test_the_worker_is_given_the_others(site: Site, server: ScriptedServer, bad: dict[str, Any] | None) -> None:
    """With a reason in the place of the one."""
    site(server, bad)
    good, unbuilt = sorted(routes_for("default"), key=lambda route: bool(route.build_error))
    assert (good.alias, good.build_error) == ("a", "")
    assert unbuilt.build_error
    assert SECRET not in unbuilt.build_error


@pytest.mark.parametrize("bad", UNBUILDABLE)
def test_where_none_can_be_built_the_error_names_each(site: Site, bad: dict[str, Any] | None) -> None:
    """And the report says so of every recipient."""
    backend = site(bad, own("Raises"))
    one, two = message(A, B), message(B)
    with pytest.raises(InvalidMailer) as caught:
        backend.send_messages([one, two])
    assert "no such region" in str(caught.value)
    assert "b" in str(caught.value)
    assert SECRET not in str(caught.value)
    for sent in (one, two):
        for outcome in delivery_of(sent).recipients.values():
            assert (outcome.outcome, outcome.cause) == (Outcome.DEFERRED, Cause.CANNOT_BE_BUILT)
    assert delivery_of(one).deferred == [A, B]
    with pytest.raises(InvalidMailer):
        routes_for("default")


def test_where_none_can_be_built_fail_silently_is_obeyed(site: Site) -> None:
    """The report tells all the same."""
    backend = site(own("Raises"), {"BACKEND": "nowhere.EmailBackend"}, fail_silently=True)
    one = message(A)
    assert backend.send_messages([one]) == 0
    assert delivery_of(one).recipients[A].cause is Cause.CANNOT_BE_BUILT


def test_a_route_whose_key_was_corrected_is_used_with_the_next_message(
    site: Site, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Nobody has to restart anything."""
    cafile = tmp_path / "ca.pem"
    backend = site({"BACKEND": SMTP, "OPTIONS": server.options(ssl_cafile=str(cafile))}, own("Raises"))
    with pytest.raises(InvalidMailer):
        backend.send_messages([message(A)])
    cafile.write_text("")
    assert backend.send_messages([message(B)]) == 1


def test_a_corrected_credential_of_a_foreign_route_makes_another_fingerprint(site: Site, settings: Any) -> None:
    """So that what was closed for the old one is open for the new one."""

    def fingerprints() -> list[str]:
        return [route.fingerprint for route in routes_for("default")]

    django_smtp = {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}
    found = []
    for password in ("old", "new", "new"):
        site(django_smtp | {"OPTIONS": {"host": "h", "username": "u", "password": password}})
        found.append(fingerprints())
    assert found[0] != found[1] == found[2]
    found.clear()
    for key in ("old", "new", "new"):
        settings.ANYMAIL = {"POSTMARK_SERVER_TOKEN": key}
        site({"BACKEND": "anymail.backends.postmark.EmailBackend"})
        found.append(fingerprints())
    assert found[0] != found[1] == found[2]


@pytest.mark.parametrize("bad", [*(one for one in UNBUILDABLE if one.id != "a circle"), DJANGO_SMTP_MISSPELT])
def test_check_health_and_test_email_name_it_and_go_on(
    site: Site, server: ScriptedServer, bad: dict[str, Any] | None
) -> None:
    """A check error with an id, DEGRADED and not UNHEALTHY, and the others are examined."""
    site(server, bad)
    errors = [one for one in configuration_messages() if one.level >= 40]
    assert errors
    assert all(one.id is not None and one.id.startswith("reliable_email.E") for one in errors)
    assert SECRET not in "".join(str(one) for one in errors)
    found = examine_site()
    assert found.verdict is Health.DEGRADED, found.findings
    assert any("cannot be built" in one.text for one in found.findings)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("test_email", "--to", A, stdout=out)
    assert ended.value.code == 3
    assert "Test email sent successfully" in out.getvalue()
    assert "cannot be built" in out.getvalue()
    assert SECRET not in out.getvalue()
    assert received(server) == [(A,)]


@pytest.mark.parametrize("bad", UNBUILDABLE)
def test_a_site_without_any_route_is_unhealthy(site: Site, bad: dict[str, Any] | None) -> None:
    """Every surface says so, and none raises."""
    site(bad)
    assert examine_site().verdict is Health.UNHEALTHY
    assert all(route.build_error for routes in site_routes().values() for route in routes)
    with pytest.raises(SystemExit) as ended:
        call_command("test_email", "--check-only", stdout=io.StringIO())
    assert ended.value.code == 1


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_second_provider_of_the_email_settings_stops_nothing(server: ScriptedServer) -> None:
    """Nor does the first: one of the two is enough."""
    options = server.options()
    good = {"HOST": options["host"], "PORT": options["port"], "TIMEOUT": 5}
    bad = {"HOST": "h", "SSL_CAFILE": "/no/such.pem"}
    for first, second, names in ((good, bad, ["primary", "fallback"]), (bad, good, ["primary", "fallback"])):
        values = {f"EMAIL_{name}": value for name, value in first.items()}
        values |= {f"EMAIL_FALLBACK_{name}": value for name, value in second.items()}
        with use_email_settings(**values):
            backend = mailers["default"]
            assert [route.alias for route in backend.routes()] == names
            assert EmailMessage("s", "b", "me@example.org", [A]).send() == 1
            assert any(one.id == "reliable_email.E004" for one in configuration_messages())
    assert received(server) == [(A,), (A,)]


class Warns(BaseEmailBackend):
    """As anymail's backend for SendGrid does, which anymail tests no more."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        warnings.warn("support has been dropped", AnymailNotSupportedWarning, stacklevel=2)


def test_a_warning_that_is_an_error_says_what_to_let_pass() -> None:
    """Under -W error the route cannot be built; without that it can."""
    entries = {"default": {"BACKEND": f"{__name__}.Warns"}}
    with use_mailers(entries):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            told = build_route(mailer("default")).build_error
        assert "support has been dropped" in told
        assert 'filterwarnings("ignore", category=anymail.exceptions.AnymailNotSupportedWarning)' in told
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AnymailNotSupportedWarning)
            assert build_route(mailer("default")).build_error == ""
