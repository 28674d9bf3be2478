"""What is raised where the database cannot be asked now, whatever the reason; a send goes on without it."""

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db.utils import Error as DatabaseError

AWAY = (
    DatabaseError,
    ImproperlyConfigured,  # a site without DATABASES
    SynchronousOnlyOperation,  # a send from a coroutine
    # Test runners forbid the database: pytest by the one, Django by the other.
    RuntimeError,
    AssertionError,
)


def is_away_for_all(error: BaseException) -> bool:
    """Whether other threads need not ask either for a while; a coroutine's send says nothing of them."""
    return not isinstance(error, SynchronousOnlyOperation)
