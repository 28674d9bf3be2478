"""Real processes share a breaker and a quota by the database, and those that come later find both."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from reliable_email.delivery.breaker import Permission

_LIMIT = 40


class Process:
    """One process of a site; see `sharer`."""

    def __init__(self, database: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.sharer", json.dumps(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, command: str) -> None:
        """Give it a command, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it found."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def do(self, command: str) -> Any:
        """Give it a command, and wait for what it finds."""
        self.tell(command)
        return self.answer()

    def kill(self) -> None:
        """It dies with all that it knew."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start(using: str) -> Iterator[Callable[[], Process]]:
    """Starts a process over the test's database."""
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: connections[using].settings_dict[name] for name in names}
    processes: list[Process] = []

    def start_one() -> Process:
        processes.append(Process(database))
        return processes[-1]

    yield start_one
    for process in processes:
        process.kill()


def _both(first: Process, second: Process, command: str) -> list[Any]:
    """What both find when they do the same at the same time."""
    for process in (first, second):
        process.do("ask 1")  # it has started, and has a connection
    for process in (first, second):
        process.tell(command)
    return [*first.answer(), *second.answer()]


def test_two_processes_never_use_more_than_the_quota(start: Callable[[], Process]) -> None:
    """Each wants thirty of forty, at the same time: forty are given, and none after a restart."""
    first, second = start(), start()
    assert sum(_both(first, second, "reserve 30 1")) == _LIMIT
    first.kill()
    second.kill()
    assert start().do("reserve 3 1") == [False] * 3


def test_one_of_two_processes_gets_the_only_probe(start: Callable[[], Process]) -> None:
    """The others wait for what it finds, a process that starts meanwhile too; then the route is open to all."""
    first, second = start(), start()
    first.do("fail 3600")
    answers = _both(first, second, "ask 3")
    assert answers == [Permission.NO] * 6
    third = start()
    third.do("fail -5")
    first.kill()
    second.kill()
    first, second = start(), start()
    for process in (first, second):
        process.tell("ask 4")
    answers = [*first.answer(), *second.answer()]
    assert (answers.count(Permission.PROBE), answers.count(Permission.NO)) == (1, 7)
    assert start().do("ask 2") == [Permission.NO] * 2
    first.do("succeed")
    assert start().do("ask 2") == [Permission.YES] * 2


def test_a_route_stays_closed_when_the_process_that_closed_it_is_gone(start: Callable[[], Process]) -> None:
    """What one process has learned outlives it."""
    first = start()
    first.do("fail 3600")
    first.kill()
    assert start().do("ask 1") == [Permission.NO]


def test_inside_a_transaction_the_quota_is_passed_by_no_more_than_is_in_flight(start: Callable[[], Process]) -> None:
    """A caller's transaction sees what its process knew; what it has sent is counted as soon as it is over."""
    inside, outside = start(), start()
    inside.do("look")
    used = sum(outside.do("reserve 36 1"))
    inside.do("begin")
    in_flight = 9
    taken = in_flight * sum(inside.do(f"reserve 1 {in_flight}"))
    assert (used, taken) == (36, in_flight), "the transaction cannot know of the other process"
    inside.do("commit")
    more = [*outside.do("reserve 1 1"), *inside.do("reserve 1 1"), *start().do("reserve 1 1")]
    assert more == [False] * 3, "what was sent in the transaction is on the ledger"
    assert used + taken - _LIMIT <= in_flight
