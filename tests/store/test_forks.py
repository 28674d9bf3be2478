"""A child has its parent's memory and none of its threads: every lock is new, and nothing is written twice."""

import importlib
import os
import pkgutil
import re
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from django.db import connections, transaction

import reliable_email
from reliable_email import process_state
from reliable_email.backends import error_mail
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import memory_store
from reliable_email.delivery.submission import Priority
from reliable_email.integrations import announcing, delivering
from reliable_email.outbox import wake
from reliable_email.providers import Quota
from reliable_email.smtp.driver import learned_limits
from reliable_email.smtp.driver.pool import pool
from reliable_email.smtp.oauth import access_tokens
from reliable_email.smtp.tls import contexts, strictness
from reliable_email.store.memory import route_state
from reliable_email.store.memory.learned_limits import shared_memory
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions import traffic
from tests.outbox.network import Network

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
ROUTE = Route(alias="route", transport=Network(), fingerprint="f")
SECONDS = 20
LOCK_TYPES = (type(threading.Lock()), type(threading.RLock()), threading.Condition)
NOT_IMPORTED = ("reliable_email.testing", "reliable_email.migrations", "reliable_email.integrations.health_check")

# What holds a lock, and what a child does that needs it.
LOCKS: dict[str, tuple[Callable[[], Any], Callable[[], object]]] = {
    "store.questions.traffic": (lambda: traffic._lock, traffic.reset),
    "store.memory.route_state": (
        lambda: route_state.database_store()._lock,
        lambda: route_state.database_store()._lock.acquire(timeout=SECONDS / 2) or os._exit(3),
    ),
    "outbox.wake": (lambda: wake._lock, wake.nudge),
    "backends.error_mail": (lambda: error_mail._lock, error_mail.reset),
    "delivery.route_memory": (lambda: memory_store._lock, lambda: memory_store.pause(ROUTE, by="somebody")),
    "smtp.tls.contexts": (lambda: contexts._lock, contexts.reset),
    "smtp.driver.learned_limits": (lambda: learned_limits._lock, learned_limits.reset),
    "store.memory.learned_limits": (lambda: shared_memory._lock, shared_memory.clear),
    "smtp.tls.strictness": (lambda: strictness._lock, strictness.reset),
    "smtp.oauth.access_tokens": (lambda: access_tokens._lock, access_tokens.reset),
    "smtp.driver.pool": (lambda: pool._condition, pool.close_all),
    "integrations.announcing": (lambda: announcing._process._changed, lambda: announcing._process.flush(0.0)),
    "integrations.delivering": (lambda: delivering._lock, lambda: delivering._lock.acquire(timeout=5) or os._exit(3)),
}


def child(work: Callable[[], object]) -> int:
    """Exit code of a child that does this; it is killed where it hangs."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        work()
        code = 0
    finally:
        os._exit(code)


def import_all() -> None:
    """Whatever has state has registered it."""
    for found in pkgutil.walk_packages(reliable_email.__path__, "reliable_email."):
        if not found.name.startswith(NOT_IMPORTED):
            with suppress(ImportError):  # a package that this Django or this machine does not have
                importlib.import_module(found.name)


def locks_of(name: str) -> dict[str, Any]:
    """Every lock that a module holds on to: by itself, in an object of this package, or in a list or dict of those."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def look(path: str, value: Any, depth: int) -> None:
        if id(value) in seen or depth > 3:
            return
        seen.add(id(value))
        if isinstance(value, LOCK_TYPES):
            found[path] = value
        elif isinstance(value, dict):
            for key, one in list(value.items()):
                look(f"{path}[{key!r}]", one, depth + 1)
        elif isinstance(value, list | tuple | set | deque | WeakSet):
            for number, one in enumerate(list(value)):
                look(f"{path}[{number}]", one, depth + 1)
        elif type(value).__module__.startswith("reliable_email."):
            slots = [slot for one in type(value).__mro__ for slot in getattr(one, "__slots__", ())]
            for attribute in {*getattr(value, "__dict__", {}), *slots}:
                look(f"{path}.{attribute}", getattr(value, attribute, None), depth + 1)

    for attribute, value in list(vars(importlib.import_module(name)).items()):
        if not attribute.startswith("__"):
            look(attribute, value, 0)
    return found


import_all()
REGISTERED = sorted({state.name.partition(":")[0] for state in process_state.remembered()})


@pytest.mark.parametrize("name", REGISTERED)
def test_every_lock_of_what_is_registered_is_free_in_a_child(name: str) -> None:
    """Whatever another thread held when the process forked; modules that keep no lock have nothing to free."""
    route_state.database_store()  # there is one as soon as a message was sent
    locks = locks_of(name)
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks.values():
                stack.enter_context(lock)
            is_held.set()
            is_over.wait()

    def work() -> None:
        for lock in locks_of(name).values():
            if not lock.acquire(timeout=SECONDS / 4):
                os._exit(3)
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(10)
        assert child(work) == 0
    finally:
        is_over.set()
        thread.join()


def test_the_search_finds_the_locks_that_are_known() -> None:
    """Else the test above would hold nothing, and pass."""
    route_state.database_store()
    for name, (lock_of, _) in LOCKS.items():
        lock = lock_of()
        assert any(one is lock for one in locks_of(f"reliable_email.{name}").values()), name


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_that_another_thread_held_is_free_in_a_child(name: str) -> None:
    """Else the first send of a forked worker would hang for ever."""
    lock_of, work = LOCKS[name]
    lock = lock_of()
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(10)
        assert child(work) == 0
    finally:
        is_over.set()
        thread.join()


def test_every_module_with_a_lock_says_what_a_fork_does_to_it() -> None:
    """Whoever adds one is told here."""
    folder = Path(reliable_email.__file__).parent
    with_lock = set()
    for found in pkgutil.walk_packages([str(folder)], "reliable_email."):
        if ".testing" in found.name or ".migrations" in found.name:
            continue
        path = folder.parent / (found.name.replace(".", "/") + ".py")
        if path.exists() and re.search(r"^_\w+(: [^=]+)? = threading\.\w+\(", path.read_text(), re.MULTILINE):
            with_lock.add(found.name)
            importlib.import_module(found.name)
    known = {state.name.partition(":")[0] for state in process_state.remembered()}
    assert with_lock - known == set()


@pytest.mark.django_db(transaction=True)
def test_what_was_reserved_is_written_once_however_many_forks_there_are() -> None:
    """Ten recipients inside a transaction, three children: the ledger says ten."""
    store = DatabaseRouteStateStore("default")
    route = Route(
        alias="limited", transport=Network(), fingerprint="f", quotas=(Quota(window_seconds=86400, limit=100),)
    )
    with transaction.atomic():
        assert store.reserve(route, 10, priority=Priority.NORMAL)

        def flush() -> None:
            connections["default"].in_atomic_block = False
            assert not store._pending

        assert [child(flush) for _ in range(3)] == [0, 0, 0]
        assert store._pending
    store.flush()
    assert not store._pending
