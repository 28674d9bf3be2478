"""`mailers` opens the setting MAILERS on every Django version."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage, send_mail
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.locmem import EmailBackend as LocmemBackend
from django.core.mail.backends.smtp import EmailBackend as DjangoSMTPBackend
from django.test.utils import override_settings

from reliable_email import backends
from reliable_email.backends.default import DefaultMailer
from reliable_email.exceptions import InvalidMailer, MailerDoesNotExist
from reliable_email.mailers import MailersHandler, mailers

HERE = __name__
LOCMEM = "django.core.mail.backends.locmem.EmailBackend"
DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"
UseMailers = Callable[[Mapping[str, Any]], None]
before_61 = pytest.mark.skipif(django.VERSION >= (6, 1), reason="Django opens MAILERS by itself")
since_61 = pytest.mark.skipif(django.VERSION < (6, 1), reason="Django does not know MAILERS")


class Recorder(BaseEmailBackend):
    """Keeps what it was made with and what it was given."""

    made: ClassVar[list["Recorder"]] = []

    def __init__(self, *, colour: str = "", alias: str | None = None, **kwargs: Any) -> None:
        self.colour, self.alias, self.kwargs = colour, alias, kwargs
        self.messages: list[EmailMessage] = []
        Recorder.made.append(self)

    def send_messages(self, email_messages: Any) -> int:
        self.messages += email_messages
        return len(email_messages)


class OldBackend(BaseEmailBackend):
    """A backend from before there were aliases: exactly two arguments."""

    def __init__(self, colour: str = "", fail_silently: bool = False) -> None:
        self.colour, self.fail_silently = colour, fail_silently

    def send_messages(self, email_messages: Any) -> int:
        return len(email_messages)


class BrokenBackend(BaseEmailBackend):
    """Its constructor raises a TypeError of its own."""

    def __init__(self, **kwargs: Any) -> None:
        raise TypeError("a bug in here")


@pytest.fixture(params=["polyfill", "chosen"])
def handler(request: pytest.FixtureRequest) -> Any:
    """The polyfill on every version, and whatever this version uses: both must behave the same."""
    return MailersHandler() if request.param == "polyfill" else mailers


def test_a_mailer_is_made_anew_at_every_access(mailers_setting: UseMailers, handler: Any) -> None:
    """Django's rule; state does not live in backends."""
    mailers_setting({"default": {"BACKEND": LOCMEM}})
    assert handler["default"] is not handler["default"]
    assert handler.default.alias == "default"


def test_options_and_alias_reach_the_backend(mailers_setting: UseMailers, handler: Any) -> None:
    """As keyword arguments."""
    mailers_setting(
        {"default": {"BACKEND": LOCMEM}, "x": {"BACKEND": f"{HERE}.Recorder", "OPTIONS": {"colour": "red"}}}
    )
    found = handler["x"]
    assert (found.colour, found.alias, found.kwargs) == ("red", "x", {})


def test_the_mapping_s_interface(mailers_setting: UseMailers, handler: Any) -> None:
    """`in`, iteration and `get`."""
    mailers_setting({"default": {"BACKEND": LOCMEM}, "x": {"BACKEND": LOCMEM}})
    assert "x" in handler
    assert "y" not in handler
    assert list(handler) == ["default", "x"]
    assert handler.get("y", 3) == 3
    with pytest.raises(MailerDoesNotExist, match="'y'"):
        handler["y"]
    with pytest.raises(KeyError):
        handler["y"]


def test_an_alias_in_options_is_refused(mailers_setting: UseMailers, handler: Any) -> None:
    """It has one name."""
    mailers_setting({"x": {"BACKEND": LOCMEM, "OPTIONS": {"alias": "y"}}})
    with pytest.raises(InvalidMailer, match="must not define 'alias'"):
        handler["x"]


def test_a_backend_that_cannot_be_imported_is_named(mailers_setting: UseMailers, handler: Any) -> None:
    """With the reason."""
    mailers_setting({"x": {"BACKEND": "nowhere.Backend"}})
    with pytest.raises(InvalidMailer, match=r"MAILERS\['x'\].*nowhere"):
        handler["x"]


@pytest.mark.parametrize(
    ("options", "port"), [({}, 25), ({"use_tls": True}, 587), ({"use_ssl": True}, 465), ({"port": 2525}, 2525)]
)
def test_django_s_smtp_backend_gets_the_port_of_its_tls_mode(
    mailers_setting: UseMailers, handler: Any, options: dict[str, Any], port: int
) -> None:
    """5.2 and 6.0 would give 25; and a login must not come from EMAIL_* settings."""
    mailers_setting({"x": {"BACKEND": DJANGO_SMTP, "OPTIONS": {"host": "h", **options}}})
    found = handler["x"]
    assert isinstance(found, DjangoSMTPBackend)
    assert (found.host, found.port) == ("h", port)
    assert not found.username
    assert not found.password


Reexported = DjangoSMTPBackend


@before_61
@pytest.mark.parametrize(
    "path", [f"{HERE}.Reexported", f"{HERE}.TakesAll", "django.core.mail.backends.smtp.EmailBackend"]
)
def test_an_option_that_is_none_or_a_class_by_another_path_brings_no_login_of_the_site(
    mailers_setting: UseMailers, path: str
) -> None:
    """A variable of the environment that is not set is None, which Django took for "as in the settings"."""
    options = {"host": "h", "username": None, "password": None, "ssl_keyfile": None}
    for one in (options, {"host": "h"}):
        mailers_setting({"x": {"BACKEND": path, "OPTIONS": one}})
        with override_settings(EMAIL_HOST_USER="site", EMAIL_HOST_PASSWORD="site's", EMAIL_SSL_KEYFILE="k"):
            found: Any = mailers["x"]
        assert (found.host, found.username, found.password, found.ssl_keyfile or "") == ("h", "", "", "")


@pytest.mark.parametrize("options", [{}, {"host": "h", "use_tls": True, "use_ssl": True}])
def test_django_s_smtp_backend_is_checked_as_in_61(
    mailers_setting: UseMailers, handler: Any, options: dict[str, Any]
) -> None:
    """Not taken from settings of another time."""
    mailers_setting({"x": {"BACKEND": DJANGO_SMTP, "OPTIONS": options}})
    with pytest.raises(InvalidMailer, match=r"MAILERS\['x'\]"):
        handler["x"]


def test_a_backend_without_alias_still_opens(mailers_setting: UseMailers) -> None:
    """And has its alias afterwards."""
    mailers_setting({"x": {"BACKEND": f"{HERE}.OldBackend", "OPTIONS": {"colour": "red"}}})
    found: Any = MailersHandler()["x"]
    assert (found.colour, found.alias) == ("red", "x")


def test_unknown_options_of_such_a_backend_are_named(mailers_setting: UseMailers) -> None:
    """Not swallowed."""
    mailers_setting({"x": {"BACKEND": f"{HERE}.OldBackend", "OPTIONS": {"color": "red"}}})
    with pytest.raises(InvalidMailer, match="'color'"):
        MailersHandler()["x"]


def test_a_backend_s_own_error_is_not_taken_for_a_missing_argument(mailers_setting: UseMailers) -> None:
    """It comes through as it is."""
    mailers_setting({"x": {"BACKEND": f"{HERE}.BrokenBackend"}})
    with pytest.raises(TypeError, match="a bug in here"):
        MailersHandler()["x"]


@pytest.mark.filterwarnings("ignore:The EMAIL_")
@pytest.mark.filterwarnings("ignore:get_connection")
@pytest.mark.filterwarnings("ignore:Django 2028")
def test_without_mailers_default_opens_email_backend(email_settings: Callable[..., None], handler: Any) -> None:
    """And no other alias exists."""
    email_settings(EMAIL_BACKEND=LOCMEM)
    assert isinstance(handler["default"], LocmemBackend)
    with pytest.raises(MailerDoesNotExist):
        handler["x"]


@before_61
def test_send_mail_goes_through_the_default_mailer(mailers_setting: UseMailers) -> None:
    """On Django before 6.1, by EMAIL_BACKEND."""
    mailers_setting({"default": {"BACKEND": f"{HERE}.Recorder", "OPTIONS": {"colour": "red"}}})
    Recorder.made.clear()
    with override_settings(EMAIL_BACKEND="reliable_email.backends.DefaultMailer"):
        assert send_mail("s", "b", "me@example.com", ["you@example.com"]) == 1
    (made,) = Recorder.made
    assert (made.alias, made.colour, made.kwargs) == ("default", "red", {})
    assert made.messages[0].subject == "s"


@before_61
def test_arguments_of_get_connection_win_over_options(mailers_setting: UseMailers) -> None:
    """`fail_silently` and a login of the caller's."""
    mailers_setting({"default": {"BACKEND": f"{HERE}.Recorder"}})
    with override_settings(EMAIL_BACKEND="reliable_email.backends.DefaultMailer"):
        found: Any = mail.get_connection(fail_silently=True, username="u", password=None)
    assert isinstance(found, Recorder)
    assert found.kwargs == {"fail_silently": True, "username": "u"}


@before_61
def test_in_a_project_s_tests_every_alias_is_locmem() -> None:
    """As Django 6.1 does it; pytest-django has set up the test environment, and no override is in force."""
    code = (
        "from django.conf import settings\n"
        "settings.configure(MAILERS={'default': {'BACKEND': 'nowhere.B'}, 'x': {'BACKEND': 'nowhere.C'}},\n"
        "    EMAIL_BACKEND='reliable_email.backends.DefaultMailer')\n"
        "import django; django.setup()\n"
        "from django.core import mail\n"
        "from django.test.utils import setup_test_environment, override_settings\n"
        "setup_test_environment()\n"
        "from reliable_email.mailers import mailers\n"
        "assert mailers['x'].send_messages([mail.EmailMessage('s', 'b', 'a@example.com', ['b@example.com'])]) == 1\n"
        "assert mail.send_mail('s', 'b', 'a@example.com', ['b@example.com']) == 1\n"
        "assert len(mail.outbox) == 2\n"
        "with override_settings(MAILERS={'x': {'BACKEND': 'django.core.mail.backends.dummy.EmailBackend'}}):\n"
        "    assert 'dummy' in type(mailers['x']).__module__\n"
        # A usual line in tests; what it does not name goes to no server either.
        "with override_settings(EMAIL_BACKEND='django.core.mail.backends.locmem.EmailBackend'):\n"
        "    assert 'locmem' in type(mailers['x']).__module__\n"
        "    assert 'locmem' in type(mail.get_connection()).__module__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_locmem_backend_that_somebody_makes_does_not_take_the_mail_of_the_site() -> None:
    """A preview or an alias of its own may; before Django 6.1 all later mail of the process stayed in memory."""
    code = (
        "import tempfile; where = tempfile.mkdtemp()\n"
        "from django.conf import settings\n"
        "FILES = 'django.core.mail.backends.filebased.EmailBackend'\n"
        f"LOCMEM = {LOCMEM!r}\n"
        "settings.configure(MAILERS={'default': {'BACKEND': FILES, 'OPTIONS': {'file_path': where}},\n"
        "    'preview': {'BACKEND': LOCMEM}})\n"
        "import django\n"
        "if django.VERSION < (6, 1): settings.EMAIL_BACKEND = 'reliable_email.backends.DefaultMailer'\n"
        "django.setup()\n"
        "from pathlib import Path\n"
        "from django.core import mail\n"
        "import django.test.utils\n"  # importing it is not setting it up
        "from reliable_email import conf\n"
        "from reliable_email.mailers import mailers\n"
        "message = lambda: mail.EmailMessage('s', 'b', 'a@example.com', ['b@example.com'])\n"
        "assert mailers['preview'].send_messages([message()]) == 1\n"
        "assert len(mail.outbox) == 1\n"
        "assert not conf.is_in_tests()\n"
        "assert message().send() == 1\n"
        "assert mailers['default'].send_messages([message()]) == 1\n"
        # Two backends of one second may write to one file.
        "written = ''.join(one.read_text() for one in Path(where).iterdir())\n"
        "assert written.count('Message-ID:') == 2 and len(mail.outbox) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_default_mailer_cannot_be_a_mailer_itself(mailers_setting: UseMailers, handler: Any) -> None:
    """It would open itself for ever."""
    mailers_setting({"default": {"BACKEND": "reliable_email.backends.DefaultMailer"}})
    with pytest.raises(InvalidMailer, match=r"MAILERS\['default'\]: DefaultMailer"):
        handler["default"]


def test_default_mailer_without_mailers_says_what_to_do(email_settings: Callable[..., None]) -> None:
    """There is nothing to open."""
    email_settings()
    with pytest.raises(InvalidMailer, match="no setting MAILERS. Define MAILERS"):
        DefaultMailer()


@since_61
def test_on_61_the_handler_is_django_s_own() -> None:
    """One handler, one behaviour."""
    chosen: Any = mailers
    assert chosen is mail.mailers


def test_the_package_names_its_doors_without_importing_them() -> None:
    """A route that needs no tables must not load the models."""
    code = (
        "import sys\n"
        "import reliable_email.backends as backends\n"
        "assert not [name for name in sys.modules if name.startswith('reliable_email.backends.')]\n"
        "assert {'DefaultMailer', 'FailoverBackend', 'OutboxBackend', 'ReliableSMTPBackend'} <= set(dir(backends))\n"
        "backends.DefaultMailer\n"
        "assert 'reliable_email.models' not in sys.modules\n"
        "assert 'reliable_email.backends.outbox' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="Nothing"):
        backends.Nothing  # noqa: B018 - the access is the test


# Classes that are derived from Django's SMTP backend, with no more than the arguments of their day, or with a mixin.


class TakesAll(DjangoSMTPBackend):
    """Hands everything on."""


class SetsDefaults(DjangoSMTPBackend):
    """Says which server, where OPTIONS do not."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("host", "own.example.org")
        options.setdefault("username", "own")
        super().__init__(**options)


class TakesTwo(DjangoSMTPBackend):
    """Takes what it needs, by name and place."""

    def __init__(self, host: Any = None, port: Any = None) -> None:
        super().__init__(host, port)


class Mixin:
    """Has an option."""

    def __init__(self, *args: Any, label: str = "", **options: Any) -> None:
        self.label = label
        super().__init__(*args, **options)


class Mixed(Mixin, DjangoSMTPBackend):
    """Has that of the mixin, too."""


DERIVED = {
    "TakesAll": {"host": "h", "use_tls": True},
    "SetsDefaults": {"use_tls": True},
    "TakesTwo": {"host": "h"},
    "Mixed": {"host": "h", "use_ssl": True, "label": "x"},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", DERIVED)
def test_a_class_derived_from_djangos_smtp_backend_takes_nothing_from_email_settings(
    mailers_setting: UseMailers, name: str
) -> None:
    """The login of the site's own server would go to another, and its port and certificate are not this one's."""
    if django.VERSION >= (6, 1) and name == "TakesTwo":
        pytest.skip("Django 6.1 wants the alias to be handed on")
    mailers_setting({"x": {"BACKEND": f"{HERE}.{name}", "OPTIONS": DERIVED[name]}})
    theirs = {"HOST_USER": "site", "HOST_PASSWORD": "site's", "PORT": 2525, "SSL_KEYFILE": "k", "SSL_CERTFILE": "c"}
    # Django 6.1 refuses these beside MAILERS.
    settings = {} if django.VERSION >= (6, 1) else {f"EMAIL_{key}": value for key, value in theirs.items()}
    with override_settings(**settings):
        found: Any = mailers["x"]
    own = name == "SetsDefaults"
    assert isinstance(found, globals()[name])
    assert type(found).__qualname__ == name
    assert (found.host, found.username or "", found.password or "") == (
        *(("own.example.org", "own") if own else ("h", "")),
        "",
    )
    assert found.port == {"Mixed": 465, "TakesTwo": 25}.get(name, 587)
    assert not found.ssl_keyfile
    assert not found.ssl_certfile
    assert getattr(found, "label", "x") == "x"


@pytest.mark.parametrize("options", [{}, {"host": "h", "use_tls": True, "use_ssl": True}, {"host": "h", "sever": 1}])
def test_such_a_class_is_checked_as_in_61(mailers_setting: UseMailers, handler: Any, options: dict[str, Any]) -> None:
    """A server that nobody named would be the site's, and a misspelt option would be lost."""
    mailers_setting({"x": {"BACKEND": f"{HERE}.TakesAll", "OPTIONS": options}})
    with pytest.raises(InvalidMailer):
        handler["x"]


@before_61
def test_what_a_caller_gives_to_such_a_class_may_be_unknown(mailers_setting: UseMailers) -> None:
    """As ever with `get_connection()`; and what it knows counts."""
    mailers_setting({"default": {"BACKEND": f"{HERE}.TakesAll", "OPTIONS": {"host": "h"}}})
    with override_settings(EMAIL_BACKEND="reliable_email.backends.DefaultMailer"):
        found: Any = mail.get_connection(fail_silently=True, username="u", colour="red")
    assert (found.host, found.username, found.fail_silently) == ("h", "u", True)
