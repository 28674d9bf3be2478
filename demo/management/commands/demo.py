"""`manage.py demo`: fifty messages through two simulated providers, of which the first misbehaves on purpose."""

import io
import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from demo import truth
from demo.faults import Plan
from demo.screen import Screen, screen_for
from demo.shop import confirm_order
from demo.story import Line, Totals, line_of
from reliable_email.delivery.report import Outcome


class Command(BaseCommand):
    """Ends by itself: exit code 0, or 1 where a report contradicts what the servers have."""

    help = "Send messages through two simulated providers that misbehave, and tell what became of each and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument("--count", type=int, default=50, help="how many messages (default 50)")
        parser.add_argument("--seed", type=int, default=1, help="which messages meet a misfortune (default 1)")
        parser.add_argument("--plain", action="store_true", help="plain lines, also in a terminal")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")

    def plan(self, count: int, seed: int) -> Plan:
        """What is going to happen."""
        return Plan.drawn(count, seed)

    def handle(self, *args: Any, **options: Any) -> None:
        """See `BaseCommand`."""
        if options["count"] < 1:
            raise CommandError("--count: at least one message.", returncode=2)
        try:
            from demo import providers
        except ImportError as error:
            if "cryptography" not in str(error):
                raise
            raise CommandError(
                "The simulated providers make their certificates with the package 'cryptography', which is not "
                "installed here. Install it: pip install cryptography"
            ) from error
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ still gets the story
        call_command("migrate", verbosity=0)
        plan = self.plan(options["count"], options["seed"])
        screen = screen_for(
            (lambda text: None) if options["json"] else self.stdout.write,
            is_terminal=self.stdout.isatty() and not (options["plain"] or options["json"]),
        )
        _introduce(screen, plan)
        with providers.running(plan) as servers:
            with providers.in_use(servers):
                lines = _send_all(screen, plan, list(servers.servers))
            held = servers.message_ids()
        wrong = truth.contradictions(lines, held)
        totals = Totals.of(lines, {route: len(ids) for route, ids in held.items()})
        _conclude(screen, lines, totals, held, wrong)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(plan, lines, totals, wrong), ensure_ascii=False))
        if wrong:
            raise SystemExit(1)


def _introduce(screen: Screen, plan: Plan) -> None:
    screen.say()
    screen.say(f"{plan.count} messages by send_mail(), over two providers: gmail, and sendgrid where gmail cannot.")
    screen.say("Both are simulated on this machine, with TLS; gmail misbehaves on purpose.")
    screen.say(
        "So does its certificate, which breaks a rule as many private ones do: the warning (!) below is about it."
    )
    screen.say()


def _send_all(screen: Screen, plan: Plan, routes: Sequence[str]) -> list[Line]:
    lines: list[Line] = []
    with screen.live(plan.count, routes), _warnings_on(screen):
        for number in range(1, plan.count + 1):
            recipient = plan.recipient(number)
            line = line_of(number, recipient, confirm_order(number, recipient))
            lines.append(line)
            screen.add(line)
    return lines


@contextmanager
def _warnings_on(screen: Screen) -> Iterator[None]:
    """Show what the package warns of on the way, such as the certificate; what a line tells anyway is left out."""

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("reliable_email.smtp"):
                screen.warn(record.getMessage())

    logger = logging.getLogger("reliable_email")
    handler, propagates = Shown(logging.WARNING), logger.propagate
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _conclude(
    screen: Screen, lines: Sequence[Line], totals: Totals, held: Mapping[str, Sequence[str]], wrong: Sequence[str]
) -> None:
    screen.say()
    screen.totals(totals)
    screen.say()
    for text in wrong:
        screen.verdict(text, is_good=False)
    if not wrong:
        screen.verdict(
            f"The servers agree: each of the {totals.count(Outcome.ACCEPTED)} accepted messages is there exactly "
            "once, where its report says, and none that was rejected or deferred is.",
            is_good=True,
        )
    for line in lines:
        if line.outcome is Outcome.UNKNOWN:
            book = "it is there" if truth.copies(line, held) else "it is not there"
            screen.note(f"No. {line.number} is unknown; a look into {line.route}'s own books says that {book}.")
    if totals.count(Outcome.UNKNOWN):
        screen.note('A sender cannot look there, so it is held. on_unknown="resend" would accept a second copy.')


def _as_json(plan: Plan, lines: Sequence[Line], totals: Totals, wrong: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        "seed": plan.seed,
        "messages": len(lines),
        "recipients": {str(one): totals.count(one) for one in Outcome if totals.count(one)},
        "routes": {
            route: {str(one): count for one in Outcome if (count := totals.by_route[route, one])} | {"on_server": held}
            for route, held in totals.held.items()
        },
        "misfortunes": {str(number): str(one) for number, one in plan.at.items()},
        "contradictions": list(wrong),
        "lines": [
            {
                "number": line.number,
                "recipient": line.recipient,
                "outcome": str(line.outcome),
                "route": line.route,
                "attempts": [
                    {
                        "route": hop.route,
                        "outcome": str(hop.outcome),
                        "cause": str(hop.cause) if hop.cause else None,
                        "reply": hop.said,
                    }
                    for hop in line.hops
                ],
            }
            for line in lines
        ],
    }
