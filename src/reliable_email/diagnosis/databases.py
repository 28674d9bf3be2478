"""Checks of the outbox's entries in DATABASES, without asking the databases."""

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Info
from django.db import connections

from reliable_email import conf
from reliable_email.diagnosis.durability import outbox_databases

_THREADS = 10  # of a worker, and its connections for commits: the most there are


def database_messages() -> Iterator[CheckMessage]:
    """Yield a message for each outbox's database without autocommit, and for each one with a pool."""
    for alias in sorted(outbox_databases()):
        settings = connections.settings[alias]
        if not settings["AUTOCOMMIT"]:
            yield Error(
                f"DATABASES[{alias!r}] has AUTOCOMMIT = False, and holds an outbox: what pages, commands and direct "
                f"sends write there would never be committed.",
                hint="Leave AUTOCOMMIT on. To group your own statements use transaction.atomic() or ATOMIC_REQUESTS.",
                id="reliable_email.E024",
            )
        if settings["OPTIONS"].get("pool"):
            most = _THREADS + conf.get().connections
            yield Info(
                f"DATABASES[{alias!r}] has a pool. A worker's connections come from outside of it: about six, and "
                f"{most} at most.",
                hint=f"Let PostgreSQL's max_connections have room for the pools of all processes and for {most} more "
                f"for each email_worker. The pool itself need not be larger because of the outbox.",
                id="reliable_email.I003",
            )
