"""The same databases as the outbox's tests."""

from tests.outbox.conftest import database, first_version, using

__all__ = ["database", "first_version", "using"]
