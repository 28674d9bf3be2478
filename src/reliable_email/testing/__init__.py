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

from collections.abc import Callable
from typing import TYPE_CHECKING

from reliable_email import late_names

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

# Late, since the pytest plugin imports this package in every run: it must cost nothing there.
__getattr__: Callable[[str], object] = late_names(
    __name__, {**dict.fromkeys(__all__, "outbox"), "delivery_of": "reports"}
)
