"""The exceptions that mean that the database cannot be asked now; a send goes on without it."""

import sys

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db.utils import Error as DatabaseError

AWAY: tuple[type[Exception], ...] = (
    DatabaseError,
    ImproperlyConfigured,  # a site without DATABASES
    SynchronousOnlyOperation,  # a send from a coroutine
)


def away_errors() -> tuple[type[Exception], ...]:
    """The classes to catch; where tests run, those too by which a test runner forbids the database.

    A mistake of ours (an assertion, a RuntimeError) is none of them: it must be seen.
    """
    found = AWAY
    # Django's: an AssertionError of its own class.
    forbidden = getattr(sys.modules.get("django.test.testcases"), "DatabaseOperationForbidden", None)
    if isinstance(forbidden, type) and issubclass(forbidden, Exception):
        found = (*found, forbidden)
    if "pytest_django" in sys.modules:
        found = (*found, RuntimeError)  # which has no class of its own there
    return found


def is_away_for_all(error: BaseException) -> bool:
    """Return whether other threads need not ask either for a while; a coroutine's send says nothing of them."""
    return not isinstance(error, SynchronousOnlyOperation)
