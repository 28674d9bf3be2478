"""What a claim reads, where most of what is queued must not go."""

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import connection

from bench.routes.crew import empty, queue
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.lanes import Lane, LaneBook, Turn
from reliable_email.store.questions.lanes import lane_of
from reliable_email.store.tables.states import PriorityRank

_ROWS = 500_000
_LANES = 10_000


def main() -> None:
    """Both."""
    closed()
    fair()


def closed() -> None:
    """Half a million rows of ten closed lanes stand before ten that may go."""
    empty()
    queue(1, mailer="closed")
    queue(100, mailer="open")
    _copies(_ROWS, lanes=[lane_of(f"closed{n}") for n in range(10)], mailer="closed", due="now() - interval '1 day'")
    every: list[list[str]] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("WITH due"):
            every.append([f"{row[0]}" for row in _rows(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {sql}", params)])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        wanted = Wanted(environment="", turns=[Turn(Lane(PriorityRank.NORMAL, lane_of("open"), "open"))])
        claim("default", wanted, worker="w", limit=10, lease_seconds=60)
    plans, rest = every
    print(f"a claim of ten in an open lane behind {_ROWS:,} rows of closed ones:")
    print("\n".join(f"    {line}" for line in plans))
    print(f"blocks of the whole, the ten rows' changes in every index included: {_blocks(_first_buffers(plans))}")
    print(f"blocks to find and lock the ten: {_blocks(_buffers_of(plans, 'Limit'))}")
    print(f"blocks to look for the rest of their messages: {_blocks(_first_buffers(rest))}")
    book = LaneBook("default", "", poll_seconds=1.0)
    began = time.monotonic()
    book.look(0)
    print(f"all lanes found in {(time.monotonic() - began) * 1000:.0f} ms: {len(book.due())}")


def _blocks(buffers: str) -> int:
    return sum(map(int, re.findall(r"(?:hit|read)=(\d+)", buffers)))


def fair() -> None:
    """Ten thousand lanes with three messages each; each claim takes one from each of eight lanes."""
    empty()
    queue(1, mailer="some")
    keys = [lane_of(f"m{n}") for n in range(_LANES)]
    _copies(3 * _LANES, lanes=keys, mailer="", due="now() - interval '1 hour'")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM reliable_email_outboxrecipient WHERE mailer = 'some'")
    book = LaneBook("default", "", poll_seconds=600.0)
    began = time.monotonic()
    book.look(0)
    looked = time.monotonic() - began
    served: Counter[int] = Counter()
    claims = 2 * _LANES // 8
    began = time.monotonic()
    for _ in range(claims):
        turns = [Turn(lane, 1) for lane in book.due()[:8]]
        wanted = Wanted(environment="", turns=turns, noting=book)
        for row in claim("default", wanted, worker="w", limit=8, lease_seconds=600).rows:
            served[lane_of(row.mailer)] += 1
    seconds = time.monotonic() - began
    print(
        f"{_LANES:,} lanes: found in {looked:.2f} s; after {claims} claims each was served "
        f"{min(served.values())} to {max(served.values())} times "
        f"({len(served):,} lanes; {seconds / claims * 1000:.0f} ms a claim)"
    )


def _copies(count: int, *, lanes: list[int], mailer: str, due: str) -> None:
    """Copy the first recipient so often, the lanes in turn; where no mailer is named, each lane has its own."""
    columns = [row[0] for row in _rows(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_name = 'reliable_email_outboxrecipient' AND is_generated = 'NEVER' AND column_name <> 'id'", []
    )]  # fmt: skip
    own = {
        "lane": f"(%s::bigint[])[1 + n %% {len(lanes)}]",
        "due_at": due,
        "position": "n",
        "mailer": f"'{mailer}'" if mailer else f"'m' || (n %% {len(lanes)})",
    }
    words = ", ".join(own.get(one, f'first."{one}"') for one in columns)
    names = ", ".join(f'"{one}"' for one in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO reliable_email_outboxrecipient ({names}) SELECT {words} "
            f"FROM generate_series(1, {count}) AS n, "
            "(SELECT * FROM reliable_email_outboxrecipient ORDER BY id LIMIT 1) AS first",
            [lanes],
        )
        cursor.execute("ANALYZE reliable_email_outboxrecipient")


def _first_buffers(plan: list[str]) -> str:
    return next(line for line in plan if "Buffers" in line)


def _buffers_of(plan: list[str], node: str) -> str:
    """The line of buffers behind a node."""
    at = next(number for number, line in enumerate(plan) if f"{node} " in line)
    return next(line for line in plan[at:] if "Buffers" in line)


def _rows(sql: str, params: Any) -> list[Any]:
    with connection.connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
