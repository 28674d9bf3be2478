"""What one process learns of a server, all others know for as long as it holds."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connections, transaction

from reliable_email.delivery.route_memory import answering_from_memory
from reliable_email.smtp.driver import learned_limits
from reliable_email.smtp.driver.learned_limits import Fact, ProcessMemory
from reliable_email.store.memory.learned_limits import SharedMemory, shared_memory
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.routes import LearnedLimit
from tests.outbox.network import Network
from tests.outbox.test_statements import statements
from tests.store.test_shared_by_processes import Process, start

__all__ = ["start"]

SERVER = ("mx.example", 25)
WEEK = 7 * 86400.0


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Nothing is known before, nor afterwards."""
    shared_memory.clear()
    learned_limits.reset()
    yield
    shared_memory.clear()
    learned_limits.keep_in(ProcessMemory())
    learned_limits.reset()


def test_what_one_process_learned_another_knows_and_one_that_starts_later(start: Callable[[], Process]) -> None:
    """Chaining, and the smaller of two limits; of no other server."""
    first, second = start(), start()
    assert second.do("learned 465") == [False, None]
    first.do("learn 25 7")
    assert first.do("learned 25") == [True, 7]
    second.do("learn 25 9")
    second.do("learned 25")
    first.kill()
    third = start()
    assert third.do("learned 25") == [True, 7]
    assert third.do("learned 587") == [False, None]


def test_chaining_is_believed_for_a_week_by_the_databases_clock(using: str) -> None:
    """Longer than any process lives; then it is tried again."""
    first = SharedMemory()
    first.learn(SERVER, Fact.NO_CHAINING, 1, seconds=learned_limits.KEPT_SECONDS[Fact.NO_CHAINING])
    store = DatabaseRouteStateStore(using)
    first.exchange(using, now=store.now(), may_write=True)
    [row] = LearnedLimit.objects.using(using).all()
    assert (row.host, row.port, row.name, row.value) == (*SERVER, "chaining", 0)
    assert abs((row.expires_at - row.noted_at).total_seconds() - WEEK) < 60
    second = SharedMemory()
    second.exchange(using, now=store.now(), may_write=False)
    assert second.read(SERVER) == {Fact.NO_CHAINING: 1}
    LearnedLimit.objects.using(using).update(expires_at=DatabaseNow(-1.0))
    third = SharedMemory()
    third.exchange(using, now=store.now(), may_write=False)
    assert third.read(SERVER) == {}


def test_a_limit_that_held_is_replaced_by_whatever_is_learned_next(using: str) -> None:
    """While it holds the smaller one counts, also where the larger one is written later."""
    store = DatabaseRouteStateStore(using)
    for value, stored in ((9, 9), (5, 5), (7, 5)):
        one = SharedMemory()
        one.learn(SERVER, Fact.MESSAGES_PER_CONNECTION, value, seconds=600.0)
        one.exchange(using, now=store.now(), may_write=True)
        assert LearnedLimit.objects.using(using).get().value == stored
    LearnedLimit.objects.using(using).update(expires_at=DatabaseNow(-1.0))
    one = SharedMemory()
    one.learn(SERVER, Fact.MESSAGES_PER_CONNECTION, 20, seconds=600.0)
    one.exchange(using, now=store.now(), may_write=True)
    assert LearnedLimit.objects.using(using).get().value == 20


def test_nothing_is_read_or_written_inside_a_callers_transaction(using: str) -> None:
    """A rollback would undo it; it is written by the next call outside of one."""
    store, route = DatabaseRouteStateStore(using), Network().route()
    with transaction.atomic(using):
        learned_limits.learn_chaining_is_mishandled(*SERVER)
        with statements(using) as seen:
            store.read(route)
            store.flush()
        assert seen == []
        transaction.set_rollback(True, using)
    assert not LearnedLimit.objects.using(using).exists()
    store.flush()
    assert LearnedLimit.objects.using(using).count() == 1


def test_the_thread_that_drives_the_lines_only_notes_it(using: str) -> None:
    """Whatever the database is doing, the wire goes on."""
    store, route = DatabaseRouteStateStore(using), Network().route()
    with answering_from_memory(), statements(using) as seen:
        learned_limits.learn_messages_per_connection(*SERVER, 3)
        store.read(route)
        store.flush()
        assert learned_limits.of(*SERVER).messages_per_connection == 3
    assert seen == []
    store.flush()
    assert LearnedLimit.objects.using(using).get().value == 3


def test_what_could_not_be_written_is_written_later(using: str) -> None:
    """The table is away for a while, as while a site is being upgraded."""
    store, name = DatabaseRouteStateStore(using), connections[using].ops.quote_name(LearnedLimit._meta.db_table)
    with connections[using].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO away_for_now")
        try:
            learned_limits.learn_chaining_is_mishandled(*SERVER)
            store.flush()
        finally:
            cursor.execute(f"ALTER TABLE away_for_now RENAME TO {name}")
    store.flush()
    assert LearnedLimit.objects.using(using).count() == 1
