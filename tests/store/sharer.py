"""One process of a site, told by lines what to do with route state: `python -m tests.store.sharer SETTINGS`.

SETTINGS is its database's as JSON.

A line is a command and its numbers; each is answered by one line of JSON. See `COMMANDS`.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

database = json.loads(sys.argv[1])
if database["ENGINE"].endswith("mysql"):
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for mysqlclient's version
        pymysql.install_as_MySQLdb()
settings.configure(
    DATABASES={"default": database},
    INSTALLED_APPS=["django.contrib.contenttypes", "reliable_email"],
    SECRET_KEY="of the test",
    USE_TZ=True,
)
django.setup()

from django.db import transaction  # noqa: E402

from reliable_email.classification import Cause, Failure, Scope  # noqa: E402
from reliable_email.delivery.policy import Effect  # noqa: E402
from reliable_email.delivery.route_memory import RouteEvent  # noqa: E402
from reliable_email.delivery.submission import Priority  # noqa: E402
from reliable_email.providers import Quota  # noqa: E402
from reliable_email.smtp.driver import learned_limits  # noqa: E402
from reliable_email.store.memory.route_state import DatabaseRouteStateStore  # noqa: E402
from tests.outbox.network import Network  # noqa: E402

LIMIT = 40
store = DatabaseRouteStateStore()
route = Network().route(fingerprint="one", quotas=(Quota(window_seconds=86400, limit=LIMIT),))
block: Any = None


def reserve(times: int, count: int) -> list[bool]:
    """Reserve `count` so many times."""
    return [store.reserve(route, count, priority=Priority.HIGH) for _ in range(times)]


def ask(times: int) -> list[str]:
    """Ask whether a message may go, so many times."""
    return [store.ask(route, sender_domain="example.org").value for _ in range(times)]


def fail(seconds: int) -> None:
    """The route is blocked for so long; a negative number means that the time is over."""
    failure = Failure(
        cause=Cause.REPUTATION_BLOCKED,
        scope=Scope.ROUTE,
        permanent=True,
        certain=True,
        retry_after=float(seconds),
        detail="listed",
    )
    store.tell(route, RouteEvent(failure=failure, effect=Effect.BLOCKED, sender_domain="example.org"))


def succeed() -> None:
    """It took a message."""
    store.tell(route, RouteEvent(failure=None, sender_domain="example.org"))


def learn(port: int, count: int) -> None:
    """A server on this port ends a connection after so many messages, and mishandles chaining."""
    learned_limits.learn_messages_per_connection("mx.example", port, count)
    learned_limits.learn_chaining_is_mishandled("mx.example", port)


def learned(port: int) -> list[Any]:
    """What is known of a server, once the memory of routes was asked."""
    store.flush()
    store.read(route)
    known = learned_limits.of("mx.example", port)
    return [known.mishandles_chaining, known.messages_per_connection]


def look() -> None:
    """Know the state as it is now."""
    store.read(route)


def begin() -> None:
    """A caller's transaction begins."""
    global block
    block = transaction.atomic()
    block.__enter__()


def commit() -> None:
    """It ends, and what was remembered in it is written."""
    block.__exit__(None, None, None)
    store.flush()


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__: command for command in (reserve, ask, fail, succeed, learn, learned, look, begin, commit)
}

for line in sys.stdin:
    command, *numbers = line.split()
    sys.stdout.write(json.dumps(COMMANDS[command](*map(int, numbers))) + "\n")
    sys.stdout.flush()
