"""Registrations of the installed app: the shared memory of routes, and the lookup of the suppression list.

It imports nothing, so that a web process which sends no mail does not load what sending needs.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliable_email.delivery.route_memory import RouteStateStore

# Which of these addresses are on the suppression list, as they were given. Raises nothing.
SuppressionLookup = Callable[[Sequence[str]], Collection[str]]

store_factory: "Callable[[], RouteStateStore] | None" = None
suppression_lookup: SuppressionLookup | None = None


def register_store(factory: "Callable[[], RouteStateStore] | None") -> None:
    """Let another store be used from now on; None for the one in the process."""
    global store_factory
    store_factory = factory


def register_suppressions(lookup: SuppressionLookup | None) -> None:
    """Let direct sends ask this list; None for no list."""
    global suppression_lookup
    suppression_lookup = lookup
