"""Everything that happens while the live demo runs: the pages, the worker, the traffic, the troubles."""

import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.urls import NoReverseMatch, reverse

from demo.live import site, traffic, weather
from demo.live.stage import Stage
from demo.live.troubles import WORDS

_TICK_SECONDS = 0.1
_WORKER_STOP_SECONDS = 10.0
_USER = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Made for one run."""

    username: str
    password: str


class Show:
    """See the module.

    Args:
        stage: the providers, running.
        port: of the pages, if it is free.
        is_calm: no trouble comes by itself.
        is_quiet: no mail is sent by itself.
    """

    def __init__(self, stage: Stage, *, port: int, is_calm: bool, is_quiet: bool) -> None:
        self._stage = stage
        self._port = port
        self._is_calm = is_calm
        self._is_quiet = is_quiet
        self._chance = random.Random()

    def run(self) -> None:
        """Go on until something is raised."""
        call_command("migrate", verbosity=0)
        login = _make_login()
        with _worker() as worker, site.served(self._port) as address:
            _introduce(address, login)
            self._go_on(worker)

    def _go_on(self, worker: "_Worker") -> None:
        """Traffic and troubles, until a signal."""
        started_at = seen_at = time.monotonic()
        send_at = started_at
        number = 0
        while True:
            time.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if not self._is_calm:
                for change in weather.changes(seen_at - started_at, now - started_at):
                    self._change(change)
            seen_at = now
            if not self._is_quiet and now >= send_at:
                number += 1
                traffic.letter(number, self._chance).send()
                send_at = now + traffic.pause_seconds(self._chance)
            worker.keep_alive()

    def _change(self, change: weather.Change) -> None:
        if change.begins:
            self._stage.begin(change.route, change.trouble)
            _say(f"{change.route} {WORDS[change.trouble].says}")
        else:
            self._stage.end(change.route, change.trouble)
            _say(f"{change.route} is well again")


class _Worker:
    """The worker's process; another one takes its place where it dies."""

    def __init__(self) -> None:
        self.process = self._started()

    def keep_alive(self) -> None:
        """Start another one where it is gone."""
        code = self.process.poll()
        if code is not None:
            _say(f"the worker ended with {code}; another one takes over")
            self.process = self._started()

    def stop(self) -> None:
        """As a service manager does: asked, asked again, killed."""
        for stop in (self.process.terminate, self.process.terminate, self.process.kill):
            stop()
            try:
                self.process.wait(_WORKER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        # In a session of its own, so that Ctrl-C reaches this process alone, which ends the other in order.
        return subprocess.Popen(
            [sys.executable, "-m", "demo.live.worker"], stdin=subprocess.PIPE, start_new_session=True
        )


@contextmanager
def _worker() -> Iterator[_Worker]:
    worker = _Worker()
    try:
        yield worker
    finally:
        worker.stop()


def _make_login() -> Login:
    login = Login(username=_USER, password=secrets.token_urlsafe(9))
    get_user_model()._default_manager.create_superuser(login.username, "", login.password)
    return login


def _introduce(address: str, login: Login) -> None:
    pages = [(address, "send a mail, break a provider, mend it")]
    with suppress(NoReverseMatch):  # its pages may not be mounted
        pages.append((address.rstrip("/") + reverse("reliable_email:overview"), "the dashboard"))
    pages.append((address.rstrip("/") + reverse("admin:index"), "the admin"))
    _say("Two simulated providers, gmail and then sendgrid, a worker, and a shop that sends a mail about every second.")
    _say()
    for page, words in pages:
        _say(f"  {page:<32} {words}")
    _say()
    _say(f"  login: {login.username}")
    _say(f"  password: {login.password}   (made for this run)")
    _say()
    _say("Ctrl-C ends it.")
    _say()


def _say(text: str = "") -> None:
    print(text, flush=True)
