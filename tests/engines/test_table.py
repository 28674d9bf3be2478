"""Each line of the table by both doors; see `table`."""

import pytest

from reliable_email.delivery import registry
from tests.engines.doors import World, by_queue, directly
from tests.engines.table import Row, rows

ROWS = list(rows())


@pytest.fixture(autouse=True)
def no_suppressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is on a list here, and no other database is asked."""
    monkeypatch.setattr(registry, "suppression_lookup", None)


def _addresses(row: Row) -> list[str]:
    return [f"{one}@example.com" for one in row.to]


def _expected(row: Row, ends: object) -> dict[str, str]:
    return dict(ends) if isinstance(ends, dict) else dict.fromkeys(row.to, str(ends))


def test_the_table_is_long() -> None:
    """Three hundred rows at least, each with a name of its own."""
    assert len(ROWS) >= 300
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_directly(row: Row) -> None:
    """What a direct send makes of it, and who was asked."""
    world = World(row.routes, max_attempts=row.max_attempts, paused=row.paused)
    told = directly(world, _addresses(row))
    assert told.ends == _expected(row, row.ends), (told.order, told.causes)
    if row.order:
        assert told.order == row.order
    if row.cause is not None:
        assert told.causes[row.to[0]] == row.cause


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_by_the_queue(row: Row, using: str) -> None:
    """What the queue makes of it, and who was asked."""
    world = World(row.routes, max_attempts=row.max_attempts, paused=row.paused)
    told = by_queue(world, _addresses(row), using=using, rounds=row.rounds)
    assert told.ends == _expected(row, row.queue or row.ends), (told.order, told.causes)
    order = row.order if row.queue_order is None else row.queue_order
    if order:
        assert told.order == order
    if row.cause is not None:
        assert told.causes[row.to[0]] == row.cause
    if row.attempts is not None:
        assert told.attempts[row.to[0]] == row.attempts
