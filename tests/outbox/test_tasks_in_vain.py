"""Tasks that can do nothing: they end, so that no slot of a fleet is theirs for ever."""

import subprocess
import sys
import threading
from typing import Any

import django
import pytest

from reliable_email.checks import check_announcement
from reliable_email.integrations import announcing, delivering
from reliable_email.outbox import faultpoints
from reliable_email.store.tables.states import State
from tests.outbox.desk import states
from tests.outbox.test_commands import server, site
from tests.outbox.test_tasks_of_a_fleet import forgotten, queued
from tests.thoroughness import each

__all__ = ["forgotten", "server", "site"]  # fixtures

BROKERS = {
    "no such broker": "nonsense://127.0.0.1/",
    "a slash in a password": "amqp://site:hush/word@127.0.0.1//",
    "a slash in a password alone": "redis://:hush/word@127.0.0.1:6379/0",
}
IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
# What it is that cannot be used: what ANNOUNCE is, the settings, words of the error.
UNUSABLE = {
    "no such queue": ("tasks", f"TASKS={{'default': {{'BACKEND': '{IMMEDIATE}', 'QUEUES': ['mail']}}}}", "'default'"),
    "no default backend": ("tasks", f"TASKS={{'other': {{'BACKEND': '{IMMEDIATE}'}}}}", "'default'"),
    "no such backend": ("tasks", "TASKS={'default': {'BACKEND': 'nope.Nope'}}", "nope.Nope"),
    "no tasks": ("tasks", "TASKS={}", "'default'"),
    "no such broker": ("celery", "", "nonsense"),
    "a slash in a password": ("celery", "", "%2F"),
    "a slash in a password alone": ("celery", "", "%2F"),
}


@pytest.mark.parametrize("given", ["x", None, True, 1.5, [1], 0, -1, 10**30], ids=str)
def test_a_task_for_what_is_no_message_is_refused(site: str, given: Any) -> None:
    """A database would refuse it again and again, and the task would never end."""
    queued(site, 1)
    with pytest.raises(ValueError, match="number"):
        delivering.deliver_messages([given], using=site)
    assert states(site) == [State.QUEUED]


def test_a_task_that_can_claim_nothing_ends(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the trouble lasts, it takes no slot of the fleet for ever."""
    monkeypatch.setattr(delivering, "_TASK_SECONDS", 0.5)
    ids = queued(site, 1)

    def fail(name: str) -> None:
        if name in ("claim", "claim:select"):
            raise RuntimeError("odd")

    faultpoints.listen(fail)
    try:
        assert delivering.deliver_messages(ids, using=site) == 0
    finally:
        faultpoints.reset()
    assert states(site) == [State.QUEUED]
    assert delivering.deliver_messages([*ids, *map(str, ids)], using=site) == 1


@pytest.mark.parametrize("name", each(sorted(UNUSABLE), 2))
def test_a_task_queue_that_cannot_be_used_is_told_once_and_found_by_check(name: str) -> None:
    """The send goes well, one line warns, whatever the site's TASKS or Celery raise, and `check` says what to do.

    Neither has a part of a password, which the error for a URL that cannot be read quotes.
    """
    announce, settings, words = UNUSABLE[name]
    app = f"from celery import Celery\nCelery('site', broker={BROKERS[name]!r}).set_default()\n" if not settings else ""
    if announce == "tasks" and django.VERSION < (6, 0):
        words = "django.tasks"
    code = (
        "import logging\n"
        "from django.conf import settings\n"
        "installed = {'INSTALLED_APPS': ['reliable_email']}\n"
        f"settings.configure(**installed, RELIABLE_EMAIL={{'ANNOUNCE': {announce!r}}}, {settings})\n"
        "import django; django.setup()\n"
        "logging.basicConfig(format='%(levelname)s %(name)s %(message)s')\n"
        f"{app}"
        "from reliable_email import signals\n"
        "from reliable_email.checks import check_announcement\n"
        "from reliable_email.integrations import announcing\n"
        "for number in (1, 2, 3):\n"
        "    answers = signals.message_queued.send_robust(object, outbox_id=number)\n"
        "    assert [answer for _, answer in answers if answer] == [], answers\n"
        "assert announcing._process.flush(60.0)\n"
        "print(*(f'{one.id} {one.msg} {one.hint}' for one in check_announcement()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING reliable_email.outbox ")
    assert "could not be announced; a sweep or a worker will find them" in line
    assert words in line
    assert done.stdout.startswith(f"reliable_email.W010 RELIABLE_EMAIL['ANNOUNCE'] is '{announce}', and no task can be")
    assert words in done.stdout
    assert "hush" not in done.stdout + done.stderr


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks has come with 6.0")
def test_a_task_queue_that_can_be_used_is_no_matter_for_check(settings: Any) -> None:
    """Nothing is asked of a broker."""
    for announce in ("", "tasks", "celery"):
        settings.RELIABLE_EMAIL = {"ANNOUNCE": announce}
        assert check_announcement() == []


def test_where_no_thread_can_start_a_message_is_queued_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The announcement waits for the next message; a sweep finds both."""
    told: list[int] = []
    monkeypatch.setattr(announcing, "_announcer", lambda name: told.extend)
    one = announcing.Announcer()
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    one.add(1)
    assert not one.flush(3600.0)  # nobody is there to wait for
    monkeypatch.setattr(threading.Thread, "start", start)
    one.add(2)
    assert one.flush(10.0)
    assert told == [1, 2]
