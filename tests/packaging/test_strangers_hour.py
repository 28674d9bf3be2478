"""A stranger's first hour, by the README alone: a new environment, the wheel, direct, failover, queue, page."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reliable_email.testing.server import ScriptedServer
from tests.packaging.conftest import ROOT
from tests.services import require

README = (ROOT / "README.md").read_text("utf-8")
_OWN = ("DJANGO", "PYTHON", "RELIABLE", "EMAIL", "VIRTUAL_ENV", "COVERAGE")
_BEFORE_61 = 'EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"\n'
_SEND = """
from django.core.mail import EmailMessage
message = EmailMessage({subject!r}, "Text.", "shop@example.com", ["ann@example.net"])
message.send()
print("went", {{str(one.outcome) for one in message.delivery.recipients.values()}})
"""
_LOOK = """
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(SERVER_NAME="localhost")
client.force_login(get_user_model().objects.create_superuser("operator"))
print("page", client.get("/mail/").status_code, "HEALTHY" in client.get("/mail/").content.decode())
"""


class Stranger:
    """Somebody with a new project; knows the README's blocks of Python, in order."""

    def __init__(self, folder: Path, wheel: Path, version: str, servers: tuple[ScriptedServer, ScriptedServer]) -> None:
        self._folder = folder
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        self._environ["PYTHONUTF8"] = "1"
        self._python = folder / "venv" / "bin" / "python"
        self.blocks = [_filled(one, servers) for one in re.findall(r"```python\n(.*?)```", README, re.DOTALL)]
        uv = str(ROOT / "tools" / "uv")
        self._run(uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
        # What `pip install` does, with the packages that this machine has already.
        which = [str(wheel), f"django=={version}.*"]
        self._run(uv, "pip", "install", "--quiet", "--python", str(self._python), *which)
        self._run(str(self._python), "-m", "django", "startproject", "shop", ".")
        self._settings = folder / "shop" / "settings.py"
        self._first = re.sub(r"^MAILERS = \{.*?^\}$", "", self._settings.read_text(), flags=re.DOTALL | re.MULTILINE)

    def settle(self, text: str) -> None:
        """Let the settings be those of a new project, and these."""
        self._settings.write_text(self._first + "\n" + text)

    def mount(self) -> None:
        """Add the pages to the URLs, by the line of the README."""
        (line,) = re.findall(r'`(path\("mail/", [^`]*\))`', README)
        (self._folder / "shop" / "urls.py").write_text(
            "from django.contrib import admin\nfrom django.urls import include, path\n"
            f'urlpatterns = [path("admin/", admin.site.urls), {line}]\n'
        )

    def manage(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """A command of the project; what it says."""
        return self._run(str(self._python), "manage.py", *arguments, codes=codes)

    def _run(self, *command: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode in codes, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def _filled(block: str, servers: tuple[ScriptedServer, ScriptedServer]) -> str:
    """The block with a server of this machine for each account that a reader has."""
    for name, server in zip(("gmail", "sendgrid"), servers, strict=True):
        options = f'"host": "127.0.0.1", "port": {server.port}'
        block = re.sub(rf'"provider": "{name}"(, "(username|password)": \.\.\.)+', options, block)
    assert "provider" not in block
    return block.replace("[..., ", "[*INSTALLED_APPS, ")


@pytest.fixture
def first() -> Iterator[tuple[ScriptedServer, ExitStack]]:
    """The first provider, and what takes it down."""
    with ExitStack() as stack:
        yield stack.enter_context(ScriptedServer()), stack


@pytest.fixture
def second() -> Iterator[ScriptedServer]:
    """The second provider."""
    with ScriptedServer() as server:
        yield server


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "version",
    [
        "5.2",
        pytest.param("6.1", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="Django 6.1 needs 3.12")),
    ],
)
def test_the_readme_alone_leads_from_the_first_message_to_the_page(
    dist: Path, tmp_path: Path, version: str, first: tuple[ScriptedServer, ExitStack], second: ScriptedServer
) -> None:
    """Each block of settings works as it stands, in this order, and each command that it names is there."""
    require("packages")
    (wheel,) = dist.glob("*.whl")
    server, outage = first
    stranger = Stranger(tmp_path, wheel, version, (server, second))
    by_names, by_mailers, failover, queue = stranger.blocks
    beside = _BEFORE_61 if version == "5.2" else ""

    if beside:
        stranger.settle(f'EMAIL_HOST = "127.0.0.1"\nEMAIL_PORT = {server.port}\n{by_names}')
    else:
        stranger.settle(by_mailers)
    assert "went {'accepted'}" in stranger.manage("shell", "-c", _SEND.format(subject="direct"))
    assert [one.header("Subject") for one in server.messages] == ["direct"]
    outage.close()

    stranger.settle(failover + beside + 'INSTALLED_APPS += ["reliable_email"]\n')
    stranger.manage("migrate")
    assert "went {'accepted'}" in stranger.manage("shell", "-c", _SEND.format(subject="failover"))
    assert [one.header("Subject") for one in second.messages] == ["failover"]
    assert "Status: DEGRADED" in stranger.manage("test_email", "you@example.com", codes=(3,))

    stranger.settle(f"{failover}before = MAILERS\n{queue}MAILERS = before | MAILERS\n{beside}")
    stranger.mount()
    assert "went {'queued'}" in stranger.manage("shell", "-c", _SEND.format(subject="queued"))
    stranger.manage("email_worker", "--until-empty")
    assert second.messages[-1].header("Subject") == "queued"
    assert re.search(r"^accepted +1$", stranger.manage("email_outbox", "status", codes=(0, 3)), re.MULTILINE)
    assert "page 200" in stranger.manage("shell", "-c", _LOOK)
    warnings = stranger.manage("check", "--deploy", "--database", "default")
    assert "reliable_email.W007" in warnings
    assert "reliable_email.W009" in warnings
