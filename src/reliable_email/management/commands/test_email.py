"""`manage.py test_email`: is mail working, and if not, at which stage, in whose words, and what to do."""

import ipaddress
import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.checks.messages import ERROR
from django.core.management.base import CommandError

from reliable_email.backends.routes import DEFAULT_ALIAS, Mailer, MailerKind, all_mailers, delivering_alias
from reliable_email.delivery.report import Outcome
from reliable_email.diagnosis.addresses import NOBODYS_SENDER, envelope_of, people, problem_of, split_addresses
from reliable_email.diagnosis.dns.examination import examine_domain
from reliable_email.diagnosis.dns.lookup import QUERY_SECONDS, DNSMissing, Lookup
from reliable_email.diagnosis.dns.routes import domain_of, routes_mail
from reliable_email.diagnosis.dns.words import headline, lines
from reliable_email.diagnosis.examination import (
    Examination,
    MessageExamination,
    RouteExamination,
    examine_configuration,
    examine_route,
    routes_to_examine,
    send_message,
)
from reliable_email.diagnosis.explanation import Explanation
from reliable_email.diagnosis.verdict import EXIT_CODES, ExitCode, Health, worst
from reliable_email.exceptions import InvalidMailer
from reliable_email.management.examined import as_json
from reliable_email.management.names import refuse, route_names
from reliable_email.management.own_command import OwnCommand
from reliable_email.monitoring.health import Finding, SiteHealth, examine_site
from reliable_email.values import printable

GOOD, BAD, NOTE = "✓", "✗", "–"


class Command(OwnCommand):
    """Numbered checks, then `Status:`; exit code 0 HEALTHY, 1 UNHEALTHY, 2 usage, 3 DEGRADED."""

    help = "Check the email configuration, connect to every route, and send a test message."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "email", nargs="*", help="the recipient of the test message; by default the first of ADMINS"
        )
        parser.add_argument(
            "--to",
            nargs="+",
            action="extend",
            metavar="ADDRESS",
            help="the same: one or more recipients, also with display names or separated by commas",
        )
        parser.add_argument("--admins", action="store_true", help="send the message to all ADMINS")
        parser.add_argument("--managers", action="store_true", help="send the message to all MANAGERS")
        parser.add_argument("--from", dest="sender", help="the sender; by default DEFAULT_FROM_EMAIL")
        parser.add_argument("--check-only", action="store_true", help="send no message")
        parser.add_argument(
            "--health-check",
            action="store_true",
            help="show each stage with its time, test the envelope, and include the site's state: "
            "closed routes, the outbox, its workers",
        )
        parser.add_argument("--verbose", action="store_true", help="show the conversation with the server")
        parser.add_argument("--route", help="test only this mailer")
        parser.add_argument(
            "--all-routes", action="store_true", help="connect to every route and send nothing (as --check-only)"
        )
        parser.add_argument("--dns", action="store_true", help="look up SPF, DKIM, DMARC and MX of the sender's domain")
        parser.add_argument("--domain", help="with --dns: the domain to look up; by default the sender's")
        parser.add_argument("--resolver", help="with --dns: the resolver to ask, as ADDRESS or ADDRESS:PORT")
        parser.add_argument(
            "--resolver-timeout",
            type=float,
            default=QUERY_SECONDS,
            metavar="SECONDS",
            help="with --dns: seconds to wait for one answer",
        )
        parser.add_argument(
            "--selector",
            action="append",
            default=[],
            metavar="[ROUTE=]NAME",
            help="with --dns: a DKIM selector to look up, in addition to the provider's usual ones",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        self._options = options
        self._is_loud = options["verbose"] or options["verbosity"] > 1
        # Who asks about the DNS alone gets no message by surprise.
        asked = _asked_for(options)
        sends = not (options["check_only"] or options["all_routes"] or (options["dns"] and not asked))
        recipients = asked or people("ADMINS")[:1]
        if sends and not recipients:
            raise CommandError(
                "Name a recipient of the test message with --to ADDRESS (or in ADMINS), or use --check-only.",
                returncode=ExitCode.USAGE,
            )
        if options["sender"]:
            _check_address("--from", options["sender"])
        lookup = self._lookup() if options["dns"] else None
        examination = Examination()
        self._line("=== Email System Test ===")
        self._line("")
        self._configuration(examination)
        try:
            routes = routes_to_examine(options["route"])
        except InvalidMailer as error:
            if options["route"] is not None and options["route"] not in all_mailers():
                raise refuse("mailer", options["route"], all_mailers()) from error
            if options["route"] is not None and not examination.configuration.errors:
                raise CommandError(str(error), returncode=ExitCode.USAGE) from error
            routes = ()
        if not examination.configuration.errors:
            self._connections(examination, routes, recipients)
            if sends:
                self._message(examination, routes, recipients)
        health = None
        if options["health_check"] or (sends and options["route"] is None):
            # Last, so that what was found out now counts. A message that was sent directly proves nothing of the
            # queue by which the site's own messages go.
            health = examine_site(misses_workers=True)
            if options["health_check"] or worst((examination.verdict, health.verdict)) is not examination.verdict:
                self._health(health, examination)
            else:
                health = None
        if lookup is not None:
            self._domain(examination, routes, lookup, number=5 if health is not None else 4)
        self._status(examination, health)

    # 1.

    def _configuration(self, examination: Examination) -> None:
        examination.configuration = found = examine_configuration()
        if found.errors:
            self._line(self.style.ERROR(f"1. Configuration Check: {BAD} Configuration is not valid"))
        elif found.route_errors:
            self._line(f"1. Configuration Check: {BAD} Configuration is valid for some of the routes only")
        else:
            self._line(f"1. Configuration Check: {self.style.SUCCESS(GOOD)} Configuration is valid")
        for message in (*found.errors, *found.route_errors, *found.warnings):
            sign = BAD if message.level >= ERROR else NOTE
            self._line(f"   {sign} {message.msg}")
            if message.hint:
                self._line(f"     {message.hint}")

    # 2.

    def _connections(self, examination: Examination, routes: tuple[Mailer, ...], recipients: list[str]) -> None:
        is_healthy_asked = self._options["health_check"]
        for route in routes:
            sender = envelope_of(_sender(self._options["sender"], route))
            recipient = envelope_of(recipients[0]) if recipients else sender
            examination.routes += examine_route(
                route,
                sender=sender if is_healthy_asked else None,
                recipient=recipient if is_healthy_asked else None,
            )
        good = [one for one in examination.routes if one.verdict in (Health.HEALTHY, Health.DEGRADED)]
        bad = [one for one in examination.routes if one.verdict is Health.UNHEALTHY]
        if good:
            seconds = good[0].seconds
            self._line(f"2. Connection Test: {self.style.SUCCESS(GOOD)} Connection successful in {seconds:.2f}s")
        elif bad:
            first = bad[0]
            where = f" at stage {first.explanation.stage}" if first.explanation and first.explanation.stage else ""
            self._line(
                self.style.ERROR(f"2. Connection Test: {BAD} Connection failed{where} after {first.seconds:.2f}s")
            )
        else:
            self._line(f"2. Connection Test: {NOTE} {examination.routes[0].note if examination.routes else 'no route'}")
        is_alone = len(examination.routes) == 1
        for one in examination.routes:
            self._route(one, is_alone=is_alone)

    def _route(self, one: RouteExamination, *, is_alone: bool) -> None:
        sign = {Health.HEALTHY: GOOD, Health.DEGRADED: GOOD, Health.UNHEALTHY: BAD, None: NOTE}[one.verdict]
        if not is_alone or self._options["health_check"] or one.verdict is Health.UNHEALTHY:
            time = f" in {one.seconds:.2f}s" if one.verdict is not None else ""
            self._line(f"   {sign} {one.alias}: {one.summary}{time}")
        if one.note and one.verdict is not None:
            self._line(
                self.style.WARNING(f"     Note: {one.note}")
                if one.verdict is not Health.HEALTHY
                else f"     Note: {one.note}"
            )
        elif one.note and not is_alone:
            self._line(f"     Note: {one.note}")
        if self._options["health_check"] and one.climb is not None:
            for rung in one.climb.rungs:
                took = f"{rung.seconds * 1000:8.1f} ms" if rung.seconds is not None else " " * 11
                self._line(
                    f"     {GOOD if rung.is_ok else BAD} {rung.stage:<12}{took}  {printable(rung.detail)}".rstrip()
                )
        if one.explanation is not None:
            self._explanation(one.explanation)
        if self._is_loud and one.climb is not None:
            for direction, text in one.climb.transcript:
                self._line(f"     {direction}: {printable(text)}")

    def _explanation(self, explanation: Explanation) -> None:
        self._line(f"     Said:    {explanation.said}")
        self._line(f"     Meaning: {explanation.meaning} ({explanation.cause})")
        for number, remedy in enumerate(explanation.remedies):
            self._line(f"     {'To do:' if not number else '':<8} {remedy}")
        for title, url in explanation.links:
            self._line(f"     See:     {title}: {url}")

    # 3.

    def _message(self, examination: Examination, routes: tuple[Mailer, ...], recipients: list[str]) -> None:
        alias = self._options["route"] or delivering_alias(DEFAULT_ALIAS)
        if routes and all(route.kind.delivers_nothing for route in routes):
            self._line(f"3. Test Email: {NOTE} not sent, because it would reach no recipient")
            return
        if examination.routes and all(one.verdict is Health.UNHEALTHY for one in examination.routes):
            self._line(f"3. Test Email: {NOTE} not tried, because no route works")
            return
        sender = _sender(self._options["sender"], routes[0]) if routes else self._options["sender"]
        offered = {
            one.alias: one.climb.capabilities.auth
            for one in examination.routes
            if one.climb is not None and one.climb.capabilities is not None
        }
        examination.message = found = send_message(alias, sender=sender, recipients=recipients, offered=offered)
        if found.is_sent:
            self._line(f"3. Test Email: {self.style.SUCCESS(GOOD)} Test email sent successfully!")
        else:
            self._line(self.style.ERROR(f"3. Test Email: {BAD} Test email was not sent"))
        self._evidence(found)

    def _evidence(self, found: MessageExamination) -> None:
        if found.report is not None and (self._options["health_check"] or self._is_loud or not found.is_sent):
            for address, one in found.report.recipients.items():
                by = f" by {one.route}" if one.route else ""
                is_said_below = not found.is_sent and found.explanations
                said = f": {printable(str(one.reply))}" if one.reply is not None and not is_said_below else ""
                sign = GOOD if one.outcome is Outcome.ACCEPTED else BAD
                self._line(f"   {sign} {address}: {one.outcome}{by}{said}")
        if not found.is_sent and not found.explanations:
            self._line(f"     Said:    {printable(found.error)}")
        if found.refused_by:
            self._line(f"   {NOTE} not by {', '.join(found.refused_by)}:")
        for explanation in found.explanations:
            self._explanation(explanation)

    # 4.

    def _health(self, health: SiteHealth, examination: Examination) -> None:
        """Print the site's health, without what the configuration check has already printed."""
        said = {message.msg for message in examination.configuration.messages}
        findings = [one for one in health.findings if one.text not in said]
        if not findings:
            self._line(f"4. Site Health: {self.style.SUCCESS(GOOD)} No problems are known")
            return
        sign = BAD if any(one.verdict is Health.UNHEALTHY for one in findings) else NOTE
        self._line(f"4. Site Health: {sign} {findings[0].verdict.upper()} by what is remembered")
        for finding in findings:
            self._finding(finding)

    def _finding(self, finding: Finding) -> None:
        since = f", since {finding.since:%Y-%m-%d %H:%M} UTC" if finding.since is not None else ""
        sign = BAD if finding.verdict is Health.UNHEALTHY else NOTE
        self._line(f"   {sign} {printable(finding.text)}{since}")
        if finding.remedy:
            self._line(f"     To do:   {printable(finding.remedy)}")

    def _lookup(self) -> Lookup:
        if self._options["resolver_timeout"] <= 0:
            raise CommandError("--resolver-timeout must be above zero.", returncode=ExitCode.USAGE)
        for given in self._options["selector"]:
            route = given.rpartition("=")[0]
            if route and route not in route_names():
                raise refuse("route", route, route_names())
        try:
            return Lookup(_nameserver(self._options["resolver"]), query_seconds=self._options["resolver_timeout"])
        except DNSMissing as error:
            raise CommandError(str(error), returncode=ExitCode.USAGE) from error

    def _domain(self, examination: Examination, routes: tuple[Mailer, ...], lookup: Lookup, *, number: int) -> None:
        sender = _sender(self._options["sender"], routes[0]) if routes else str(settings.DEFAULT_FROM_EMAIL)
        domain = (self._options["domain"] or domain_of(sender)).strip()
        if "." not in domain.strip("."):
            raise CommandError(
                f"{sender!r} names no domain of the DNS: set DEFAULT_FROM_EMAIL, or say which with --domain.",
                returncode=ExitCode.USAGE,
            )
        selectors: dict[str, list[str]] = {}
        for given in self._options["selector"]:
            route, _, name = given.rpartition("=")
            selectors.setdefault(route, []).append(name)
        examination.domain = found = examine_domain(domain, routes_mail(routes), lookup.ask, selectors=selectors)
        words = headline(found)
        if found.verdict is Health.HEALTHY:
            self._line(f"{number}. DNS Check: {self.style.SUCCESS(GOOD)} {words}")
        else:
            self._line(self.style.ERROR(f"{number}. DNS Check: {BAD} {words}"))
        for line in lines(found):
            self._line(line)

    # The end.

    def _status(self, examination: Examination, health: SiteHealth | None) -> None:
        verdict, reason = examination.verdict, examination.reason
        if health is not None and worst((verdict, health.verdict)) is not verdict:
            verdict, reason = health.verdict, health.reason
        if self._options["json"]:
            told = as_json(examination) | {"status": str(verdict), "reason": reason}
            if health is not None:
                told["health"] = health.as_json()
            self.stdout.write(json.dumps(told))
        self._line("")
        style = {
            Health.HEALTHY: self.style.SUCCESS,
            Health.DEGRADED: self.style.WARNING,
            Health.UNHEALTHY: self.style.ERROR,
        }[verdict]
        self._line(style(f"Status: {verdict.upper()}"))
        if reason:
            self._line(f"Reason: {printable(reason)}")
        if verdict is not Health.HEALTHY:
            raise SystemExit(int(EXIT_CODES[verdict]))

    def _line(self, text: str) -> None:
        if not self._options["json"]:
            self.stdout.write(text)


def _asked_for(options: dict[str, Any]) -> list[str]:
    """Return the recipients that were named in any way; each is one valid address."""
    given = options["to"] or []
    named = [*options["email"], *([given] if isinstance(given, str) else given)]
    found = split_addresses(named)
    for address in found:
        _check_address("--to", address)
    for switch in ("admins", "managers"):
        if options[switch]:
            people_named = people(switch.upper())
            if not people_named:
                raise CommandError(f"--{switch}: {switch.upper()} has no addresses.", returncode=ExitCode.USAGE)
            found += people_named
    return list(dict.fromkeys(found))


def _check_address(switch: str, given: str) -> None:
    problem = problem_of(given)
    if problem is not None or "@" not in given:
        words, remedy = problem or (f"is not an e-mail address: {given!r}.", "")
        raise CommandError(f"{switch}: {words.removeprefix('is ')} {remedy}".strip(), returncode=ExitCode.USAGE)


def _sender(given: str | None, route: Mailer) -> str:
    """Return the sender: Django's default is not a real address, so an account that is one is a better guess."""
    if given:
        return given
    default = str(settings.DEFAULT_FROM_EMAIL)
    if default != NOBODYS_SENDER:
        return default
    username = route.options.get("username") if not route.is_legacy else getattr(settings, "EMAIL_HOST_USER", "")
    return str(username) if route.kind is MailerKind.SMTP and "@" in str(username or "") else default


def _nameserver(given: str | None) -> tuple[str, int] | None:
    """Address and port of `--resolver`."""
    if not given:
        return None
    address, port = given.strip(), "53"
    if address.startswith("["):
        address, closing, rest = address[1:].partition("]")
        port = rest.removeprefix(":") or port if closing else ""
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    try:
        ipaddress.ip_address(address)
        if not 0 < int(port) < 65536:
            raise ValueError(port)
    except ValueError:
        raise CommandError(
            f"--resolver: {given!r} is no address, with or without a port, such as 192.0.2.53 or 127.0.0.1:5353.",
            returncode=ExitCode.USAGE,
        ) from None
    return address, int(port)
