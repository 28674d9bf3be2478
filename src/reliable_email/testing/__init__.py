"""Help for tests of a site's email: servers that misbehave on purpose, certificates, simulated providers.

* `server`: `ScriptedServer`, correct unless told otherwise;
* `simulated`: servers with the limits and the wording of the known providers;
* `proxy`: cuts a connection at an exact byte;
* `certificates`: good ones and defective ones (needs `cryptography`);
* `reset`: forgets all process-wide state of this package;
* `reports`: `delivery_of(message)`;
* `outbox`: `deliver_outbox()`, `assert_queued`, `assert_delivered`, `assert_outcome`, `outbox_over(server)`;
* `pytest_plugin`: fixtures, found by pytest itself.

Nothing here is imported by the rest of the package.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliable_email.testing.outbox import (
        assert_delivered,
        assert_outcome,
        assert_queued,
        deliver_outbox,
        outbox_over,
    )
    from reliable_email.testing.reports import delivery_of

__all__ = ["assert_delivered", "assert_outcome", "assert_queued", "deliver_outbox", "delivery_of", "outbox_over"]

_OF_THE_OUTBOX = frozenset(__all__) - {"delivery_of"}


def __getattr__(name: str) -> object:
    # The pytest plugin imports this package in every run: it must cost nothing there.
    if name == "delivery_of":
        from reliable_email.testing.reports import delivery_of

        return delivery_of
    if name in _OF_THE_OUTBOX:
        from reliable_email.testing import outbox

        return getattr(outbox, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
