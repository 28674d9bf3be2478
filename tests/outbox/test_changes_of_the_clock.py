"""A site without USE_TZ when the clocks go forward and back: its workers notice nothing.

The zone is made for the test. Both changes come while one worker waits for replies and another one looks for leases
that have ended.
"""

import os
import struct
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections

from reliable_email.delivery.submission import OnUnknown
from reliable_email.store.questions.audit import audit
from reliable_email.store.sql.clock import database_now
from reliable_email.testing.script import Script
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.server import ScriptedServer
from tests.chaos.harness import vendor_of
from tests.outbox.desk import queue, rows

FORWARD_AFTER, BACK_AFTER, OVER_AFTER = 12, 18, 24  # seconds; the processes have to be at work by the first


def write_zone(folder: Path, forward_at: int, back_at: int) -> None:
    """Europe/Berlin for Python and for the C library: UTC, an hour forward, and back (RFC 9636, version 2)."""
    types = struct.pack(">lbB", 0, 0, 0) + struct.pack(">lbB", 3600, 1, 4)
    names = b"CET\0CEST\0"

    def block(size: str, moments: tuple[int, ...]) -> bytes:
        header = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, len(moments), 2, len(names))
        kinds = bytes((1, 0))[: len(moments)]
        return header + struct.pack(f">{len(moments)}{size}", *moments) + kinds + types + names

    place = folder / "Europe"
    place.mkdir(parents=True)
    (place / "Berlin").write_bytes(block("l", ()) + block("q", (forward_at, back_at)) + b"\nCET0\n")


@pytest.mark.timeout(120)
def test_leases_and_due_times_survive_both_changes(using: str, tmp_path: Path) -> None:
    """What is in hand is doubted by nobody and sent once, whatever its policy is; what has its time comes then."""
    now = database_now(using)
    moment = int(now.timestamp())
    write_zone(tmp_path, moment + FORWARD_AFTER, moment + BACK_AFTER)
    may_answer = threading.Event()
    arrived = {name: threading.Event() for name in OnUnknown}

    def hold(conversation: Conversation) -> None:
        assert conversation.message is not None
        name = conversation.message.recipients[0].partition("@")[0]
        if name in arrived:
            arrived[OnUnknown(name)].set()
            may_answer.wait(90)
        conversation.behave()

    for policy in OnUnknown:
        queue(using, f"{policy}@example.com", on_unknown=policy)
    name = str(connections[using].settings_dict["NAME"])
    environment = os.environ | {"PYTHONTZPATH": str(tmp_path), "TZDIR": str(tmp_path)}

    def start(port: int, *words: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "tests.sites.changing_clock", vendor_of(using), name, str(port), *words]
        return subprocess.Popen(program, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    with ExitStack() as stack:
        server = stack.enter_context(ScriptedServer(*[Script(final_reply=hold)] * 8))
        stack.callback(may_answer.set)
        processes = [start(server.port, "2", "60")]
        stack.callback(lambda: [one.kill() for one in processes])
        for one in arrived.values():
            assert one.wait(60)
        # It resends what nobody holds any more after a second.
        processes.append(start(server.port, "1", "1"))
        queue(using, "later@example.com", send_at=now + timedelta(seconds=OVER_AFTER))
        server.wait_for_messages(1, timeout=60)
        assert (database_now(using) - now).total_seconds() >= OVER_AFTER, "an hour early"
        connections[using].close()
        may_answer.set()
        server.wait_for_messages(3, timeout=30)
        for one in processes:
            one.terminate()
        for one in processes:
            words, _ = one.communicate(timeout=40)
            assert one.returncode == 0, words
        taken = Counter(address for message in server.messages for address in message.recipients)
    assert taken == dict.fromkeys(("hold@example.com", "resend@example.com", "later@example.com"), 1)
    assert {(one.state, one.unknowns) for one in rows(using)} == {("accepted", 0)}
    assert audit(using).findings == []
