"""Each system check finds what it is for, says what to do, and stays quiet about a sound configuration."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.checks import CheckMessage, Tags
from django.core.checks.registry import registry
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.test.utils import override_settings

import reliable_email
from reliable_email import checks
from reliable_email.backends import FailoverBackend
from reliable_email.diagnosis import configuration
from reliable_email.env import mailers as env_mailers
from reliable_email.testing.server import ScriptedServer

SMTP = "reliable_email.backends.ReliableSMTPBackend"
FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
CONSOLE = "django.core.mail.backends.console.EmailBackend"
DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"
before_61 = pytest.mark.skipif(django.VERSION >= (6, 1), reason="Django refuses both at start")

GOOD = {"host": "mail.example.com", "use_tls": True, "username": "u", "password": "hunter2"}
ROUTE = {"BACKEND": SMTP, "OPTIONS": GOOD}


@pytest.fixture(autouse=True)
def opened_by_this_version() -> Iterator[None]:
    """On Django before 6.1, MAILERS is opened by EMAIL_BACKEND."""
    if django.VERSION >= (6, 1):
        yield
    else:
        with override_settings(EMAIL_BACKEND="reliable_email.backends.DefaultMailer"):
            yield


def found(entries: Mapping[str, Any] | None = None, **settings: Any) -> dict[str, CheckMessage]:
    """Every message by its number, for a project with these mailers; no text may hold the password."""
    if entries is not None:
        settings["MAILERS"] = entries
    with override_settings(**settings):
        messages = checks.configuration_messages()
    for message in messages:
        assert message.hint or message.id == "reliable_email.I002", message
        assert "hunter2" not in f"{message.msg} {message.hint}"
    return {str(message.id).removeprefix("reliable_email."): message for message in messages}


def smtp(**options: Any) -> dict[str, Any]:
    """MAILERS with one SMTP route."""
    return {"default": {"BACKEND": SMTP, "OPTIONS": options}}


def over(backend: str, using: object, **options: Any) -> dict[str, Any]:
    """A mailer that sends by others."""
    return {"BACKEND": backend, "OPTIONS": {"using": using, **options}}


def test_a_sound_configuration_is_silent() -> None:
    """Outbox, failover and two routes."""
    assert not found(
        {
            "default": over(OUTBOX, "routes"),
            "routes": over(FAILOVER, ["gmail", "sendgrid"]),
            "gmail": {"BACKEND": SMTP, "OPTIONS": {"provider": "gmail", "username": "u", "password": "hunter2"}},
            "sendgrid": {"BACKEND": SMTP, "OPTIONS": {"provider": "sendgrid", "password": "hunter2"}},
        }
    )


def test_a_relay_without_login_is_sound() -> None:
    """Many sites have one on their own network."""
    assert not found(smtp(host="relay.internal"))


@pytest.mark.parametrize(
    ("number", "options"),
    [
        ("E001", {**GOOD, "use_ssl": True}),
        ("E002", {**GOOD, "hots": "x"}),
        ("E003", {"provider": "gmial"}),
        ("E003", {"provider": "gmail", "region": "eu"}),
        ("E004", {**GOOD, "port": "x"}),
        ("E004", {**GOOD, "ssl_cafile": "/nowhere"}),
        ("E005", {"use_tls": True}),
        ("E006", {**GOOD, "ssl_verify": False}),
        ("E007", {**GOOD, "port": 465}),
        ("E007", {"host": "h", "port": 465}),
        ("E007", {"host": "h", "use_ssl": True, "port": 587}),
        ("E008", {"host": "h", "use_tls": True, "username": "u"}),
        ("E008", {"host": "h", "use_tls": True, "username": "u", "password": ""}),
        ("E008", {"host": "h", "use_tls": True, "password": "hunter2"}),
        ("E021", {"host": "h", "username": "u", "token_provider": "nowhere.tokens"}),
        ("W001", {"host": "h", "use_tls": True, "ssl_verify": False}),
        ("W002", {"host": "h", "username": "u", "password": "hunter2", "allow_plaintext_auth": True}),
        ("W003", {"host": "h", "username": "u", "password": "hunter2"}),
        ("W006", {"provider": "sendgrid"}),
    ],
)
def test_what_is_wrong_with_a_route_has_its_number(number: str, options: dict[str, Any]) -> None:
    """And nothing else is reported beside it."""
    messages = found(smtp(**options))
    assert list(messages) == [number]
    assert messages[number].msg.startswith("MAILERS['default']")


@pytest.mark.parametrize(
    "options",
    [
        {"host": "h", "use_tls": True, "ssl_verify": False, "ssl_pin": hashlib.sha256(b"").hexdigest()},
        {"host": "localhost", "username": "u", "password": "hunter2"},
        {"host": "h", "port": 587, "use_tls": True},
        {"host": "h", "port": 465, "use_ssl": True},
        {"provider": "generic", "host": "h"},
    ],
)
def test_what_only_looks_wrong_is_silent(options: dict[str, Any]) -> None:
    """A pin is a verification, this machine needs no TLS."""
    assert not found(smtp(**options))


def test_suggestions_are_made() -> None:
    """For options, providers and keys."""
    assert "'provider'" in str(found(smtp(provder="gmail", host="h"))["E002"].hint)
    assert "'gmail'" in found(smtp(provider="gmial"))["E003"].msg
    assert "'POLL_SECONDS'" in str(found(smtp(host="h"), RELIABLE_EMAIL={"POLL_SECOND": 3})["E015"].hint)


def test_a_route_that_reaches_nobody_is_refused_in_production() -> None:
    """Directly below a failover, below an outbox, and as a subclass; in development it is welcome."""
    below_failover = {"default": over(FAILOVER, ["a", "c"]), "a": ROUTE, "c": {"BACKEND": CONSOLE}}
    assert list(found(below_failover)) == ["E009"]
    assert not found(below_failover, DEBUG=True)
    assert list(found({"default": over(OUTBOX, "c"), "c": {"BACKEND": CONSOLE}})) == ["E009"]


def test_a_default_that_reaches_nobody_is_a_warning_of_deployment() -> None:
    """A staging site may want that."""
    assert list(found({"default": {"BACKEND": CONSOLE}})) == ["W005"]
    with override_settings(MAILERS={"default": {"BACKEND": CONSOLE}}):
        assert not checks.check_configuration()


def test_a_mailer_that_only_code_names_may_write_files() -> None:
    """It is nobody's fallback."""
    assert not found({"default": ROUTE, "archive": {"BACKEND": "django.core.mail.backends.filebased.EmailBackend"}})


def test_using_must_name_a_mailer() -> None:
    """And the known ones are listed."""
    message = found({"default": over(FAILOVER, ["a", "b"]), "a": ROUTE})["E010"]
    assert "'b'" in message.msg
    assert "a, default" in str(message.hint)


def test_using_must_not_lead_back() -> None:
    """Directly or round a corner."""
    assert "E011" in found({"default": over(FAILOVER, ["default"])})
    assert "E011" in found({"default": over(OUTBOX, "b"), "b": over(FAILOVER, ["a", "default"]), "a": ROUTE})


def test_an_outbox_must_not_be_below_another_door() -> None:
    """A worker would put into the outbox what it took out of it."""
    entries = {"default": over(OUTBOX, "a"), "a": ROUTE}
    assert "E012" in found({**entries, "x": over(FAILOVER, ["default"])})
    assert "E012" in found({**entries, "x": over(OUTBOX, "default")})


def test_a_foreign_route_must_not_be_silent() -> None:
    """Its failures would look like deliveries; ours leaves a report all the same."""
    silent = {"host": "h", "timeout": 3, "fail_silently": True}
    assert list(found({"default": over(FAILOVER, ["a"]), "a": {"BACKEND": DJANGO_SMTP, "OPTIONS": silent}})) == ["E013"]
    assert not found(
        {"default": over(FAILOVER, ["a"]), "a": {"BACKEND": SMTP, "OPTIONS": {**GOOD, "fail_silently": True}}}
    )


def test_an_outbox_needs_the_app() -> None:
    """Without it there are no tables."""
    entries = {"default": over(OUTBOX, "a"), "a": ROUTE}
    assert list(found(entries, INSTALLED_APPS=["django.contrib.contenttypes"])) == ["E014"]
    assert not found({"default": ROUTE}, INSTALLED_APPS=["django.contrib.contenttypes"])


def test_an_outbox_s_database_must_exist() -> None:
    """By its alias."""
    message = found({"default": over(OUTBOX, "a", database="mial"), "a": ROUTE})["E004"]
    assert "'mial'" in message.msg


@pytest.mark.parametrize(("value", "number"), [({"BATHC": 1}, "E015"), ({"BATCH": 0}, "E016"), ([], "E016")])
def test_the_dict_is_checked(value: Any, number: str) -> None:
    """Keys and values."""
    assert list(found({"default": ROUTE}, RELIABLE_EMAIL=value)) == [number]


def test_email_names_of_this_package_beside_mailers_are_an_error() -> None:
    """Django says so of its own names; ours would be ignored silently."""
    message = found({"default": ROUTE}, EMAIL_SSL_VERIFY=False, EMAIL_FALLBACK_ENABLED=True)["E017"]
    assert "EMAIL_FALLBACK_ENABLED, EMAIL_SSL_VERIFY" in message.msg


@before_61
def test_django_s_email_names_beside_mailers_are_an_error_on_every_version() -> None:
    """As 6.1 has it."""
    assert "EMAIL_HOST" in found({"default": ROUTE}, EMAIL_HOST="h")["E017"].msg


@before_61
def test_mailers_that_nobody_opens_are_an_error() -> None:
    """send_mail() would use another server than the one that was configured."""
    message = found({"default": ROUTE}, EMAIL_BACKEND=DJANGO_SMTP)["E018"]
    assert "reliable_email.backends.DefaultMailer" in str(message.hint)


def test_a_backend_that_is_not_there_is_an_error() -> None:
    """With its path."""
    assert "'nowhere.Backend'" in found({"default": {"BACKEND": "nowhere.Backend"}})["E019"].msg


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("smtp://u:hunter2@mail.example.com", id="an address"),
        pytest.param(None, id="None"),
        pytest.param([ROUTE], id="a list"),
        pytest.param({**ROUTE, "OPTIONS": ["host"]}, id="options in a list"),
        pytest.param({**ROUTE, "OPTIONS": "host=h"}, id="options as text"),
        pytest.param({**ROUTE, "BACKEND": 5}, id="a number for a backend"),
        pytest.param({**ROUTE, "BACKEND": dict}, id="a class for a backend"),
    ],
)
def test_an_entry_of_another_shape_is_an_error_that_costs_the_other_route_nothing(entry: Any) -> None:
    """Checks, commands and doors name it, and the healthy route beside it takes the message."""
    with ScriptedServer() as server:
        good = {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": server.port}}
        entries = {
            "default": over(FAILOVER, ["odd", "good"]),
            "odd": entry,
            "good": good,
        }
        assert "MAILERS['odd']" in found(entries)["E026"].msg
        with override_settings(MAILERS=entries):
            with pytest.raises(SystemExit):
                call_command("test_email", "--check-only", stdout=(out := StringIO()))
            message = EmailMessage("Hello", "World", "a@example.com", ["b@example.net"])
            assert FailoverBackend(alias="default", using=["odd", "good"]).send_messages([message]) == 1
        assert "odd" in out.getvalue()
        assert "hunter2" not in out.getvalue()
        assert len(server.messages) == 1


def test_default_mailer_is_no_mailer() -> None:
    """It would open itself."""
    assert list(found({"default": {"BACKEND": "reliable_email.backends.DefaultMailer"}})) == ["E020"]


def test_django_s_backend_without_a_timeout_is_a_warning_of_deployment() -> None:
    """It waits for ever."""
    entry = {"BACKEND": DJANGO_SMTP, "OPTIONS": {"host": "h"}}
    assert list(found({"default": entry})) == ["W004"]
    entry["OPTIONS"] = {"host": "h", "timeout": 10}
    assert not found({"default": entry})


def test_what_the_environment_left_open_is_said() -> None:
    """As information, not as an error."""
    assert list(found(env_mailers({"EMAIL_HOST": "h", "EMAIL_FALLBACK_ENABLED": "1"}))) == ["I001"]
    assert "587" in found(env_mailers({"EMAIL_URL": "smtps://u:hunter2@h:587"}))["I002"].msg


@pytest.mark.filterwarnings("ignore:The EMAIL_")
def test_the_settings_of_old_are_checked_by_their_names(email_settings: Callable[..., None]) -> None:
    """A project without MAILERS."""
    email_settings(EMAIL_BACKEND=SMTP, EMAIL_HOST="h", EMAIL_PORT=465, EMAIL_USE_TLS=True, EMAIL_FALLBACK_ENABLED=True)
    assert list(found()) == ["E007", "I001"]
    email_settings(EMAIL_BACKEND=SMTP, EMAIL_HOST="h", EMAIL_PORT="x")
    assert found()["E004"].msg.startswith("EMAIL_PORT must")
    email_settings(EMAIL_BACKEND=SMTP, EMAIL_HOST="h", EMAIL_FALLBACK_HOST="b", EMAIL_FALLBACK_PORT="x")
    assert found()["E004"].msg.startswith("EMAIL_FALLBACK_PORT must")


@pytest.mark.filterwarnings("ignore:The EMAIL_")
def test_default_mailer_without_mailers_is_an_error(email_settings: Callable[..., None]) -> None:
    """There is nothing to open."""
    email_settings(EMAIL_BACKEND="reliable_email.backends.DefaultMailer")
    assert list(found()) == ["E020"]


def test_the_worst_comes_first() -> None:
    """For those who read one line."""
    with override_settings(
        MAILERS={"default": {"BACKEND": SMTP, "OPTIONS": {"host": "h", "use_tls": True, "ssl_verify": False}}},
        RELIABLE_EMAIL={"BATHC": 1},
    ):
        levels = [message.level for message in checks.configuration_messages()]
    assert levels == sorted(levels, reverse=True)
    assert len(levels) == 2


def test_the_table_names_every_number_that_the_code_uses() -> None:
    """The documentation is made of it."""
    package = Path(str(reliable_email.__file__)).parent
    table, _, code = Path(str(configuration.__file__)).read_text("utf-8").partition('"""\n\n')
    documented = re.findall(r"^\| reliable_email\.([EWI]\d{3}) \|", table, re.MULTILINE)
    others = [path.read_text("utf-8") for path in package.rglob("*.py") if path.name != "configuration.py"]
    used = set(re.findall(r"\b([EWI]0\d{2})\b", "\n".join((code, *others))))
    assert documented
    assert documented == sorted(documented, key=lambda number: ("EWI".index(number[0]), number))
    assert set(documented) == used


def test_they_are_registered_under_django_s_tag() -> None:
    """`check --tag mail` finds them; the expensive question of deployment only with --deploy."""
    configuration: Any = checks.check_configuration
    deployment: Any = checks.check_deployment
    assert configuration in registry.registered_checks
    assert deployment in registry.deployment_checks
    assert getattr(Tags, "mail", "mail") in configuration.tags


@pytest.mark.parametrize(
    ("sender", "ids"),
    [
        ("webmaster@localhost", ["reliable_email.W009"]),
        ("shop@intranet", ["reliable_email.W009"]),
        ("Shop <shop@example.com>", []),
    ],
)
def test_a_sender_that_nobody_could_answer_is_a_warning_of_deployment(sender: str, ids: list[str]) -> None:
    """Django's own default among them; in development mail may come from there."""
    with override_settings(MAILERS={"default": smtp(host="mail.example.com")["default"]}, DEFAULT_FROM_EMAIL=sender):
        assert [one.id for one in checks.check_deployment()] == ids
        assert "reliable_email.W009" not in [one.id for one in checks.check_configuration()]


SITE = """
import sys
touched = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "sqlite3.connect", "socket.__new__"):
        touched.append(event)
sys.addaudithook(watch)
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["reliable_email"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MAILERS={
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "a"}},
        "a": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "mail.example.com"}},
    },
    SILENCED_SYSTEM_CHECKS=["reliable_email.E018"],
)
import django
django.setup()
assert "reliable_email.checks" in sys.modules
heavy = ("smtp", "classification", "providers", "diagnosis", "backends", "outbox")
loaded = [name for name in sys.modules if name.startswith(tuple(f"reliable_email.{room}" for room in heavy))]
assert not loaded, loaded
assert not touched, touched
from django.core.management import call_command
call_command("check", "--tag", "mail")
call_command("check", "--tag", "mail", "--deploy")
assert not touched, touched
"""


def test_starting_and_checking_open_nothing() -> None:
    """No socket, no name, no database, no mailer is built; what sends mail is not imported before it is used."""
    subprocess.run([sys.executable, "-c", SITE], check=True, timeout=60, capture_output=True)


IN_TESTS = """
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["reliable_email"],
    DEBUG=False,
    MAILERS={
        "default": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["a"]}},
        "a": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "mail.example.com"}},
    },
)
import django
django.setup()
from django.test.utils import setup_test_environment
setup_test_environment()
from reliable_email.checks import configuration_messages
assert configuration_messages() == [], configuration_messages()
"""


def test_a_project_s_own_test_run_is_not_scolded_for_locmem() -> None:
    """`manage.py test` runs the checks after Django has replaced every mailer."""
    subprocess.run([sys.executable, "-c", IN_TESTS], check=True, timeout=60)


def test_the_app_is_called_by_its_name() -> None:
    """The label is part of table names, for ever."""
    from django.apps import apps

    config = apps.get_app_config("reliable_email")
    assert (config.name, config.default_auto_field) == ("reliable_email", "django.db.models.BigAutoField")
    assert str(config.verbose_name) == "Reliable e-mail"
