"""`manage.py demo`: fifty messages through two simulated providers, of which the first misbehaves on purpose."""

import contextlib
import json
import logging
from argparse import ArgumentParser
from typing import Any

from django.core.mail import EmailMessage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.test.utils import override_settings

from demo import providers
from demo.screen import Screen, screen_for
from demo.story import Line, Totals, line_of
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.exceptions import DeliveryError

GREYLISTED_AT = 12
NOBODY_AT = 17


class Command(BaseCommand):
    """Ends by itself: exit code 0, or 1 where a report contradicts what the servers have."""

    help = "Send messages through two simulated providers that misbehave, and tell what became of each and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument("--count", type=int, default=50, help="how many messages (default 50)")
        parser.add_argument("--plain", action="store_true", help="plain lines, also in a terminal")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """See `BaseCommand`."""
        if options["count"] < 1:
            raise CommandError("--count: at least one message.", returncode=2)
        call_command("migrate", verbosity=0)
        stream: Any = self.stdout
        stream = getattr(stream, "_out", stream)  # the terminal itself: Django's wrapper adds line ends of its own
        screen = screen_for(stream, plain=options["plain"] or options["json"])
        with providers.running() as running, override_settings(MAILERS=running.mailers()):
            lines, wrong = self._run(screen, running, options)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(lines, wrong)))
        if wrong:
            raise SystemExit(1)

    def _run(
        self, screen: Screen, running: providers.Providers, options: dict[str, Any]
    ) -> tuple[list[Line], list[str]]:
        quiet = options["json"]
        lines: list[Line] = []
        reports: list[DeliveryReport] = []
        if not quiet:
            screen.say(f"{options['count']} messages by a failover over two simulated providers: gmail, then sendgrid.")
            screen.say(
                "gmail will be away, hang up, forget to answer, have a strange certificate and run out of quota."
            )
            screen.say("")
        with screen.live() if not quiet else contextlib.nullcontext(), _Notes(screen, quiet=quiet):
            for number in range(1, options["count"] + 1):
                recipient = _recipient(number)
                report = _send(number, recipient)
                reports.append(report)
                lines.append(line_of(number, recipient, report))
                if not quiet:
                    screen.add(lines[-1])
        wrong = _contradictions(lines, running)
        if not quiet:
            self._tell(screen, lines, reports, wrong)
        return lines, wrong

    def _tell(self, screen: Screen, lines: list[Line], reports: list[DeliveryReport], wrong: list[str]) -> None:
        screen.say("")
        screen.totals(Totals.of(lines, reports))
        screen.say("")
        for text in wrong:
            screen.say(f"✗ {text}")
        if not wrong:
            accepted = sum(line.outcome is Outcome.ACCEPTED for line in lines)
            screen.say(
                f"✓ The servers agree: each of the {accepted} accepted messages is there exactly once, and no other."
            )
        for line in lines:
            if line.outcome is Outcome.UNKNOWN:
                screen.say(
                    f"? Message {line.number} is unknown; this server happens to have it. Nobody can tell from here,"
                )
                screen.say("  so nobody sends a second copy unless you say so (on_unknown, or the outbox's resolve).")


class _Notes(logging.Handler):
    """What the package warns of while it works (the certificate), told once and in its own words."""

    def __init__(self, screen: Screen, *, quiet: bool) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen
        self._is_quiet = quiet
        self._logger = logging.getLogger("reliable_email")

    def __enter__(self) -> None:
        self._propagates, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagates

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_quiet and record.name.startswith("reliable_email.smtp"):
            self._screen.say(f"!    {record.getMessage()}")


def _recipient(number: int) -> str:
    match number:
        case n if n == GREYLISTED_AT:
            return providers.GREYLISTED
        case n if n == NOBODY_AT:
            return providers.NOBODY
        case _:
            return f"customer{number:02}@customer.example"


def _send(number: int, recipient: str) -> DeliveryReport:
    message = EmailMessage(f"Your order no. {number}", "Thank you for your order.\n", None, [recipient])
    with contextlib.suppress(DeliveryError):  # the report tells it all
        message.send()
    report: DeliveryReport = message.delivery  # type: ignore[attr-defined]
    return report


def _contradictions(lines: list[Line], running: providers.Providers) -> list[str]:
    """Where a report is not what the servers have."""
    allowed = {Outcome.ACCEPTED: (1,), Outcome.UNKNOWN: (0, 1)}
    return [
        f"message {line.number} is reported {line.outcome}, and the servers have {copies} copies of it"
        for line in lines
        if (copies := running.copies(line.recipient)) not in allowed.get(line.outcome, (0,))
    ]


def _as_json(lines: list[Line], wrong: list[str]) -> dict[str, Any]:
    outcomes = [str(line.outcome) for line in lines]
    return {
        "schema": 1,
        "messages": len(lines),
        "recipients": {str(one): outcomes.count(one) for one in Outcome if one in outcomes},
        "contradictions": wrong,
        "lines": [
            {"number": line.number, "recipient": line.recipient, "outcome": str(line.outcome), "way": line.way}
            for line in lines
        ],
    }
