"""`manage.py test_email` says of every failure where, what was said, what it means and what to do; and no secret."""

import io
import json
import re
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test.utils import override_settings

from reliable_email.testing import certificates
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close
from reliable_email.testing.simulated import simulated
from tests.diagnosis.cases import CASES, DEGRADED, HEALTHY, TO, UNHEALTHY, USAGE, Case, story_of
from tests.diagnosis.document import FILE, document
from tests.diagnosis.runs import CONSOLE, FAILOVER, OUTBOX, SMTP, Run, smtp, test_email

SECRETS = ("abcdefghijklmnop", "SG.simulated", "simulated-secret", "not-the-password")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_failure_is_told_in_words_that_help(case: Case) -> None:
    """The exit code, the words, and no password."""
    run = story_of(case).run
    assert run.code == case.code, run.out
    for words in case.words:
        assert words in run.out
    assert f"Status: {['HEALTHY', 'UNHEALTHY', '', 'DEGRADED'][case.code]}" in run.out
    for secret in SECRETS:
        assert secret not in run.out


@pytest.mark.parametrize("case", [one for one in CASES if one.code == UNHEALTHY], ids=lambda case: case.title)
def test_each_failure_says_what_to_do(case: Case) -> None:
    """Never only that something failed: a remedy, or the hint of a configuration check."""
    out = story_of(case).run.out
    if "Configuration is not valid" in out:
        assert re.search(r"^   ✗ .+\n     \S", out, re.MULTILINE)
        return
    for part in ("Said:", "Meaning:", "To do:"):
        assert part in out
    said = re.search(r"Said: +(.+)", out)
    to_do = re.search(r"To do: +(.+)", out)
    assert said is not None
    assert to_do is not None
    assert not to_do[1].startswith(said[1][:30]), "what was said is no advice"


def test_the_documentation_shows_what_is_printed() -> None:
    """docs/troubleshooting.md is written by tools/write_troubleshooting.py; run it after a change of words."""
    assert FILE.read_text() == document()


def test_the_healthy_case_is_word_for_word() -> None:
    """Monitoring looks for these lines."""
    with simulated("gmail") as server:
        out = test_email(*TO, entries={"default": smtp(**server.options())}).out
        assert len(server.messages) == 1
    assert re.sub(r"\d+\.\d\ds", "1.90s", out) == (
        "=== Email System Test ===\n\n"
        "1. Configuration Check: ✓ Configuration is valid\n"
        "2. Connection Test: ✓ Connection successful in 1.90s\n"
        "3. Test Email: ✓ Test email sent successfully!\n\n"
        "Status: HEALTHY\n"
    )


class TestOptions:
    """What the switches change."""

    def test_check_only_leaves_out_the_message(self) -> None:
        """And needs nobody to send it to."""
        with simulated("gmail") as server:
            run = test_email("--check-only", entries={"default": smtp(**server.options())})
            assert server.messages == []
        assert run.code == HEALTHY
        assert "3. Test Email" not in run.out

    def test_the_first_of_admins_gets_the_message(self) -> None:
        """Where nobody else is named; in either form that Django has had."""
        for admins in (["ops@example.net"], [("Ops", "ops@example.net")]):
            with ScriptedServer() as server, override_settings(ADMINS=admins):
                assert test_email(entries={"default": smtp(**server.options())}).code == HEALTHY
                assert [one.recipients for one in server.messages] == [("ops@example.net",)]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "--to ADDRESS"),
            (("--to", "nobody"), "not an e-mail address: 'nobody'"),
            (("--to", "a@example.net", "--route", "gmial"), "gmial"),
        ],
    )
    def test_a_wrong_call_is_exit_2(self, arguments: tuple[str, ...], words: str) -> None:
        """It says nothing about the mail."""
        with ScriptedServer() as server:
            run = test_email(*arguments, entries={"default": smtp(**server.options())}, ADMINS=[])
            assert server.connections == []
        assert run.code == USAGE
        assert words in run.error
        assert "Status" not in run.out

    def test_route_looks_at_one_route_and_sends_by_it(self) -> None:
        """A standby is tried without touching the first."""
        with simulated("gmail") as gmail, simulated("sendgrid") as sendgrid:
            entries = {
                "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "sendgrid"]}},
                "gmail": smtp(**gmail.options()),
                "sendgrid": smtp(**sendgrid.options()),
            }
            assert test_email(*TO, "--route", "sendgrid", entries=entries).code == HEALTHY
            assert gmail.connections == []
            assert len(sendgrid.messages) == 1

    def test_all_routes_are_tried_without_a_message(self) -> None:
        """`--all-routes`."""
        with simulated("gmail") as gmail, simulated("sendgrid") as sendgrid:
            entries = {
                "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "sendgrid"]}},
                "gmail": smtp(**gmail.options()),
                "sendgrid": smtp(**sendgrid.options()),
            }
            run = test_email("--all-routes", entries=entries)
            assert run.code == HEALTHY
            assert "✓ gmail:" in run.out
            assert "✓ sendgrid:" in run.out
            assert (gmail.messages, sendgrid.messages) == ([], [])

    def test_the_health_check_leaves_no_message_behind(self) -> None:
        """MAIL and RCPT are asked, and DATA never."""
        with simulated("gmail") as server:
            run = test_email("--check-only", "--health-check", entries={"default": smtp(**server.options())})
            assert run.code == HEALTHY
            assert server.messages == []
            verbs = server.connections[0].verbs
            assert {"MAIL", "RCPT"} <= set(verbs)
            assert "DATA" not in verbs

    def test_the_health_check_finds_a_sender_that_is_refused_without_a_message(self) -> None:
        """Where the server says so at MAIL or RCPT."""
        with simulated("generic", verified_senders=["other@example.com"]) as server:
            run = test_email("--check-only", "--health-check", entries={"default": smtp(**server.options())})
            assert server.messages == []
        assert run.code == UNHEALTHY
        assert "not owned by user" in run.out


class TestJSON:
    """One object, for programs."""

    def test_a_failure_has_all_its_parts(self) -> None:
        """And nothing else is printed."""
        with simulated("gmail", faults="app_password_required") as server:
            run = test_email(*TO, "--json", entries={"default": smtp(**server.options())})
        told = json.loads(run.out)
        assert run.code == UNHEALTHY
        assert told["status"] == "unhealthy"
        (route,) = told["routes"]
        assert [one["stage"] for one in route["stages"]][-1] == "auth"
        assert (route["failure"]["stage"], route["failure"]["cause"]) == ("auth", "auth_failed")
        assert route["failure"]["said"].startswith("534 5.7.9")
        assert route["failure"]["remedies"]
        assert "App passwords" in route["failure"]["links"]
        assert told["message"] is None

    def test_a_message_that_was_sent_tells_its_recipients(self) -> None:
        """By outcome, route and reply."""
        with simulated("gmail") as server:
            run = test_email(*TO, "--json", entries={"default": smtp(**server.options())})
        told = json.loads(run.out)
        assert run.code == HEALTHY
        assert told["message"]["sent"] is True
        assert told["message"]["recipients"]["you@example.net"]["outcome"] == "accepted"

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
    def test_it_is_one_object_whatever_happens(self, case: Case, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        """Nothing beside it on standard output, and no secret in it."""
        monkeypatch.setattr("tests.diagnosis.cases.TO", (*TO, "--json"))
        run = case.tell().run
        told = json.loads(run.out)
        # Only --health-check has it.
        told.pop("health", None)
        assert set(told) == {"schema", "status", "reason", "configuration", "routes", "message", "dns"}
        assert capsys.readouterr().out == ""
        assert not any(secret in run.out for secret in SECRETS)


class TestWhatIsExamined:
    """The routes themselves, whatever stands in front of them."""

    @pytest.mark.django_db
    def test_an_outbox_is_passed_by(self) -> None:
        """The message goes out now; that no worker was ever seen is said."""
        with simulated("gmail") as server:
            entries = {
                "default": {"BACKEND": OUTBOX, "OPTIONS": {"using": "gmail"}},
                "gmail": smtp(**server.options()),
            }
            run = test_email(*TO, entries=entries)
            assert len(server.messages) == 1
        assert run.code == DEGRADED
        assert "no worker was seen" in run.out

    def test_a_fallback_to_the_console_does_not_make_it_worse(self) -> None:
        """The verdict ignores it: it delivers nothing, and is there in development only."""
        with simulated("gmail") as server:
            entries = {
                "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "console"]}},
                "gmail": smtp(**server.options()),
                "console": {"BACKEND": CONSOLE},
            }
            run = test_email(*TO, entries=entries, DEBUG=True)
        assert run.code == HEALTHY, run.out

    def test_a_message_that_only_the_console_took_was_not_sent(self, capsys: Any) -> None:
        """Printed is not delivered."""
        entries = {
            "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "console"]}},
            "gmail": smtp(host="127.0.0.1", port=1),
            "console": {"BACKEND": CONSOLE},
        }
        run = test_email(*TO, entries=entries, DEBUG=True)
        assert run.code == UNHEALTHY, run.out
        assert "sent successfully" not in run.out

    def test_a_message_that_fails_where_the_connection_was_good_is_explained(self) -> None:
        """The connection breaks off behind the final dot: nobody knows, and that is what is said."""
        with ScriptedServer(Script(), Script(final_reply=close())) as server:
            run = test_email(*TO, entries={"default": smtp(**server.options())})
        assert run.code == UNHEALTHY
        assert "unknown" in run.out
        assert "the server may have taken it" in run.out

    def test_a_token_that_is_user_and_password_is_never_shown(self) -> None:
        """Postmark uses the server token as user name and as password."""
        with simulated("postmark") as server:
            options = smtp(**server.options())
            run = test_email(*TO, "--health-check", "--verbose", entries={"default": options})
        assert run.code == HEALTHY
        assert "simulated-server-token" not in run.out
        assert "by token" in run.out

    @pytest.mark.parametrize("name", certificates.DEFECTS)
    def test_no_defect_of_a_certificate_is_answered_by_verifying_less(self, name: str) -> None:
        """ssl_verify is named only to warn of it."""
        defect = certificates.DEFECTS[name]
        if defect.without_partial_chain:
            pytest.skip("shows only with settings that this package does not have")
        with ScriptedServer(tls="starttls", certificate=certificates.defective(name)) as server:
            entries = {"default": smtp(**server.options(host=defect.connects_to))}
            run = test_email(*TO, entries=entries)
            delivered = len(server.messages)
        assert (run.code, delivered) == ((DEGRADED, 1) if defect.is_strict_only else (UNHEALTHY, 0)), run.out
        assert "ssl_verify=False" not in run.out


def by_email_settings(*arguments: str, **values: Any) -> Run:
    """Run the command in a project without MAILERS, with these `EMAIL_*` settings."""
    out, code = io.StringIO(), 0
    with override_settings(DEFAULT_FROM_EMAIL="shop@example.com"):
        if hasattr(django_settings, "MAILERS"):
            del django_settings.MAILERS
        django_settings.EMAIL_BACKEND = SMTP
        for name, value in values.items():
            setattr(django_settings, name, value)
        try:
            call_command("test_email", *TO, *arguments, stdout=out, no_color=True)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Run(code=code, out=out.getvalue())


@pytest.mark.filterwarnings("ignore:The EMAIL_")
class TestSettingsOfOld:
    """A project that has changed EMAIL_BACKEND and nothing else."""

    def test_they_are_examined_as_one_route(self) -> None:
        """HEALTHY."""
        with ScriptedServer(tls="starttls", login={"user": "secret-word"}) as server:
            run = by_email_settings(
                EMAIL_HOST="localhost",
                EMAIL_PORT=server.port,
                EMAIL_USE_TLS=True,
                EMAIL_HOST_USER="user",
                EMAIL_HOST_PASSWORD="secret-word",
                EMAIL_SSL_CAFILE=server.ca_file,
            )
            assert len(server.messages) == 1
        assert run.code == HEALTHY, run.out

    def test_a_dead_fallback_is_found(self) -> None:
        """DEGRADED, by the names of the two."""
        with ScriptedServer() as server:
            run = by_email_settings(
                EMAIL_HOST="127.0.0.1",
                EMAIL_PORT=server.port,
                EMAIL_FALLBACK_ENABLED=True,
                EMAIL_FALLBACK_HOST="127.0.0.1",
                EMAIL_FALLBACK_PORT=1,
            )
        assert run.code == DEGRADED, run.out
        assert "Reason: fallback does not work" in run.out


def test_a_route_that_refuses_the_message_itself_is_told_though_the_next_one_takes_it() -> None:
    """DEGRADED: every probe was well, and still the preferred route sends nothing."""
    with simulated("gmail", quota_left=0) as gmail, simulated("sendgrid") as sendgrid:
        entries = {
            "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["first", "second"]}},
            "first": smtp(**gmail.options()),
            "second": smtp(**sendgrid.options()),
        }
        run = test_email(*TO, entries=entries)
        assert len(sendgrid.messages) == 1
    assert run.code == DEGRADED, run.out
    assert "✓ Test email sent successfully!" in run.out
    assert "5.4.5" in run.out
    assert "To do:" in run.out
    assert "Reason: first did not take the test message, second did" in run.out


def test_the_cases_are_told_apart_by_their_titles() -> None:
    """They are headings of one page, and names of tests."""
    titles = [case.title for case in CASES]
    assert len(set(titles)) == len(titles)
