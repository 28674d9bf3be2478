"""Mailers that send through others: their options, and where each leads."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.console import EmailBackend as ConsoleBackend
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.backends import routes
from reliable_email.backends.reading.doors import FailoverOptions, failover_options, outbox_options
from reliable_email.backends.routes import Mailer, MailerKind, all_mailers, delivering_alias, routes_of
from reliable_email.delivery.submission import OnUnknown, Priority
from reliable_email.exceptions import InvalidMailer, MailerDoesNotExist

SMTP = "reliable_email.backends.ReliableSMTPBackend"
FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
UseMailers = Callable[[Mapping[str, Any]], None]


class ProjectsConsole(ConsoleBackend):
    """A project's own backend on top of one that prints."""


def over(backend: str, using: object) -> dict[str, Any]:
    """A mailer that sends by others."""
    return {"BACKEND": backend, "OPTIONS": {"using": using}}


def test_a_failover_takes_a_list_or_one_text() -> None:
    """The order is the preference."""
    assert failover_options({"using": ["a", "b"]}, alias="x").using == ("a", "b")
    assert failover_options({"using": "a, b", "timeout": "20"}, alias="x") == FailoverOptions(
        using=("a", "b"), timeout=20.0
    )


def test_an_outbox_reads_its_wishes() -> None:
    """Durations are seconds or timedeltas, words are checked."""
    options = outbox_options(
        {
            "using": "routes",
            "database": "mail",
            "expires_in": 600,
            "priority": "high",
            "on_unknown": "resend",
            "transactional": False,
        },
        alias="x",
    )
    assert (options.using, options.database, options.expires_in) == ("routes", "mail", timedelta(minutes=10))
    assert (options.priority, options.on_unknown, options.transactional) == (Priority.HIGH, OnUnknown.RESEND, False)


def test_the_defaults_of_an_outbox() -> None:
    """It joins the caller's transaction."""
    options = outbox_options({"using": "routes"}, alias="x")
    assert options.transactional
    assert options.priority is Priority.NORMAL
    assert options.expires_in is None


@pytest.mark.parametrize("values", [{}, {"using": []}, {"using": ""}, {"using": 3}, {"using": ["a", "a"]}])
def test_a_failover_without_usable_routes_is_refused(values: dict[str, Any]) -> None:
    """With the option named once."""
    with pytest.raises(InvalidMailer, match=r"^MAILERS\['x'\]: OPTIONS 'using'"):
        failover_options(values, alias="x")


def test_an_outbox_over_a_list_is_told_to_put_a_failover_between() -> None:
    """Which order they are tried in is the failover's decision."""
    with pytest.raises(InvalidMailer, match="FailoverBackend"):
        outbox_options({"using": ["a", "b"]}, alias="x")


def test_unknown_options_are_reported_by_both() -> None:
    """With the near one."""
    with pytest.raises(InvalidMailer, match="'timeout'"):
        failover_options({"using": "a", "timout": 3}, alias="x")
    with pytest.raises(InvalidMailer, match="'transactional'"):
        outbox_options({"using": "a", "transactionl": 3}, alias="x")


def test_the_login_that_old_versions_of_django_pass_as_none_is_no_option() -> None:
    """send_mail() of 5.2 and 6.0 does that to every backend."""
    assert failover_options({"using": "a", "username": None, "password": None}, alias="x").using == ("a",)
    with pytest.raises(InvalidMailer, match="'username'"):
        failover_options({"using": "a", "username": "u"}, alias="x")


def test_they_work_as_mailers_only() -> None:
    """`EMAIL_BACKEND` has no place for the routes."""
    with pytest.raises(ImproperlyConfigured, match="DefaultMailer"):
        failover_options({"using": "a"}, alias=None)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        (SMTP, MailerKind.SMTP),
        ("reliable_email.backends.smtp.ReliableSMTPBackend", MailerKind.SMTP),
        (FAILOVER, MailerKind.FAILOVER),
        (OUTBOX, MailerKind.OUTBOX),
        ("django.core.mail.backends.smtp.EmailBackend", MailerKind.DJANGO_SMTP),
        ("django.core.mail.backends.filebased.EmailBackend", MailerKind.FILE),
        ("django.core.mail.backends.dummy.EmailBackend", MailerKind.DUMMY),
        (f"{__name__}.ProjectsConsole", MailerKind.CONSOLE),
        ("django.core.mail.backends.base.BaseEmailBackend", MailerKind.FOREIGN),
        ("nowhere.Backend", MailerKind.MISSING),
    ],
)
def test_a_backend_s_kind_is_that_of_its_class(backend: str, kind: MailerKind) -> None:
    """A subclass of the console prints too."""
    assert Mailer(alias="x", backend=backend).kind is kind


def test_routes_are_found_through_outbox_and_failover(mailers_setting: UseMailers) -> None:
    """In order, each once."""
    mailers_setting(
        {
            "default": over(OUTBOX, "routes"),
            "routes": over(FAILOVER, ["inner", "a", "c"]),
            "inner": over(FAILOVER, ["b", "a"]),
            "a": {"BACKEND": SMTP},
            "b": {"BACKEND": SMTP},
            "c": {"BACKEND": SMTP},
        }
    )
    assert [one.alias for one in routes_of()] == ["b", "a", "c"]
    assert [one.alias for one in routes_of("a")] == ["a"]
    assert delivering_alias() == "routes"
    assert delivering_alias("a") == "a"


def test_a_loop_is_an_error_that_shows_the_way(mailers_setting: UseMailers) -> None:
    """A message would go round for ever."""
    mailers_setting({"default": over(FAILOVER, ["b"]), "b": over(FAILOVER, ["default"])})
    with pytest.raises(InvalidMailer, match="default -> b -> default"):
        routes_of()


def test_one_name_that_leads_nowhere_does_not_take_the_others_away(mailers_setting: UseMailers) -> None:
    """It is a route with a problem."""
    mailers_setting({"default": over(FAILOVER, ["a", "b", "default"]), "b": {"BACKEND": SMTP}})
    found = {one.alias: one.problem for one in routes_of()}
    assert found["b"] == ""
    assert "'default'" in found["a"]
    assert "default -> default" in found["default"]


def test_a_route_that_does_not_exist_is_an_error(mailers_setting: UseMailers) -> None:
    """With its name."""
    mailers_setting({"default": over(FAILOVER, ["a"])})
    with pytest.raises(MailerDoesNotExist, match="'a'"):
        routes_of()
    with pytest.raises(MailerDoesNotExist, match="'b'"):
        routes.mailer("b")


@pytest.mark.filterwarnings("ignore:The EMAIL_")
def test_without_mailers_there_is_one_mailer(email_settings: Callable[..., None]) -> None:
    """That of EMAIL_BACKEND."""
    email_settings(EMAIL_BACKEND=SMTP, EMAIL_HOST="h")
    assert [(one.alias, one.kind, one.is_legacy) for one in all_mailers().values()] == [
        ("default", MailerKind.SMTP, True)
    ]


ALIASES = ("default", "a", "b", "c")


@given(st.dictionaries(st.sampled_from(ALIASES), st.lists(st.sampled_from((*ALIASES, "missing")), max_size=3)))
def test_every_network_of_mailers_has_routes_or_problems(network: dict[str, list[str]]) -> None:
    """Never a hang, and never a route that is not one."""
    entries = {
        alias: Mailer(alias=alias, backend=FAILOVER if using else SMTP, options={"using": using})
        for alias, using in network.items()
    }
    found = list(routes._leaves("default", entries, ()))
    assert found
    assert all(one.problem or not network[one.alias] for one in found)
