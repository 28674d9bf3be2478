"""The queues of django-post_office and django-mailer are taken over once, completely, and after a look."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module", params=["aware", "naive"])
def told(request: pytest.FixtureRequest) -> Any:
    """What the site in `importing_site` says, with and without USE_TZ."""
    for name in ("post_office", "mailer"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    script = Path(__file__).with_name("importing_site.py")
    command = [sys.executable, str(script), request.param]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def test_the_first_run_only_looks(told: Any) -> None:
    """Numbers, and nothing changed."""
    assert [one["queued"] for one in told["dry"]] == [1, 1]
    assert told["dry"][0]["expired"] == 1
    assert told["dry"][1]["suppressed"] == 1
    assert told["after_dry"] == 0


def test_it_tells_how_far_it_has_come(told: Any) -> None:
    """Of each app: what waits, the expired and the unreadable with it, and what was looked at."""
    assert told["counted"] == [[2, 2], [2, 2]]


def test_everything_that_waits_is_queued_once(told: Any) -> None:
    """A second run finds nothing more, and what cannot be read is named and left."""
    assert [one["queued"] for one in told["applied"]] == [1, 1]
    assert [one["queued"] for one in told["again"]] == [0, 0]
    assert len(told["applied"][1]["unreadable"]) == 1
    assert told["left"] == [1, 1], "the expired one, and the one that nobody can read"
    assert told["suppressed"] == ["never@example.com"]


def test_messages_keep_their_content_and_priority(told: Any) -> None:
    """Text with braces, HTML, attachment; high stays high."""
    first, second = told["messages"]
    assert (first["subject"], first["priority"], first["to"]) == ("Queued", 0, ["ada@example.com"])
    for words in ("100 {% off %}", "<p>Hi</p>", 'filename="a.csv"'):
        assert words in first["content"]
    assert (second["subject"], second["priority"], second["to"]) == ("Pickled", 0, ["bob@example.com"])


def test_an_import_refuses_while_the_other_sender_is_at_work(told: Any) -> None:
    """It may have in hand what would be queued here as well."""
    assert told["refused"] == [
        f"The sender of {name} is at work: stop it, and import again." for name in ("post_office", "mailer")
    ]


def test_what_was_sent_since_it_was_read_is_not_queued(told: Any) -> None:
    """Each row is locked and looked at again."""
    assert told["meanwhile"] == {"queued": 0, "gone": 1}
