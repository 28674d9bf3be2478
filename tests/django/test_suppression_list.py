"""Who comes onto the suppression list, and how people see and change it."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, tracking
from django.core.management import CommandError, call_command
from django.test.utils import modify_settings

from reliable_email.integrations import anymail
from reliable_email.outbox.operations.erasure import erase
from reliable_email.outbox.operations.suppressed import allow, suppress
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.shared import Suppression
from tests.django.post import A, B

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("email_suppression", *arguments, stdout=out)
    return out.getvalue()


def listed() -> dict[str, Any]:
    """The list, by address."""
    return {row["address"]: row for row in map(json.loads, run("list", "--json").splitlines())}


@pytest.fixture
def webhooks() -> Iterator[None]:
    """A site with django-anymail's webhooks."""
    with modify_settings(INSTALLED_APPS={"append": "anymail"}):
        anymail.connect()
        yield
    tracking.disconnect(dispatch_uid="reliable_email.events")


def report(event_type: str, *, esp_event: object = None, **changes: Any) -> None:
    """What anymail makes of a provider's webhook."""
    event = AnymailTrackingEvent(event_type=event_type, recipient=A, esp_event=esp_event, **changes)
    tracking.send(sender=None, event=event, esp_name="SendGrid")


def test_what_was_added_by_hand_is_suppressed_until_it_is_removed() -> None:
    """Whatever case it is written in."""
    assert run("add", A.upper(), B, "--reason", "asked by phone") == "nothing is sent to 2 addresses from now on\n"
    assert suppressed("default", [A, B]) == {A, B}
    assert run("remove", A) == "1 address removed from the list\n"
    assert suppressed("default", [A, B]) == {B}
    assert f"{B}  asked by phone  by hand" in run("list")


def test_a_line_may_end_by_itself() -> None:
    """The list says when."""
    run("add", A, "--for", "90d")
    assert listed()[A]["until"] > listed()[A]["since"]


def test_an_address_that_is_not_on_the_list_is_told() -> None:
    """In place of "0 addresses removed" and success: at night it is a slip of the finger."""
    with pytest.raises(CommandError, match="has no 'nobody@example.com'. Nothing was changed") as it:
        run("remove", "nobody@example.com")
    assert it.value.returncode == 1


@pytest.mark.parametrize("text", ["somebody", "ann;bob@example.com", "ann@example..com"])
def test_what_is_no_address_is_refused_with_the_form_of_one(text: str) -> None:
    """Nothing is half done."""
    with pytest.raises(CommandError, match="name@example.com") as caught:
        run("add", B, text)
    assert caught.value.returncode == 2
    assert listed() == {}


@pytest.mark.usefixtures("webhooks")
class TestProvidersReports:
    """By django-anymail's tracking signal."""

    def test_a_complaint_is_for_ever(self) -> None:
        """Who complained does not want mail."""
        report("complained")
        assert (listed()[A]["reason"], listed()[A]["source"], listed()[A]["until"]) == ("complained", "SendGrid", None)

    @pytest.mark.parametrize("reason", ["bounced", "invalid"])
    def test_a_bounce_that_lasts_is_taken_down_for_half_a_year(self, reason: str) -> None:
        """A mailbox may come back to life."""
        report("bounced", reject_reason=reason)
        assert listed()[A]["until"] is not None

    @pytest.mark.parametrize(
        ("event_type", "reason", "raw"),
        [
            ("deferred", None, None),
            ("bounced", "timed_out", None),
            ("bounced", "blocked", None),
            ("rejected", "blocked", None),
            ("bounced", "bounced", {"bounce": {"bounceType": "Transient"}}),
        ],
    )
    def test_what_may_pass_suppresses_nobody(self, event_type: str, reason: str | None, raw: object) -> None:
        """A blocked sender, a time-out and a full mailbox are no dead address."""
        report(event_type, reject_reason=reason, esp_event=raw)
        assert listed() == {}


def let_it_expire(address: str) -> None:
    """Its time is over."""
    Suppression.objects.filter(address=address).update(expires_at=DatabaseNow(-1))


class TestExpiry:
    """A line whose time is over is as if it were not there, wherever the list is asked."""

    def test_what_has_expired_holds_nothing_up(self) -> None:
        """Neither a direct send nor the worker nor the list as it is shown."""
        run("add", A, "--for", "1d")
        let_it_expire(A)
        assert suppressed("default", [A]) == set()
        assert listed() == {}
        assert "(expired)" in run("list", "--expired")

    def test_it_is_pruned_alone(self) -> None:
        """What still counts stays."""
        run("add", A, B, "--for", "1d")
        let_it_expire(A)
        assert run("prune") == "1 address had expired: removed\n"
        assert list(listed()) == [B]

    def test_a_report_renews_what_has_expired(self) -> None:
        """The mailbox is as dead as it was."""
        run("add", A, "--for", "1d")
        let_it_expire(A)
        assert suppress([A], reason="bounced", source="SendGrid", lifetime=timedelta(days=5), may_shorten=False) == 1
        assert suppressed("default", [A]) == {A}


class TestFiles:
    """Lists come from somewhere else, and go there."""

    def test_what_is_exported_can_be_imported(self, tmp_path: Path) -> None:
        """With reasons, sources and times."""
        run("add", A, "--reason", 'said "no, thanks"', "--for", "90d")
        run("add", B)
        before, file = listed(), tmp_path / "list.csv"
        assert run("export", str(file)) == f"2 addresses written to {file}\n"
        assert file.stat().st_mode & 0o077 == 0, "addresses are for whoever asked"
        assert run("export") == file.read_text()
        run("remove", A, B)
        assert run("import", str(file)).startswith("2 addresses imported; 0 skipped")
        assert listed() == before

    def test_a_spreadsheet_computes_nothing_of_it(self, tmp_path: Path) -> None:
        """Whoever may add a reason or an address could run a formula on the machine of who opens the file."""
        run("add", "=cmd|calc@example.com", "--reason", "@SUM(1+1)")
        run("add", "+ann@example.com", "--reason", "-1")
        before, file = listed(), tmp_path / "list.csv"
        run("export", str(file))
        cells = [cell for row in csv.reader(io.StringIO(file.read_text())) for cell in row]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
        run("remove", "=cmd|calc@example.com", "+ann@example.com")
        run("import", str(file))
        assert listed() == before

    def test_one_address_a_line_will_do(self, tmp_path: Path) -> None:
        """As does a provider's own CSV, whose heading says "email"."""
        plain, own = tmp_path / "plain.txt", tmp_path / "own.csv"
        plain.write_text(f"{A.upper()}\n\n{A}\n")
        own.write_text(f"created,Email,reason\n1790000000,{B},550 no such user\n", encoding="utf-8-sig")
        assert run("import", str(plain), "--dry-run") == "1 address read; nothing was changed\n"
        assert listed() == {}
        run("import", str(plain), "--reason", "old list")
        run("import", str(own), "--source", "SendGrid")
        assert (listed()[A]["reason"], listed()[A]["source"]) == ("old list", "imported")
        assert (listed()[B]["reason"], listed()[B]["source"]) == ("550 no such user", "SendGrid")

    def test_an_import_shortens_nothing_and_brings_nothing_that_is_over(self, tmp_path: Path) -> None:
        """A file may be older than the list."""
        run("add", A)
        file = tmp_path / "list.csv"
        file.write_text(f"address,until\n{A},2999-01-01T00:00:00+00:00\n{B},2020-01-01\n")
        assert run("import", str(file)).startswith("0 addresses imported; 2 skipped")
        assert (listed()[A]["until"], len(listed())) == (None, 1)

    def test_lines_that_cannot_be_used_are_named_and_nothing_is_done(self, tmp_path: Path) -> None:
        """All or nothing, with the numbers of the lines."""
        file = tmp_path / "list.csv"
        file.write_text(f"address,until\n{A},\nnobody,\n{B},some day\n")
        with pytest.raises(CommandError, match=r"line 3: 'nobody' is not an address; line 4:.*some day") as caught:
            run("import", str(file))
        assert (caught.value.returncode, listed()) == (2, {})

    def test_a_file_that_is_not_there_is_said_so(self, tmp_path: Path) -> None:
        """A usage error, no traceback; a folder that is not there, too."""
        for arguments in (["import", str(tmp_path / "none")], ["export", str(tmp_path / "no" / "folder")]):
            with pytest.raises(CommandError, match="cannot be (read|written)") as caught:
                run(*arguments)
            assert caught.value.returncode == 2


def test_an_address_may_be_given_with_its_name() -> None:
    """As it stands in a mail's header, by the command and by its import."""
    call_command("email_suppression", "add", "Ada Lovelace <Ada@Example.com>", "--reason", "asked")
    assert set(suppressed("default", ["ada@example.com"])) == {"ada@example.com"}
    call_command("email_suppression", "remove", '"Lovelace, Ada" <ada@example.com>')
    assert not suppressed("default", ["ada@example.com"])


@pytest.mark.parametrize(
    "text",
    ["everything", "", "@example.com", "ann@", "ann@example.com, bob@example.com", "ann@example.com\nbob", "<a@b>"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With the others that are given: a word would stand there for ever and keep nothing back."""
    with pytest.raises(ValueError, match="is no address: write it as name@example.com"):
        suppress([A, text], source="code")
    assert listed() == {}


def test_one_address_in_place_of_a_list_is_refused() -> None:
    """Its letters would be taken for addresses."""
    for act in (lambda: suppress(A, source="code"), lambda: allow(A)):
        with pytest.raises(TypeError, match="list of addresses"):
            act()


def test_a_provider_that_reports_a_word_suppresses_nothing(webhooks: None, caplog: pytest.LogCaptureFixture) -> None:
    """The provider gets its 200, and the log has the reason."""
    event = AnymailTrackingEvent(event_type="complained", recipient="everything", esp_event={})
    tracking.send(sender=None, event=event, esp_name="SendGrid")
    assert listed() == {}


def test_the_list_is_asked_for_one_address_its_beginning_or_a_domain() -> None:
    """Among a million entries nobody looks for one by eye; one that is not there is exit code 1."""
    suppress([A, B, "cy@other.example"], source="by hand")
    assert [json.loads(line)["address"] for line in run("list", A.upper(), "--json").splitlines()] == [A]
    assert run("list", "@other.example").split()[0] == "cy@other.example"
    assert run("list", B[:2]).startswith(B)
    with pytest.raises(CommandError, match="The suppression list has no 'nobody@example.com'") as caught:
        run("list", "nobody@example.com")
    assert caught.value.returncode == 1


def test_a_site_without_time_zones_reads_the_list_that_it_wrote(tmp_path: Path, settings: Any) -> None:
    """What ends, ends at the same instant, also on a site of another time zone."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    suppress([A, B], source="by hand", lifetime=timedelta(days=90))
    before = dict(Suppression.objects.values_list("address", "expires_at"))
    run("export", str(tmp_path / "list.csv"))
    assert "0 addresses imported; 2 skipped" in run("import", str(tmp_path / "list.csv"))
    Suppression.objects.all().delete()
    run("import", str(tmp_path / "list.csv"))
    assert dict(Suppression.objects.values_list("address", "expires_at")) == {
        address: at and at.replace(microsecond=0) for address, at in before.items()
    }
    [row] = [row for row in csv.DictReader(run("export").splitlines()) if row["address"] == A]
    settings.USE_TZ, settings.TIME_ZONE = True, "UTC"
    run("import", str(tmp_path / "list.csv"))
    assert Suppression.objects.get(address=A).expires_at == datetime.fromisoformat(row["until"])


def test_the_list_has_an_erased_person_who_is_asked_for_by_address() -> None:
    """Nothing is sent to whom it keeps only a hash of: it must not say that it has no such address."""
    erase(A, actor="ann")
    assert suppressed("default", [A]) == {A}
    assert run("list", f"Ann <{A.upper()}>").startswith("(erased ")
    with pytest.raises(CommandError, match="has no"):
        run("list", B)
