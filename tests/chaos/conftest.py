"""The same databases as the outbox's tests."""

from tests.outbox.conftest import database, using

__all__ = ["database", "using"]
