"""MAILERS from environment variables: what each says, how routes are named, and what is refused in words."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from reliable_email import env
from reliable_email.backends.reading.route_options import SMTPOptions, smtp_options
from reliable_email.backends.reading.tokens import GRANT_ARGUMENTS, GRANTS

SMTP = "reliable_email.backends.ReliableSMTPBackend"
FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
CONSOLE = "django.core.mail.backends.console.EmailBackend"


def default_route(environ: dict[str, str]) -> SMTPOptions:
    """The one route that the environment describes."""
    entry = env.mailers(environ)["default"]
    assert entry["BACKEND"] == SMTP
    return smtp_options(entry["OPTIONS"], alias="default")


def refusal(environ: dict[str, str]) -> str:
    """Return the error that says why the environment cannot be used."""
    with pytest.raises(ImproperlyConfigured) as caught:
        env.mailers(environ)
    return str(caught.value)


def test_the_ten_names_make_a_route() -> None:
    """Each of them is used."""
    options = default_route(
        {
            "EMAIL_HOST": "mail.example.com",
            "EMAIL_PORT": "2587",
            "EMAIL_USE_TLS": "True",
            "EMAIL_USE_SSL": "False",
            "EMAIL_HOST_USER": "me@example.com",
            "EMAIL_HOST_PASSWORD": "p%w",
            "EMAIL_SSL_VERIFY": "true",
            "EMAIL_TIMEOUT": "20",
            "EMAIL_MAX_RETRIES": "4",
            "EMAIL_FALLBACK_ENABLED": "false",
        }
    )
    assert options.summary() == "mail.example.com:2587, STARTTLS, login as me@example.com"
    assert options.connection.credentials is not None
    assert options.connection.credentials.password == "p%w"
    assert (options.timeout, options.max_attempts) == (20.0, 4)


def test_values_have_their_types() -> None:
    """Other SMTP backends, and people, expect a port to be a number."""
    entry = env.mailers({"EMAIL_HOST": "h", "EMAIL_PORT": "587", "EMAIL_USE_TLS": "yes", "EMAIL_TIMEOUT": "3"})[
        "default"
    ]
    assert entry["OPTIONS"] == {"host": "h", "port": 587, "use_tls": True, "timeout": 3.0}


def test_no_variable_at_all_still_starts() -> None:
    """With Django's own default, and in development with the console."""
    assert env.mailers({}) == {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "localhost"}}}
    assert env.mailers({}, debug=True) == {"default": {"BACKEND": CONSOLE}}


@pytest.mark.parametrize(
    ("environ", "is_debug"),
    [
        ({"DEBUG": "1"}, True),
        ({"DJANGO_DEBUG": "true"}, True),
        ({"DJANGO_DEBUG": "false", "DEBUG": "1"}, False),
        ({"DEBUG": "app:*"}, False),
    ],
)
def test_debug_is_looked_for_where_it_is_not_given(environ: dict[str, str], is_debug: bool) -> None:
    """Settings are not complete yet; `debug=DEBUG` says it better."""
    assert (env.mailers(environ)["default"]["BACKEND"] == CONSOLE) is is_debug
    assert env.mailers(environ, debug=not is_debug) == env.mailers({}, debug=not is_debug)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    """Compose files pass empty values through."""
    assert env.mailers(dict.fromkeys(("EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_URL"), "")) == env.mailers({})


def test_a_second_provider_makes_a_failover_named_by_providers() -> None:
    """In order of preference."""
    entries = env.mailers(
        {
            "EMAIL_PROVIDER": "gmail",
            "EMAIL_HOST_USER": "me@gmail.com",
            "EMAIL_HOST_PASSWORD": "p",
            "EMAIL_FALLBACK_HOST": "smtp.sendgrid.net",
            "EMAIL_FALLBACK_USE_TLS": "1",
            "EMAIL_FALLBACK_HOST_USER": "apikey",
            "EMAIL_FALLBACK_HOST_PASSWORD": "k",
        }
    )
    assert entries["default"] == {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "sendgrid"]}}
    assert entries["gmail"]["OPTIONS"] == {"provider": "gmail", "username": "me@gmail.com", "password": "p"}
    assert entries["sendgrid"]["OPTIONS"]["host"] == "smtp.sendgrid.net"


def test_unknown_providers_are_primary_and_fallback() -> None:
    """And two accounts of one provider too."""
    assert list(env.mailers({"EMAIL_HOST": "a", "EMAIL_FALLBACK_HOST": "b"})) == ["default", "primary", "fallback"]
    twice = {"EMAIL_PROVIDER": "gmail", "EMAIL_FALLBACK_PROVIDER": "gmail"}
    assert list(env.mailers(twice)) == ["default", "primary", "fallback"]


def test_a_second_provider_can_be_switched_off() -> None:
    """Without removing its variables."""
    entries = env.mailers({"EMAIL_HOST": "a", "EMAIL_FALLBACK_HOST": "b", "EMAIL_FALLBACK_ENABLED": "no"})
    assert list(entries) == ["default"]


def test_a_fallback_without_a_provider_is_the_console_in_development_only() -> None:
    """In production there is a note for the system check instead."""
    environ = {"EMAIL_HOST": "a", "EMAIL_FALLBACK_ENABLED": "true"}
    developing = env.mailers(environ, debug=True)
    assert developing["default"]["OPTIONS"]["using"] == ["primary", "console"]
    assert developing["console"] == {"BACKEND": CONSOLE}
    live = env.mailers(environ, debug=False)
    assert list(live) == ["default"]
    assert [note.is_missing_fallback for note in live.notes] == [True]


def test_email_backend_is_the_default_mailer_s_backend() -> None:
    """Options of SMTP are not given to a backend that prints."""
    environ = {"EMAIL_HOST": "h", "EMAIL_TIMEOUT": "3", "EMAIL_SSL_VERIFY": "1"}
    assert env.mailers({**environ, "EMAIL_BACKEND": CONSOLE}) == {"default": {"BACKEND": CONSOLE}}
    django_smtp = "django.core.mail.backends.smtp.EmailBackend"
    assert env.mailers({**environ, "EMAIL_BACKEND": django_smtp}) == {
        "default": {"BACKEND": django_smtp, "OPTIONS": {"host": "h", "timeout": 3.0}}
    }


def test_an_outbox_is_put_over_the_routes() -> None:
    """Over one route directly, over several through a failover."""
    one = env.mailers({"EMAIL_HOST": "h", "EMAIL_BACKEND": OUTBOX})
    assert one["default"] == {"BACKEND": OUTBOX, "OPTIONS": {"using": "primary"}}
    assert one["primary"]["BACKEND"] == SMTP
    two = env.mailers({"EMAIL_HOST": "h", "EMAIL_FALLBACK_HOST": "b", "EMAIL_BACKEND": OUTBOX})
    assert two["default"]["OPTIONS"] == {"using": "routes"}
    assert two["routes"] == {"BACKEND": FAILOVER, "OPTIONS": {"using": ["primary", "fallback"]}}


def test_a_secret_may_come_from_a_mounted_file(tmp_path: Path) -> None:
    """The line end that editors add is not part of it; other space is."""
    secret = tmp_path / "password"
    secret.write_text(" hunter2 \n")
    options = default_route({"EMAIL_HOST": "h", "EMAIL_HOST_USER": "u", "EMAIL_HOST_PASSWORD_FILE": str(secret)})
    assert options.connection.credentials is not None
    assert options.connection.credentials.password == " hunter2 "


def test_every_name_may_come_from_a_file(tmp_path: Path) -> None:
    """EMAIL_URL holds a secret too."""
    url = tmp_path / "url"
    url.write_text("submissions://u:p@mail.example.com\r\n")
    assert default_route({"EMAIL_URL_FILE": str(url)}).connection.host == "mail.example.com"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the variable, the path and the reason."""
    text = refusal({"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": str(tmp_path / "absent")})
    assert text.startswith("EMAIL_HOST_PASSWORD_FILE names a file that cannot be read")
    assert "absent" in text


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """And its content is not shown."""
    path = tmp_path / "password"
    path.write_bytes(b"\xff\xfesecret")
    assert "not text" in refusal({"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD_FILE": str(path)})


def test_a_variable_and_its_file_are_an_error() -> None:
    """One of them would be ignored."""
    text = refusal({"EMAIL_HOST": "h", "EMAIL_HOST_PASSWORD": "hunter2", "EMAIL_HOST_PASSWORD_FILE": "/x"})
    assert "EMAIL_HOST_PASSWORD and EMAIL_HOST_PASSWORD_FILE" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"EMAIL_HOST": "h", "EMAIL_PORT": "smtp"}, "EMAIL_PORT must be a whole number"),
        ({"EMAIL_HOST": "h", "EMAIL_TIMEOUT": "soon"}, "EMAIL_TIMEOUT must be"),
        ({"EMAIL_HOST": "h", "EMAIL_USE_TLS": "ja"}, "EMAIL_USE_TLS must be true or false"),
        ({"EMAIL_HOST": "h", "EMAIL_SSL_VERIFY": "ture"}, "EMAIL_SSL_VERIFY must be true or false"),
        ({"EMAIL_HOST": "h", "EMAIL_MAX_RETRIES": "-1"}, "EMAIL_MAX_RETRIES must be"),
        ({"EMAIL_HOST": "h", "EMAIL_FALLBACK_ENABLED": "x"}, "EMAIL_FALLBACK_ENABLED must be"),
        ({"EMAIL_HOST": "h", "EMAIL_USE_TLS": "1", "EMAIL_USE_SSL": "1"}, "EMAIL_USE_TLS and EMAIL_USE_SSL"),
        ({"EMAIL_PROVIDER": "gmial"}, "EMAIL_PROVIDER: There is no provider 'gmial'. Did you mean 'gmail'?"),
        ({"EMAIL_HOST": "https://h"}, "EMAIL_HOST must be a host name"),
        ({"EMAIL_HOST_USER": "u"}, "EMAIL_HOST_USER is set, but no server: set EMAIL_HOST"),
        ({"EMAIL_FALLBACK_HOST": "b"}, "for the first is missing"),
        ({"EMAIL_URL": "smtp://h", "EMAIL_HOST": "h"}, "EMAIL_URL and EMAIL_HOST are both set"),
        ({"EMAIL_URL": "failover(smtp://a smtp://b)", "EMAIL_FALLBACK_HOST": "c"}, "EMAIL_URL is a failover already"),
        ({"EMAIL_URL": "failover(smtp://a smtp://b)", "EMAIL_HOST_PASSWORD": "x"}, "ambiguous"),
        ({"EMAIL_URL": "smtp://h?tiemout=3"}, "unknown option 'tiemout'. Did you mean 'timeout'?"),
        ({"EMAIL_URL": "smtp://h?timeout=x"}, "'timeout' of EMAIL_URL must be"),
        ({"EMAIL_URL": "smtp://h?password_file=/nowhere"}, "'password_file' of EMAIL_URL"),
        (
            {"EMAIL_HOST": "h", "EMAIL_USE_TLS": "1", "EMAIL_SSL_VERIFY": "0", "EMAIL_HOST_USER": "u"}
            | {"EMAIL_HOST_PASSWORD": "hunter2"},
            "EMAIL_SSL_VERIFY is off",
        ),
    ],
)
def test_what_cannot_be_used_is_named_by_its_variable(environ: dict[str, str], words: str) -> None:
    """At start-up, with the remedy, without a secret."""
    text = refusal(environ)
    assert words in text
    assert "hunter2" not in text


def test_no_retries_are_one_attempt() -> None:
    """As with the setting of that name."""
    assert default_route({"EMAIL_HOST": "h", "EMAIL_MAX_RETRIES": "0"}).max_attempts == 1


def test_a_url_takes_what_it_does_not_say_from_the_other_names() -> None:
    """A password that is mounted apart, a time-out for all."""
    options = default_route(
        {"EMAIL_URL": "submission://u@mail.example.com", "EMAIL_HOST_PASSWORD": "p", "EMAIL_TIMEOUT": "3"}
    )
    assert options.connection.credentials is not None
    assert (options.connection.credentials.password, options.timeout) == ("p", 3.0)


def test_a_failover_url_makes_the_same_mailers_as_the_names() -> None:
    """With other backends among them."""
    entries = env.mailers(
        {"EMAIL_URL": "failover(submission://u:p@a.example submissions://u:p@b.example file:///tmp/mail)"}
    )
    assert entries["default"] == {"BACKEND": FAILOVER, "OPTIONS": {"using": ["primary", "fallback1", "fallback2"]}}
    assert entries["fallback2"]["OPTIONS"] == {"file_path": "/tmp/mail"}


def test_a_token_provider_is_not_imported_while_settings_are_read() -> None:
    """Its module may import models."""
    entry = env.mailers(
        {"EMAIL_PROVIDER": "gmail", "EMAIL_HOST_USER": "u", "EMAIL_TOKEN_PROVIDER": "a.b", "EMAIL_AUTH": "xoauth2"}
    )["default"]
    assert entry["OPTIONS"]["token_provider"] == "a.b"
    assert entry["OPTIONS"]["auth"] == "xoauth2"


def test_a_grant_s_arguments_have_variables_too(tmp_path: Path) -> None:
    """Secrets by file as everywhere; the route is usable as it is."""
    token = tmp_path / "token"
    token.write_text("hunter2\n")
    environ = {
        "EMAIL_PROVIDER": "gmail",
        "EMAIL_HOST_USER": "me@gmail.com",
        "EMAIL_TOKEN_PROVIDER": "refresh_token",
        "EMAIL_TOKEN_CLIENT_ID": "c",
        "EMAIL_TOKEN_REFRESH_TOKEN_FILE": str(token),
    }
    entry = env.mailers(environ)["default"]
    assert entry["OPTIONS"]["token_provider"] == {
        "grant": "refresh_token",
        "client_id": "c",
        "refresh_token": "hunter2",
    }
    assert default_route(environ).connection.mechanism == "auto"


def test_every_argument_of_a_grant_that_is_text_has_a_variable() -> None:
    """None is forgotten when a grant gets a new one."""
    for path in GRANTS.values():
        for one in fields(import_string(path)):
            assert one.name in GRANT_ARGUMENTS or one.name == "on_new_refresh_token"


def test_no_repr_shows_a_secret() -> None:
    """MAILERS is printed by debuggers."""
    entries = env.mailers({"EMAIL_URL": "failover(submission://u:hunter2@a submission://u:hunter2@b)"})
    assert "hunter2" not in repr(entries)
    assert "hunter2" not in repr(entries.notes)


def test_it_works_in_a_settings_module(tmp_path: Path) -> None:
    """Nothing may read a setting while settings are being made."""
    (tmp_path / "site_settings.py").write_text(
        "from reliable_email import env\n"
        "SECRET_KEY = 'x'\n"
        "DEBUG = False\n"
        "INSTALLED_APPS = ['reliable_email']\n"
        "MAILERS = env.mailers({'EMAIL_URL': 'submission://u:p@mail.example.com'}, debug=DEBUG)\n"
        "EMAIL_BACKEND_OF_OLD = 'reliable_email.backends.DefaultMailer'\n"
        "import django\n"
        "if django.VERSION < (6, 1):\n"
        "    EMAIL_BACKEND = EMAIL_BACKEND_OF_OLD\n"
    )
    code = (
        "import django; django.setup()\n"
        "from reliable_email.checks import configuration_messages\n"
        "from reliable_email.backends.routes import routes_of\n"
        "assert configuration_messages() == [], configuration_messages()\n"
        "assert routes_of()[0].options['host'] == 'mail.example.com'\n"
    )
    import os

    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings"}
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environ)


CLASSES = """
from django.core.mail.backends import smtp
from django.core.mail.backends.smtp import EmailBackend as Base
from reliable_email.backends import ReliableSMTPBackend
from anymail.backends.sendgrid import EmailBackend as Exported
from django.conf import settings

NAME = settings.SITE_NAME  # which is not there while the settings are read


class Mixin:
    pass


class Derived(Mixin, smtp.EmailBackend):
    pass


class Again(Derived):
    def __init__(self, *args, pool=None, max_attempts=1, **kwargs):
        super().__init__(*args, **kwargs)


class Narrow(Base):
    def __init__(self, host, alias=None):
        super().__init__(host=host, alias=alias)


class Ours(ReliableSMTPBackend):
    pass


class Other:
    def __init__(self, alias=None, fail_silently=False):
        pass
"""


@pytest.fixture
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of the project's own, which cannot be imported yet."""
    (tmp_path / "of_the_site").mkdir()
    (tmp_path / "of_the_site/__init__.py").write_text("raise RuntimeError('imported while settings are read')\n")
    (tmp_path / "of_the_site/mail.py").write_text(CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "of_the_site" not in sys.modules


FULL = {
    "EMAIL_HOST": "mx.example.org",
    "EMAIL_PORT": "587",
    "EMAIL_USE_TLS": "true",
    "EMAIL_HOST_USER": "site",
    "EMAIL_HOST_PASSWORD": "hunter2",
    "EMAIL_TIMEOUT": "5",
    "EMAIL_MAX_RETRIES": "2",
}
DJANGOS = {
    "host": "mx.example.org",
    "port": 587,
    "use_tls": True,
    "username": "site",
    "password": "hunter2",
    "timeout": 5.0,
}


@pytest.mark.parametrize(
    ("name", "options", "lost"),
    [
        ("Derived", DJANGOS, "EMAIL_MAX_RETRIES"),
        ("Again", DJANGOS | {"max_attempts": 2}, ""),
        ("Ours", DJANGOS | {"max_attempts": 2}, ""),
        (
            "Narrow",
            {"host": "mx.example.org"},
            "EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_TLS, EMAIL_TIMEOUT, EMAIL_MAX_RETRIES",
        ),
        (
            "Other",
            {},
            ", ".join(FULL),
        ),
        (
            "Exported",
            {},
            ", ".join(FULL),
        ),
        ("not_there", DJANGOS, "EMAIL_MAX_RETRIES"),
    ],
)
@pytest.mark.usefixtures("classes")
def test_a_class_of_the_projects_own_gets_the_options_that_it_takes(
    name: str, options: dict[str, Any], lost: str
) -> None:
    """Without being imported while the settings are read; a check names what it does not take."""
    path = f"of_the_site.mail.{name}"
    found = env.mailers({**FULL, "EMAIL_BACKEND": path})
    assert found == {"default": {"BACKEND": path, "OPTIONS": options} if options else {"BACKEND": path}}
    told = [note.text.partition(":")[0] for note in found.notes]
    assert set(", ".join(told).split(", ")) == set(lost.split(", "))
    assert "hunter2" not in str(found.notes)


ODD = """
from contextlib import suppress
from django.utils.module_loading import import_string

try:
    from not_installed import EmailBackend as Wanted
except ImportError:
    from django.core.mail.backends.base import BaseEmailBackend as Wanted

try:
    from django.core.mail.backends.smtp import EmailBackend as Base
except ImportError:
    from django.core.mail.backends.base import BaseEmailBackend as Base

if True:
    class Own(Wanted):
        def __init__(self, api_key="", **kwargs):
            super().__init__(**kwargs)


class Preferred(Base):
    pass


class Loaded(import_string("django.core.mail.backends.smtp.EmailBackend")):
    pass
"""


@pytest.mark.parametrize(("name", "options"), [("Own", {}), ("Preferred", DJANGOS), ("Loaded", DJANGOS)])
def test_a_class_behind_a_star_and_a_condition_is_read_too(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that it does not take would raise where it is made, and no mail would go out."""
    (tmp_path / "of_the_stars").mkdir()
    stars = "from .one import *\nfrom .two import *\nfrom .three import *\n"  # of each other, too
    for file in ("__init__", "one", "two", "three"):
        (tmp_path / f"of_the_stars/{file}.py").write_text(f"{stars}from .odd import *\n")
    (tmp_path / "of_the_stars/odd.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    entry = env.mailers({**FULL, "EMAIL_BACKEND": f"of_the_stars.{name}"})["default"]
    assert entry.get("OPTIONS", {}) == options
    assert "of_the_stars" not in sys.modules


def test_a_class_in_folders_without_init_files_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespace packages, whose parents are not imported while the settings are read."""
    (tmp_path / "of_a_namespace/below").mkdir(parents=True)
    (tmp_path / "of_a_namespace/below/mail.py").write_text(CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    path = "of_a_namespace.below.mail.Again"
    assert env.mailers({**FULL, "EMAIL_BACKEND": path})["default"]["OPTIONS"] == DJANGOS | {"max_attempts": 2}
    assert "of_a_namespace" not in sys.modules


@pytest.mark.usefixtures("classes")
def test_a_provider_s_name_is_its_server_for_a_class_that_knows_no_names() -> None:
    """Mail must not go to localhost in its place."""
    environ = {"EMAIL_PROVIDER": "gmail", "EMAIL_HOST_USER": "me@gmail.com", "EMAIL_HOST_PASSWORD": "hunter2"}
    for path in ("of_the_site.mail.Derived", "django.core.mail.backends.smtp.EmailBackend"):
        found = env.mailers({**environ, "EMAIL_BACKEND": path})
        options = found["default"]["OPTIONS"]
        assert (options["host"], options["username"]) == ("smtp.gmail.com", "me@gmail.com")
        assert (options["port"], options.get("use_tls"), options.get("use_ssl")) in (
            (587, True, None),
            (465, None, True),
        )
        assert "provider" not in options
        assert not found.notes
    ours = env.mailers({**environ, "EMAIL_BACKEND": "of_the_site.mail.Ours"})
    assert ours["default"]["OPTIONS"]["provider"] == "gmail"


@pytest.mark.usefixtures("classes")
def test_a_class_with_a_server_of_its_own_gets_the_rest() -> None:
    """Also a time, or a login, without EMAIL_HOST."""
    path = "of_the_site.mail.Derived"
    found = env.mailers({"EMAIL_BACKEND": path, "EMAIL_TIMEOUT": "5", "EMAIL_HOST_USER": "site"})
    assert found["default"] == {"BACKEND": path, "OPTIONS": {"timeout": 5.0, "username": "site"}}
    with pytest.raises(ImproperlyConfigured, match="EMAIL_PORT"):
        env.mailers({"EMAIL_BACKEND": path, "EMAIL_PORT": "many"})
