"""What the first message of a process imports and makes: cron jobs and serverless functions pay it for each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

from reliable_email.providers import catalogue
from reliable_email.testing.server import ScriptedServer

ROOT = Path(__file__).parent.parent.parent
# Modules of the package, dataclasses written by the standard library, regular expressions compiled. As measured with
# a little room; they may shrink. Docs: performance.md, "Start-up".
MOST = {"send": (112, 3, 20), "enqueue": (70, 3, 14), "worker": (192, 3, 22)}
# What only a failure, a login by token or an encrypted connection needs.
NEEDLESS = ("classification.rulebook", "smtp.oauth.access_tokens", "smtp.tls.handshake", "delivery.transports.foreign")

pytestmark = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS is Django's own from 6.1 on")


@pytest.mark.parametrize("step", MOST)
def test_the_first_message_of_a_process_imports_little(step: str, tmp_path: Path) -> None:
    """Counted, and never timed, in a process of its own."""
    with ScriptedServer() as server:
        command = [sys.executable, "-W", "ignore", "-m", "bench.speed.first", step, str(server.port), str(tmp_path)]
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    told = json.loads(done.stdout)
    own, dataclasses, patterns = MOST[step]
    assert told["own"] <= own
    assert told["dataclasses"] <= dataclasses
    assert told["patterns"] <= patterns
    assert told["others"] == [], "modules of others"
    if step == "send":
        assert not {f"reliable_email.{name}" for name in NEEDLESS} & set(told["names"])


@pytest.mark.parametrize("name", catalogue.names())
def test_the_hosts_of_a_provider_are_found_without_its_whole_file_being_parsed(name: str) -> None:
    """The one line that is read says what the file says."""
    assert catalogue._hosts(name) == catalogue._data(name)["hosts"]
