"""How many statements a message costs, with a quota and without."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from bench.routes.crew import empty, queue
from reliable_email.delivery.submission import Priority
from reliable_email.providers import Quota
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from tests.outbox.network import Network
from tests.outbox.test_statements import work

_MESSAGES = 100


def main() -> None:
    """Enqueue and drain."""
    print("statements a message (PostgreSQL)   enqueue   drain: rows, with what is sent together as one / each")
    presets = {
        "without a quota": (),
        "a preset's (500 a day)": (Quota(window_seconds=86400, limit=500),),
        "10,000 a day, 1,000 an hour": (
            Quota(window_seconds=86400, limit=10_000),
            Quota(window_seconds=3600, limit=1000),
        ),
        "14 a second": (Quota(window_seconds=1, limit=1400),),
    }
    for name, quotas in presets.items():
        empty()
        seen: list[str] = []

        def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            seen.append(sql)  # noqa: B023
            return execute(sql, params, many, context)

        store = DatabaseRouteStateStore("default")
        store.reserve(Network().route(quotas=quotas), 1, priority=Priority.NORMAL)
        with connection.execute_wrapper(note):
            queue(_MESSAGES)
            enqueued = len(seen)
            seen.clear()
            work("default", quotas=quotas, store=store)
        each = sum(sql.count("; ") + 1 for sql in seen)
        print(f"{name:35} {enqueued / _MESSAGES:7.2f} {len(seen) / _MESSAGES:10.2f} / {each / _MESSAGES:.2f}")
