"""The two simulated providers with their troubles, and the mailers over them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from demo.live.troubles import NOBODY, POSSIBLE, Trouble, Troubles
from reliable_email.testing.simulated import SimulatedServer, simulated

# More than the accounts have in truth, so that a demo of a day ends by Ctrl-C and not by its quota.
_QUOTA = "100000/day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is running.

    Attributes:
        servers: by route, in order of preference.
        troubles: by route.
    """

    servers: Mapping[str, SimulatedServer]
    troubles: Mapping[str, Troubles]

    def mailers(self) -> dict[str, dict[str, Any]]:
        """MAILERS for them: an outbox over a failover over both."""
        entries: dict[str, dict[str, Any]] = {
            "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
            "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": list(self.servers)}},
        }
        for name, server in self.servers.items():
            options = server.options(ssl_cafile=str(server.ca_file), quota=_QUOTA)
            entries[name] = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}
        return entries

    def begin(self, route: str, trouble: Trouble) -> None:
        """Let a provider have a trouble."""
        self.troubles[route].begin(trouble)

    def end(self, route: str, trouble: Trouble) -> None:
        """Mend it, and do what an operator does where the package waits for one, or for tomorrow."""
        self.troubles[route].end(trouble)
        if trouble in (Trouble.QUOTA, Trouble.SENDER):
            from reliable_email.backends.failover import make_route
            from reliable_email.store.memory.route_state import database_store

            database_store().resume(make_route(route))


@contextmanager
def running() -> Iterator[Stage]:
    """Start both, on loopback alone; they end with the block."""
    with ExitStack() as stack:
        servers: dict[str, SimulatedServer] = {}
        troubles: dict[str, Troubles] = {}
        for name in POSSIBLE:
            troubles[name] = Troubles()
            server = simulated(name, troubles[name].script(), unknown_recipients=NOBODY)
            troubles[name].govern(server.rules)
            servers[name] = stack.enter_context(server)
        yield Stage(servers=servers, troubles=troubles)


_current: Stage | None = None


@contextmanager
def shown(stage: Stage) -> Iterator[None]:
    """Let the pages of this process find it."""
    global _current
    _current = stage
    try:
        yield
    finally:
        _current = None


def current() -> Stage:
    """The one that is shown."""
    if _current is None:
        raise RuntimeError("the pages of the live demo need the process that runs it: make demo-live")
    return _current
