"""The fixtures work in a user's own test run."""

import os
import subprocess
import sys
from pathlib import Path

import reliable_email

USERS_TESTS = """
import smtplib
import pytest
from reliable_email.testing.server import Script


def test_plain_server(reliable_email_server):
    with smtplib.SMTP(reliable_email_server.host, reliable_email_server.port) as client:
        client.sendmail("a@x.test", ["b@x.test"], b"hello")
    assert reliable_email_server.messages[0].recipients == ("b@x.test",)


@pytest.mark.smtp_server(Script(greeting="421 later"), Script(), name="marked.test")
def test_marked_server(reliable_email_server):
    with pytest.raises(smtplib.SMTPConnectError):
        smtplib.SMTP(reliable_email_server.host, reliable_email_server.port)
    with smtplib.SMTP(reliable_email_server.host, reliable_email_server.port) as client:
        assert client.helo()[1] == b"marked.test"


def test_simulated_providers(simulated_provider):
    first = simulated_provider("gmail", quota_left=0, tls="none", login={})
    second = simulated_provider("sendgrid", tls="none", login={})
    with smtplib.SMTP(first.host, first.port) as client, pytest.raises(smtplib.SMTPDataError, match="5.4.5"):
        client.sendmail("a@x.test", ["b@x.test"], b"hello")
    with smtplib.SMTP(second.host, second.port) as client:
        client.sendmail("a@x.test", ["b@x.test"], b"hello")
    assert len(second.messages) == 1


def test_reset(reliable_email_reset):
    assert reliable_email_reset is None
"""


def run(code: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a directory of its own, without this project's settings."""
    source = Path(reliable_email.__file__).parents[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO", "PYTEST"))}
    environment["PYTHONPATH"] = str(source)
    return subprocess.run(
        [sys.executable, *code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def test_fixtures_work_under_strict_markers(tmp_path: Path) -> None:
    """All of them, in a run that knows nothing of this project."""
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    # Where the entry point is installed, naming the plugin again would register it twice.
    options = ["--strict-markers", "-q", "-p", "no:cacheprovider", "-p", "no:django", "-p", "no:randomly"]
    finished = run(["-c", f"import sys, pytest; {_LOAD_ONCE}; sys.exit(pytest.main({options!r}, plugins))"], tmp_path)
    assert "4 passed" in finished.stdout, finished.stdout + finished.stderr


_LOAD_ONCE = (
    "from importlib.metadata import entry_points; "
    "known = any(one.name == 'reliable_email' for one in entry_points(group='pytest11')); "
    "import reliable_email.testing.pytest_plugin as plugin; "
    "plugins = [] if known else [plugin]"
)


def test_loading_the_plugin_imports_neither_django_nor_cryptography(tmp_path: Path) -> None:
    """Every pytest run of every project that has the package installed loads it."""
    code = (
        "import sys, reliable_email.testing.pytest_plugin; "
        "loaded = [m for m in sys.modules if m.partition('.')[0] in {'django', 'cryptography', 'ssl'}"
        " or m.startswith('reliable_email.') and not m.startswith('reliable_email.testing')]; "
        "assert loaded == [], loaded"
    )
    finished = run(["-c", code], tmp_path)
    assert finished.returncode == 0, finished.stderr
