"""The README's first command, as a newcomer runs it."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from demo.faults import Misfortune, Plan
from demo.management.commands.demo import Command
from reliable_email.testing.actions import raw
from reliable_email.testing.script import Script
from tests.thoroughness import only_thoroughly

ROOT = Path(__file__).parent.parent.parent
EXPECTED = {
    Misfortune.BUSY: ("system_temporary", "accepted", "sendgrid"),
    Misfortune.HANGS_UP: ("disconnected", "accepted", "sendgrid"),
    Misfortune.SILENT_AFTER_TAKING: ("outcome_unknown", "unknown", "gmail"),
    Misfortune.SILENT_AFTER_LOSING: ("outcome_unknown", "unknown", "gmail"),
    Misfortune.NOBODY: ("mailbox_unknown", "rejected", "gmail"),
    Misfortune.GREYLISTED: ("greylisted", "deferred", "gmail"),
    Misfortune.QUOTA: ("quota_exceeded", "accepted", "sendgrid"),
}


def environment(directory: Path, **more: str) -> dict[str, str]:
    """A newcomer's, with files of its own."""
    own = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")}
    return own | {"DEMO_VAR": str(directory), "PYTHONPATH": str(ROOT / "src")} | more


def run(directory: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`manage.py demo` in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        env=environment(directory, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def told_in_process(**options: Any) -> dict[str, Any]:
    """What the command tells in JSON when it is called by code."""
    out = io.StringIO()
    call_command(Command(), json=True, stdout=out, **options)
    story: dict[str, Any] = json.loads(out.getvalue())
    return story


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the demo tells where there is no terminal."""
    done = run(tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_demo_ends_by_itself_and_the_servers_agree(told: str) -> None:
    """Exit code 0, and every report is what the servers have."""
    assert "✓  The servers agree: each of the 46 accepted messages is there exactly once" in told


@pytest.mark.parametrize(
    "line",
    [
        "gmail … → sendgrid ✓",
        "Basic Constraints of CA cert not marked critical",
        "hung up before the content: it cannot have the message",
        "closed the connection after the final dot: it may have the message, so it is not sent again",
        "421 4.3.0 Temporary System Problem",
        "asks to come back later",
        "there is no such mailbox",
        "quota is used up",
        "gmail's own books says that it is there",
        "gmail's own books says that it is not there",
    ],
)
def test_each_misfortune_is_met_and_explained(told: str, line: str) -> None:
    """None of them is only promised."""
    assert line in told


def test_the_warning_about_the_certificate_is_announced_before_it_comes(told: str) -> None:
    """A newcomer's first sight is no riddle."""
    assert -1 < told.find("the warning (!) below is about it") < told.find("  !  The certificate of")


def test_the_readme_shows_what_the_demo_prints(told: str) -> None:
    """Each line of the excerpt, in order; … stands for the rest of a line."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (excerpt,) = [one for one in re.findall(r"```\n(.*?)```", readme, re.DOTALL) if "on its server" in one]
    shown = [line for line in excerpt.splitlines() if line]
    assert len(shown) > 10
    printed = iter(told.splitlines())
    for line in shown:
        begin = line.removesuffix("…")
        assert any(one.startswith(begin) if begin != line else one == line for one in printed), line


def test_a_reader_who_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    """`manage.py demo | head -1` ends without a traceback."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


def test_plain_output_has_no_control_characters(told: str) -> None:
    """It can go into a file."""
    assert all(char == "\n" or char.isprintable() for char in told)


def test_plain_output_fits_a_page(told: str) -> None:
    """No line is folded by a wide terminal or a log viewer."""
    assert max(map(len, told.splitlines())) <= 120


@only_thoroughly  # two whole demos
def test_a_second_run_tells_the_same(tmp_path: Path) -> None:
    """What the first one learned of its providers says nothing of those of the second."""
    first, second = (run(tmp_path, "--json", "--seed", "5").stdout for _ in range(2))
    assert first == second != ""


@pytest.mark.django_db
@pytest.mark.parametrize(("count", "seed"), [(50, 2), (24, 3), (25, 4)])
def test_everybody_meets_what_was_planned_and_the_servers_agree(count: int, seed: int) -> None:
    """Each misfortune with its cause, its outcome and the route that had the last word; all others are accepted."""
    story = told_in_process(count=count, seed=seed)
    assert story["contradictions"] == []
    assert set(story["misfortunes"].values()) == set(Misfortune)
    for line in story["lines"]:
        planned = story["misfortunes"].get(str(line["number"]))
        causes = {attempt["cause"] for attempt in line["attempts"] if attempt["cause"]}
        if planned is None:
            assert (causes, line["outcome"]) == (set(), "accepted")
        else:
            cause, outcome, route = EXPECTED[planned]
            assert (causes, line["outcome"], line["route"]) == ({cause}, outcome, route)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_short_run_is_a_whole_story(count: int) -> None:
    """With as many misfortunes as it has room for."""
    story = told_in_process(count=count, seed=1)
    assert story["messages"] == sum(story["recipients"].values()) == count
    assert story["contradictions"] == []


@pytest.mark.django_db
def test_the_counts_are_those_of_the_servers(tmp_path: Path) -> None:
    """What each server has: what it accepted, and the one unknown message that it took."""
    routes = told_in_process(count=30, seed=9)["routes"]
    assert routes["gmail"]["on_server"] == routes["gmail"]["accepted"] + 1
    assert routes["sendgrid"]["on_server"] == routes["sendgrid"]["accepted"]


@pytest.mark.django_db
def test_the_sites_own_routes_are_left_alone() -> None:
    """Neither its settings nor its knowledge of a route called gmail."""
    from django.conf import settings

    from reliable_email.store.tables.shared import RouteState

    before = getattr(settings, "MAILERS", None)
    told_in_process(count=10)
    assert getattr(settings, "MAILERS", None) == before
    assert not RouteState.objects.exists()


class LyingPlan(Plan):
    """A provider that says 250 and keeps nothing."""

    def script(self) -> Script:
        """Bytes that the server's books do not count."""
        return Script(final_reply=raw(b"250 2.0.0 OK\r\n"))


class DemoOfALiar(Command):
    """The demo over that provider."""

    def plan(self, count: int, seed: int) -> Plan:
        """No other misfortune."""
        return LyingPlan(count=count, seed=seed)


@pytest.mark.django_db
def test_a_report_that_the_servers_refute_ends_in_exit_code_1() -> None:
    """Each such message is named."""
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(DemoOfALiar(), count=2, plain=True, stdout=out)
    assert ended.value.code == 1
    assert "✗  message 2 is reported accepted by gmail, but the copies on the servers are: none" in out.getvalue()
    assert "The servers agree" not in out.getvalue()


def test_a_terminal_gets_the_live_view(tmp_path: Path) -> None:
    """Tracks that fill, the same reasons, the same verdict."""
    pytest.importorskip("rich")
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--count", "10"],
        env=environment(tmp_path, TERM="xterm-256color", COLUMNS="100", LINES="40"),
        stdout=terminal,
        stderr=terminal,
        stdin=terminal,
        cwd=ROOT,
    )
    os.close(terminal)
    shown = bytearray()
    try:
        while piece := os.read(controller, 65536):
            shown += piece
    except OSError:
        pass  # Linux's way to say that the other side has ended
    finally:
        os.close(controller)
        code = process.wait(60)
    text = shown.decode()
    assert code == 0, text
    assert "\x1b[" in text
    assert text.count("●") > 10
    assert "The servers agree" in text


def test_without_cryptography_the_demo_says_what_to_install(tmp_path: Path) -> None:
    """And shows no traceback."""
    (tmp_path / "cryptography.py").write_text("raise ImportError(\"No module named 'cryptography'\")\n")
    done = run(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT / 'src'}")
    assert done.returncode == 1
    assert "pip install cryptography" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_count_that_is_none_is_a_usage_error() -> None:
    """Exit code 2."""
    with pytest.raises(CommandError, match="--count") as caught:
        call_command(Command(), count=0)
    assert caught.value.returncode == 2
