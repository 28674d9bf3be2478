"""Every simulated provider as a first route with each of its troubles, in front of a second route that is well."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.core.mail import EmailMessage
from django.core.management import call_command

from reliable_email.delivery import registry
from reliable_email.delivery.report import Attempt, DeliveryReport
from reliable_email.mailers import mailers as django_mailers
from reliable_email.testing.reset import reset
from reliable_email.testing.server import ScriptedServer
from reliable_email.testing.simulated import SimulatedServer, simulated
from reliable_email.testing.wordings import HABITS
from tests.diagnosis.runs import FAILOVER, SMTP, mailers

RECIPIENT = "you@example.net"
SENDER = "shop@example.com"

# What stays with its route, and why: another one would be told the same, or would have to begin the wait anew.
STAYS: Mapping[str, str] = {
    "blocked_content": "rejected: another route would refuse the content too",
    "recipient_overrun": "deferred: the mailbox gets too much mail from all senders",
    "greylisted": "deferred: with another route the wait would begin again",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One way in which a provider's route fails."""

    provider: str
    name: str

    def start(self) -> SimulatedServer:
        """The provider in this trouble."""
        match self.name:
            case "quota":
                return simulated(self.provider, quota_left=0)
            case "unverified":
                return simulated(self.provider, verified_senders=["other@example.org"])
            case "wrong_password":
                return simulated(self.provider)
            case fault:
                return simulated(self.provider, faults=fault)

    def options(self, server: SimulatedServer) -> dict[str, Any]:
        """The first route's OPTIONS."""
        return server.options(**({"password": "not-the-password"} if self.name == "wrong_password" else {}))


@dataclass(frozen=True, slots=True)
class Story:
    """What came of one message.

    Attributes:
        report: what the caller finds at `message.delivery`.
        first, second: how many messages each server has.
    """

    report: DeliveryReport
    first: int
    second: int

    @property
    def attempt(self) -> Attempt:
        """The first route's last attempt."""
        return [one for one in self.report.attempts if one.route == "first"][-1]


def _troubles() -> Iterator[Trouble]:
    for provider, habits in HABITS.items():
        yield Trouble(provider, "wrong_password")
        yield Trouble(provider, "quota")
        if habits.unverified is not None:
            yield Trouble(provider, "unverified")
        for fault in habits.faults:
            yield Trouble(provider, fault)


TROUBLES = tuple(_troubles())


@contextlib.contextmanager
def site(trouble: Trouble) -> Iterator[tuple[SimulatedServer, ScriptedServer]]:
    """A site whose default mailer fails over from a route with the trouble to one that is well."""
    reset()
    lookup, factory = registry.suppression_lookup, registry.store_factory
    registry.register_suppressions(None)  # this site has no tables
    registry.register_store(None)
    try:
        with trouble.start() as first, ScriptedServer() as second:
            options = {"timeout": 5, "max_attempts": 1, "local_hostname": "client.example.com"}
            entries = {
                "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["first", "second"]}},
                "first": {"BACKEND": SMTP, "OPTIONS": {**options, **trouble.options(first)}},
                "second": {"BACKEND": SMTP, "OPTIONS": {**options, **second.options()}},
            }
            with mailers(entries):
                yield first, second
    finally:
        registry.register_suppressions(lookup)
        registry.register_store(factory)
        reset()


@cache
def send_through(trouble: Trouble) -> Story:
    """Send one message by a failover whose first route has the trouble; the tests and the page tell of one run."""
    with site(trouble) as (first, second):
        message = EmailMessage("Greetings", "Hello.", SENDER, [RECIPIENT])
        backend = django_mailers["default"]
        backend.fail_silently = True
        backend.send_messages([message])
        return Story(message.delivery, len(first.messages), len(second.messages))  # type: ignore[attr-defined]


def explained(story: Story, provider: str, *options: str) -> str:
    """What explain_reply prints of the first route's reply."""
    failure = story.attempt.failure
    assert failure is not None
    assert failure.reply is not None
    out = io.StringIO()
    arguments = [str(failure.reply), "--stage", str(failure.stage), *options]
    if provider != "generic":
        arguments += ["--provider", provider]
    call_command("explain_reply", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def diagnosed(trouble: Trouble) -> tuple[int, str]:
    """The exit code and the output of test_email, which is asked about the first route alone."""
    with site(trouble):
        out, code = io.StringIO(), 0
        try:
            call_command(
                "test_email", "--to", RECIPIENT, "--from", SENDER, "--route", "first", stdout=out, no_color=True
            )
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, out.getvalue()
