"""Two simulated providers: one that misbehaves in every ordinary way, and one that works."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from reliable_email.delivery.memory import MemoryRouteStateStore
from reliable_email.delivery.state import register_store
from reliable_email.smtp import pool
from reliable_email.store import route_state
from reliable_email.testing import certificates
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, accept_then, close
from reliable_email.testing.simulated import simulated

NOBODY = "nobody@customer.example"
GREYLISTED = "greylisted@customer.example"
GMAIL_QUOTA = 24

# What happens on Gmail's connections, one after the other.
_FAULTS = (
    Script(greeting="421 4.3.0 Temporary System Problem. Try again later. - gsmtp"),
    Script(),  # its certificate is refused here by a rule of form, and accepted on the next one without that rule
    Script(data=close()),
    Script(final_reply=[None, None, None, accept_then(close())]),
    Script(rcpt={GREYLISTED: "450 4.7.1 Greylisted, please try again in 300 seconds"}),
)


@dataclass(frozen=True, slots=True)
class Providers:
    """The servers by route, in order of preference."""

    servers: Mapping[str, ScriptedServer] = field(default_factory=dict)

    def mailers(self) -> dict[str, dict[str, Any]]:
        """MAILERS for them: a failover over both."""
        entries: dict[str, dict[str, Any]] = {
            "default": {
                "BACKEND": "reliable_email.backends.FailoverBackend",
                "OPTIONS": {"using": list(self.servers)},
            }
        }
        for name, server in self.servers.items():
            entries[name] = {
                "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
                "OPTIONS": {"provider": name, **server.options()},
            }
        return entries

    def copies(self, recipient: str) -> int:
        """How many messages for this recipient the servers have."""
        return sum(recipient in message.recipients for one in self.servers.values() for message in one.messages)


@contextmanager
def _state_of_its_own() -> Iterator[None]:
    """What is learned here of "gmail" is no news of the project's own route of that name, nor of the next run."""
    memory = MemoryRouteStateStore()
    register_store(lambda: memory)
    try:
        yield
    finally:
        pool.reset()
        route_state.connect()


@contextmanager
def running() -> Iterator[Providers]:
    """Start both; they listen on loopback alone, and end with the block."""
    with ExitStack() as stack, _state_of_its_own():
        gmail = simulated(
            "gmail",
            *_FAULTS,
            quota_left=GMAIL_QUOTA,
            unknown_recipients=[NOBODY],
            certificate=certificates.defective("ca_basic_constraints_not_critical"),
        )
        sendgrid = simulated("sendgrid")
        servers = {"gmail": stack.enter_context(gmail), "sendgrid": stack.enter_context(sendgrid)}
        yield Providers(servers)
