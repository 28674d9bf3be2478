"""The README's first command, as a newcomer runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`manage.py demo` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        env=environment | {"DEMO_VAR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the demo tells where there is no terminal."""
    done = run(tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_ends_by_itself_and_the_servers_agree(told: str) -> None:
    """Exit code 0, and every report is what the servers have."""
    assert "✓ The servers agree: each of the 47 accepted messages is there exactly once" in told


@pytest.mark.parametrize(
    "line",
    [
        "gmail … → sendgrid ✓",
        "Basic Constraints of CA cert not marked critical",
        "the connection ended before the content",
        "after the final dot: it may have the message",
        "asked to come back later",
        "this mailbox does not exist anywhere",
        "its quota for today is used up",
    ],
)
def test_each_misfortune_is_met_and_explained(told: str, line: str) -> None:
    """None of them is only promised."""
    assert line in told


def test_a_second_run_tells_the_same(tmp_path: Path) -> None:
    """What the first one learned of its providers says nothing of those of the second."""
    first, second = (run(tmp_path, "--json").stdout for _ in range(2))
    assert first == second != ""


def test_plain_output_has_no_control_characters(told: str) -> None:
    """It can go into a file."""
    assert all(char == "\n" or char.isprintable() for char in told)


def test_the_demo_tells_programs_in_json(tmp_path: Path) -> None:
    """One object, the same counts."""
    done = run(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["recipients"] == {"accepted": 47, "deferred": 1, "rejected": 1, "unknown": 1}
    assert told["contradictions"] == []


def test_a_count_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 2."""
    done = run(tmp_path, "--count", "0")
    assert done.returncode == 2
    assert "--count" in done.stderr
