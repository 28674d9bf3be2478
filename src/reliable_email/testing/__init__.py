"""What tests of a site's e-mail need: servers that misbehave on purpose, certificates, simulated providers.

* `server`: `ScriptedServer`, correct unless told otherwise;
* `simulated`: servers with the limits and the wording of the known providers;
* `proxy`: cuts a connection at an exact byte;
* `certificates`: good ones and defective ones (needs `cryptography`);
* `reset`: forgets all process-wide state of this package;
* `reports`: `delivery_of(message)`;
* `pytest_plugin`: fixtures, found by pytest itself.

Nothing here is imported by the rest of the package.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliable_email.testing.reports import delivery_of

__all__ = ["delivery_of"]


def __getattr__(name: str) -> object:
    # The pytest plugin imports this package in every run: it must cost nothing there.
    if name == "delivery_of":
        from reliable_email.testing.reports import delivery_of

        return delivery_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
