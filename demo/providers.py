"""Two simulated providers: one that misbehaves as planned, and one that works."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import django
from django.test.utils import override_settings

from demo.faults import Misfortune, Plan
from reliable_email.delivery import registry
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.smtp.driver import pool
from reliable_email.testing import certificates
from reliable_email.testing.server import ScriptedServer
from reliable_email.testing.simulated import simulated

DEFECT = "ca_basic_constraints_not_critical"


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

    def message_ids(self) -> dict[str, list[str]]:
        """The Message-IDs of what each server has taken."""
        return {
            route: [message.header("Message-ID") or "" for message in server.messages]
            for route, server in self.servers.items()
        }


@contextmanager
def running(plan: Plan) -> Iterator[Providers]:
    """Start both; they listen on loopback alone, and end with the block."""
    gmail = simulated(
        "gmail",
        plan.script(),
        quota_left=plan.quota_left,
        unknown_recipients=plan.recipients_with(Misfortune.NOBODY),
        certificate=certificates.defective(DEFECT),
    )
    sendgrid = simulated("sendgrid", unknown_recipients=plan.recipients_with(Misfortune.NOBODY))
    with ExitStack() as stack:
        yield Providers({"gmail": stack.enter_context(gmail), "sendgrid": stack.enter_context(sendgrid)})


@contextmanager
def in_use(providers: Providers) -> Iterator[None]:
    """Let Django's mail functions of this process send by them."""
    settings: dict[str, Any] = {"MAILERS": providers.mailers()}
    if django.VERSION < (6, 1):
        settings["EMAIL_BACKEND"] = "reliable_email.backends.DefaultMailer"
    with override_settings(**settings), _state_of_its_own():
        yield


@contextmanager
def _state_of_its_own() -> Iterator[None]:
    """What is learned here of "gmail" is no news of the project's own route of that name, nor of the next run."""
    memory, usual = MemoryRouteStateStore(), registry.store_factory
    registry.register_store(lambda: memory)
    try:
        yield
    finally:
        pool.reset()
        registry.register_store(usual)
