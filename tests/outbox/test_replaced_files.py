"""A process under which the files of the package are replaced, as `pip install` of another version does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import reliable_email
from reliable_email.testing import certificates
from reliable_email.testing.server import Script, ScriptedServer

SITE = Path(__file__).with_name("replaced_site.py")
DIRECT_SITE = Path(__file__).with_name("replaced_direct_site.py")


def copied_to(folder: Path) -> None:
    """Put a copy of the package there."""
    package = Path(reliable_email.__file__).parent
    shutil.copytree(package, folder / "reliable_email", ignore=shutil.ignore_patterns("__pycache__", "locale"))


def test_a_worker_goes_on_without_the_files_that_it_was_started_from(tmp_path: Path) -> None:
    """The first encrypted connection and the first refusal come when they are gone; nothing is looked for there."""
    copied_to(tmp_path)
    certificate = certificates.good()
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    refusals = {"bob@example.com": "550 5.1.1 no such user here", "eve@example.com": "550 so much for that"}
    with ScriptedServer(Script(rcpt=refusals), tls="starttls", certificate=certificate) as server:
        program = [sys.executable, str(SITE), str(tmp_path), str(server.port), str(certificate.ca_file)]
        program += ["ada@example.com", *refusals]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told == {"ada@example.com": "accepted", "bob@example.com": "rejected", "eve@example.com": "rejected"}


def test_a_process_that_sends_directly_explains_a_refusal_without_them(tmp_path: Path) -> None:
    """Two messages were taken before the deploy; the refusal after it is raised as one, and not as a missing module."""
    copied_to(tmp_path)
    to = ["ada@example.com", "eve@example.com", "bob@example.com"]
    with ScriptedServer(Script(rcpt={"bob@example.com": "550 5.1.1 no such user here"})) as server:
        program = [sys.executable, str(DIRECT_SITE), str(tmp_path), str(server.port), *to]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == dict(zip(to, ("sent", "sent", "RecipientsRefused"), strict=True))
