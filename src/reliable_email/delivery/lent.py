"""What the installed app lends to deliveries: the shared state of routes, and the suppression list.

It imports nothing, so that a web process which sends no mail does not load what sending needs.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliable_email.delivery.state import RouteStateStore

# Which of these addresses are on the suppression list, as they were given. Raises nothing.
SuppressionLookup = Callable[[Sequence[str]], Collection[str]]

suppression_lookup: SuppressionLookup | None = None


def _memory() -> "RouteStateStore":
    """Use the one in memory; the next call goes straight there."""
    from reliable_email.delivery.memory import process_store

    register_store(process_store)
    return process_store()


store_factory: "Callable[[], RouteStateStore]" = _memory


def register_store(factory: "Callable[[], RouteStateStore] | None") -> None:
    """Let another implementation be used from now on; None for the one in memory."""
    global store_factory
    store_factory = factory if factory is not None else _memory


def register_suppressions(lookup: SuppressionLookup | None) -> None:
    """Let direct sends ask this list; None for no list."""
    global suppression_lookup
    suppression_lookup = lookup
