"""`manage.py email_routes`: which routes are in use and why not, and what a person does about it."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, no_translations

from reliable_email.delivery.route import Route
from reliable_email.diagnosis.verdict import EXIT_CODES, ExitCode, Health, worst
from reliable_email.management.database_errors import DatabaseCommand
from reliable_email.management.names import refuse
from reliable_email.management.screens.finding import columns, instant, user
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.route_history import openings
from reliable_email.values import printable
from reliable_email.views.parts.route_lines import RouteLine, route_line, site_route_mailers
from reliable_email.views.route_acts import Verb, do

_EVIDENCE_CHARACTERS = 60
_MOST_LINES = 1_000_000


class Command(DatabaseCommand):
    """The same acts as the pages', with the same record of who did them and why."""

    help = "Show the routes of this site, and pause, resume or probe them."
    # A mailer that cannot be built is what somebody looks for here; it must not keep them from stopping the others.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database; by default that of the site's outboxes")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, help_text, run, add in (
            ("list", "list each route with its state, the reason, and what is left of its quotas", self._list, _some),
            ("show", "show everything about a route", self._show, _some),
            ("pause", "stop using routes until you resume them; --all stops all mail", self._pause, _act),
            ("resume", "use routes again, and forget their earlier failures", self._resume, _act),
            ("probe", "connect and log in now, without sending a message", self._probe, _act),
            ("history", "list when routes were closed, why, and for how long", self._history, _past),
        ):
            command = commands.add_parser(name, help=help_text, description=help_text)
            command.add_argument("--json", action="store_true", help="print one JSON object")
            command.set_defaults(run=run)
            add(command)

    @no_translations  # what it says is read by machines, too
    def handle(self, *args: Any, **options: Any) -> None:
        self._json = options["json"]
        self._using = outbox_database(options["database"] or next(iter(outbox_databases()), None))
        # The state of routes is answered from memory while the database is away: for a worker, and for no person.
        openings(using=self._using, newest=1)
        run: Callable[[dict[str, Any]], None] = options["run"]
        run(options)

    # Looking.

    def _list(self, options: dict[str, Any]) -> None:
        lines = self._lines(options)
        if self._json:
            self._print_json({"routes": [asdict(one) for one in lines]})
            return
        if not lines:
            self.stdout.write("No mailer of this site has a route.")
            return
        headings = ("route", "state", "reason", "until", "quota left", "mailers")
        for text in columns(headings, [_cells(one) for one in lines]):
            self.stdout.write(text)

    def _show(self, options: dict[str, Any]) -> None:
        lines = self._lines(options)
        if self._json:
            self._print_json({"routes": [asdict(one) for one in lines]})
            return
        for line in lines:
            self.stdout.write(f"route {line.alias}  {line.state}")
            for name, value in _facts(line):
                if value:
                    self.stdout.write(f"  {name:<10} {printable(value)}")

    def _history(self, options: dict[str, Any]) -> None:
        names = [route.alias for route, _ in self._chosen(options)] if options["routes"] else []
        if options["limit"] < 1:
            raise CommandError("--limit must be at least 1.", returncode=ExitCode.USAGE)
        found = openings(names, self._using, newest=min(options["limit"], _MOST_LINES))
        if self._json:
            self._print_json({"openings": [asdict(one) for one in found]})
            return
        if not found:
            self.stdout.write("No closed route is on record.")
            return
        rows = [
            (
                one.route,
                str(one.number),
                instant(one.opened_at),
                instant(one.closed_at) if one.closed_at is not None else "still closed",
                one.reason or "-",
                str(one.failed_probes),
                _short(one.evidence),
            )
            for one in found
        ]
        headings = ("route", "number", "closed", "in use again", "reason", "failed probes", "evidence")
        for text in columns(headings, rows):
            self.stdout.write(text)

    # Acting.

    def _pause(self, options: dict[str, Any]) -> None:
        self._change(options, Verb.PAUSE, "paused")

    def _resume(self, options: dict[str, Any]) -> None:
        self._change(options, Verb.RESUME, "back in use")

    def _change(self, options: dict[str, Any], verb: Verb, done: str) -> None:
        chosen = self._named(options)
        actor = options["actor"] or user()
        done_acts = [do(verb, route, actor=actor, reason=options["reason"], using=self._using) for route, _ in chosen]
        if not all(one.is_written for one in done_acts):
            words = "The database did not take the change of a route's state: nothing is sure. Try it again."
            raise CommandError(words, returncode=ExitCode.UNHEALTHY)
        names = [route.alias for route, _ in chosen]
        if self._json:
            self._print_json({"count": len(names), "routes": names})
        else:
            for name in names:
                self.stdout.write(f"{name} is {done}")

    def _probe(self, options: dict[str, Any]) -> None:
        verdicts: list[Health] = []
        told: list[dict[str, str]] = []
        actor = options["actor"] or user()
        for route, _ in self._named(options):
            found = do(Verb.PROBE, route, actor=actor, reason=options["reason"], using=self._using).told
            told.append({"route": route.alias, **found})
            verdicts += [one for one in Health if one.value == found["verdict"]]
            if not self._json:
                self.stdout.write(f"{route.alias}  {found['verdict']}  {found['seconds']} s  {found['summary']}")
                for name in ("note", "stages", "said", "meaning", "remedy"):
                    if found.get(name):
                        self.stdout.write(f"  {name:<10} {printable(found[name])}")
        if self._json:
            self._print_json({"routes": told})
        if worst(verdicts) is not Health.HEALTHY:
            raise SystemExit(int(EXIT_CODES[worst(verdicts)]))

    # Which.

    def _named(self, options: dict[str, Any]) -> list[tuple[Route, tuple[str, ...]]]:
        if bool(options["routes"]) == options["all"]:
            raise CommandError("Choose routes: name them, or give --all for every route.", returncode=ExitCode.USAGE)
        return self._chosen(options)

    def _chosen(self, options: dict[str, Any]) -> list[tuple[Route, tuple[str, ...]]]:
        """The routes that are named, or all, in the mailers' order."""
        every = list(site_route_mailers())
        known = [route.alias for route, _ in every]
        for name in options["routes"]:
            if name not in known:
                raise refuse("route", name, known)
        return [one for one in every if not options["routes"] or one[0].alias in options["routes"]]

    def _lines(self, options: dict[str, Any]) -> list[RouteLine]:
        return [route_line(route, names, self._using) for route, names in self._chosen(options)]


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("routes", nargs="*", metavar="ROUTE", help="only these routes; by default all")


def _past(parser: ArgumentParser) -> None:
    _some(parser)
    parser.add_argument(
        "--limit", type=int, default=50, help="the maximum number of lines, newest first; 50 by default"
    )


def _act(parser: ArgumentParser) -> None:
    parser.add_argument("routes", nargs="*", metavar="ROUTE", help="these routes")
    parser.add_argument("--all", action="store_true", help="every route")
    parser.add_argument("--reason", default="", help="the reason, for the record and for whoever resumes the route")
    parser.add_argument("--actor", default="", help="your name, for the record; by default the system's user")


def _cells(line: RouteLine) -> Sequence[str]:
    return (
        line.alias,
        line.state,
        _reason(line) or "-",
        instant(line.until),
        _quotas(line) or "-",
        _mailers(line),
    )


def _mailers(line: RouteLine) -> str:
    """Return the mailers that send by a route, each with its place in the order of preference."""
    places = {name: f"{name} ({place} of {count})" for name, place, count in line.places}
    return ", ".join(places.get(one, one) for one in line.mailers)


def _reason(line: RouteLine) -> str:
    return _short(line.reason or (line.told if line.state != "in use" else ""))


def _quotas(line: RouteLine) -> str:
    return "; ".join(f"{one.left:,} of {one.limit:,} {one.unit} a {one.window}" for one in line.quotas)


def _facts(line: RouteLine) -> Sequence[tuple[str, str]]:
    return (
        ("told", line.told),
        ("server", line.summary),
        ("provider", line.provider),
        ("mailers", _mailers(line)),
        ("reason", line.reason),
        ("meaning", line.meaning),
        ("remedy", line.remedy),
        ("by itself", line.happens),
        ("evidence", line.evidence),
        ("since", instant(line.since) if line.since is not None else ""),
        ("until", instant(line.until) if line.until is not None else ""),
        ("quota left", _quotas(line)),
        ("limits", "; ".join(line.limits)),
        ("refuses", ", ".join(domain for domain, _ in line.senders)),
    )


def _short(text: str) -> str:
    words = printable(" ".join(text.split()))
    return words if len(words) <= _EVIDENCE_CHARACTERS else f"{words[: _EVIDENCE_CHARACTERS - 1]}…"
