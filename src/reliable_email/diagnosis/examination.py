"""The examination of a site's mail, from its configuration to a message: what `test_email` shows, as values.

It looks at the routes themselves, also where the default mailer is an outbox, and needs no tables. The verdict is about
the whole: one route of a failover that works is enough to be only DEGRADED.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from django.core.checks import CheckMessage
from django.core.checks.messages import ERROR, WARNING
from django.core.mail import EmailMessage

from reliable_email.backends.building import build_route, building_error, provider_of, smtp_reading
from reliable_email.backends.reading.email_settings import email_setting_name
from reliable_email.backends.reading.route_options import SMTPOptions
from reliable_email.backends.routes import DEFAULT_ALIAS, Mailer, MailerKind, delivering_alias, routes_of
from reliable_email.classification import Cause
from reliable_email.classification.foreign import classify_exception
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.report import DeliveryReport
from reliable_email.diagnosis.addresses import default_sender_messages
from reliable_email.diagnosis.configuration import configuration_messages
from reliable_email.diagnosis.dns.examination import DomainExamination
from reliable_email.diagnosis.explanation import Explanation, explain, explain_failure
from reliable_email.diagnosis.ladder import Climb, climb
from reliable_email.diagnosis.route_errors import stopping_errors
from reliable_email.diagnosis.verdict import Health, worst
from reliable_email.exceptions import DeliveryError
from reliable_email.mailers import mailers
from reliable_email.records import dataclass, field

MESSAGE_SUBJECT = "Test message from your site"
MESSAGE_BODY = "This message was sent by “manage.py test_email”. If you can read it, your site's mail works.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The messages of the system checks; warnings do not stop anything."""

    messages: tuple[CheckMessage, ...] = ()

    @property
    def errors(self) -> tuple[CheckMessage, ...]:
        """The errors that keep mail from going out."""
        return stopping_errors(self.messages)

    @property
    def route_errors(self) -> tuple[CheckMessage, ...]:
        """The errors of a route beside which another one works."""
        stopping = self.errors
        return tuple(message for message in self.messages if message.level >= ERROR and message not in stopping)

    @property
    def warnings(self) -> tuple[CheckMessage, ...]:
        """The warnings."""
        return tuple(message for message in self.messages if WARNING <= message.level < ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteExamination:
    """One route.

    Attributes:
        summary: who is spoken to, how, as whom.
        verdict: None where nobody can tell without a message (an HTTP API), or where nothing is delivered.
        note: why it is not HEALTHY although it works, or why there is no verdict.
    """

    alias: str
    summary: str
    seconds: float = 0.0
    verdict: Health | None = None
    note: str = ""
    climb: Climb | None = None
    explanation: Explanation | None = None
    relaxed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageExamination:
    """The test message; `refused_by` are the routes that did not take it, where another one did."""

    recipient: str
    is_sent: bool
    seconds: float = 0.0
    report: DeliveryReport | None = None
    explanations: tuple[Explanation, ...] = ()
    refused_by: tuple[str, ...] = ()
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Examination:
    """Everything that was found, so far."""

    configuration: Configuration = field(default_factory=Configuration)
    routes: list[RouteExamination] = field(default_factory=list)
    message: MessageExamination | None = None
    domain: DomainExamination | None = None

    @property
    def verdict(self) -> Health:
        """The worse one of the mail's way and the domain's."""
        verdict = self._verdict_and_reason()[0]
        return verdict if self.domain is None else worst((verdict, self.domain.verdict))

    @property
    def reason(self) -> str:
        """The reason why the verdict is not HEALTHY; between two equal ones, the routes' comes first."""
        verdict, reason = self._verdict_and_reason()
        if self.domain is None or (reason and verdict is self.verdict):
            return reason
        return self.domain.reason

    def _verdict_and_reason(self) -> tuple[Health, str]:
        if self.configuration.errors:
            return Health.UNHEALTHY, self.configuration.errors[0].msg
        if self.message is not None and not self.message.is_sent:
            return Health.UNHEALTHY, "the test message did not go out"
        known = [route for route in self.routes if route.verdict is not None]
        dead = [route for route in known if route.verdict is Health.UNHEALTHY]
        unknown = [route for route in self.routes if route.verdict is None]
        if dead and len(dead) == len(known) and not (unknown and self.message and self.message.is_sent):
            return Health.UNHEALTHY, _not_working([route.alias for route in dead])
        if not known and not (self.message and self.message.is_sent):
            return Health.DEGRADED, unknown[0].note if unknown else "there is no route"
        if dead:
            return Health.DEGRADED, _not_working([route.alias for route in dead])
        if self.message is not None and self.message.refused_by:
            report = self.message.report
            took = {one.route or "" for one in report.recipients.values()} if report is not None else set()
            refused = ", ".join(self.message.refused_by)
            return Health.DEGRADED, f"{refused} did not take the test message, {', '.join(sorted(took))} did"
        relaxed = [route for route in known if route.verdict is Health.DEGRADED]
        if relaxed:
            return Health.DEGRADED, f"{relaxed[0].alias}: {relaxed[0].note}"
        return Health.HEALTHY, ""


def _not_working(aliases: list[str]) -> str:
    return f"{', '.join(aliases)} {'does' if len(aliases) == 1 else 'do'} not work"


def examine_configuration() -> Configuration:
    """The checks of this package, as `manage.py check` would show them, and what only a person who asks must hear."""
    return Configuration(messages=(*configuration_messages(), *default_sender_messages()))


def routes_to_examine(alias: str | None = None) -> tuple[Mailer, ...]:
    """The routes of a mailer, or of the default one.

    Raises:
        MailerDoesNotExist: there is no such alias.
        InvalidMailer: `using` leads in a circle.
    """
    return routes_of(delivering_alias(alias or DEFAULT_ALIAS))


def examine_route(
    route: Mailer, *, sender: str | None = None, recipient: str | None = None
) -> tuple[RouteExamination, ...]:
    """Try one route up to its login; with sender and recipient their opinion of the envelope, too.

    The one mailer of the `EMAIL_*` settings may hide a second provider, so there can be two answers.
    """
    if route.kind.delivers_nothing:
        note = f"{route.alias} only shows or stores messages and delivers none"
        return (RouteExamination(alias=route.alias, summary=str(route.kind), note=note),)
    if route.kind is not MailerKind.SMTP:
        return (_examine_foreign(route),)
    built = None if route.is_legacy else build_route(route)
    if built is not None and built.build_error:
        return (_unbuilt(route.alias, built.build_error),)
    reading = smtp_reading(route)
    options = reading.options
    if options is None:
        return (_unbuilt(route.alias, reading.told or building_error(route)),)
    found = [_examine_smtp(options.route, options, sender, recipient)]
    if options.fallback is not None:
        found.append(_examine_smtp("fallback", options.fallback, sender, recipient))
    return tuple(found)


def _unbuilt(alias: str, text: str) -> RouteExamination:
    return RouteExamination(alias=alias, summary="cannot be built", verdict=Health.UNHEALTHY, note=text)


def _examine_smtp(alias: str, options: SMTPOptions, sender: str | None, recipient: str | None) -> RouteExamination:
    result = climb(options.connection, timeout=options.timeout, sender=sender, recipient=recipient)
    common = {"alias": alias, "summary": options.summary(), "seconds": result.seconds, "climb": result}
    if result.failure is not None:
        explanation = explain(result.failure, options)
        return RouteExamination(**common, verdict=Health.UNHEALTHY, explanation=explanation)  # type: ignore[arg-type]
    if result.tls is not None and result.tls.relaxed_defect:
        note = (
            f"the certificate breaks a rule of form, {result.tls.relaxed_defect}; chain, dates and host name are good, "
            f"so it was accepted. Have it reissued, or set ssl_strict=False to accept it without a note"
        )
        return RouteExamination(**common, verdict=Health.DEGRADED, note=note)  # type: ignore[arg-type]
    if result.tls is not None and not result.tls.is_verified:
        note = "the server's certificate is not verified (ssl_verify is off)"
        return RouteExamination(**common, verdict=Health.DEGRADED, note=note)  # type: ignore[arg-type]
    notes = []
    if options.connection.tls.strict is False:
        notes.append("ssl_strict is off: the certificate's form is not checked")
    notes += hello_notes(result, options)
    note = "; ".join(notes)
    return RouteExamination(**common, verdict=Health.HEALTHY, note=note)  # type: ignore[arg-type]


def hello_notes(result: Climb, options: SMTPOptions) -> list[str]:
    """Return advice if EHLO sends an address to another machine and a name would serve better."""
    if not result.hello.startswith("[") or result.is_loopback:
        return []
    note = (
        f"EHLO says {result.hello}, because this machine has no full host name; some servers distrust such mail. "
        f"Set {_place_of_hello_name(options)} to a name that resolves to the address which the server sees"
    )
    return [note]


def _place_of_hello_name(options: SMTPOptions) -> str:
    return "local_hostname" if options.alias is not None else email_setting_name("local_hostname")


def _examine_foreign(route: Mailer) -> RouteExamination:
    built = build_route(route)
    if built.build_error:
        return _unbuilt(route.alias, built.build_error)
    began_at = time.monotonic()
    try:
        backend = mailers[route.alias]
        with_open = getattr(backend, "open", None)
        if with_open is not None:
            with_open()
            backend.close()
    except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
        failure = classify_exception(error, provider=provider_of(route.backend))
        if failure.cause is Cause.OUTCOME_UNKNOWN:
            # No message is under way while a connection is opened.
            failure = local_failure(
                Cause.CONNECT_FAILED if isinstance(error, OSError) else Cause.CANNOT_BE_BUILT, failure.detail
            )
        return RouteExamination(
            alias=route.alias,
            summary=route.backend,
            seconds=time.monotonic() - began_at,
            verdict=Health.UNHEALTHY,
            explanation=explain_failure(failure),
        )
    seconds = time.monotonic() - began_at
    if route.kind is MailerKind.DJANGO_SMTP:
        return RouteExamination(alias=route.alias, summary=route.backend, seconds=seconds, verdict=Health.HEALTHY)
    note = f"{route.backend} can only be tested by sending a message"
    return RouteExamination(alias=route.alias, summary=route.backend, seconds=seconds, note=note)


def send_message(
    alias: str,
    *,
    sender: str | None,
    recipients: Sequence[str],
    offered: Mapping[str, Sequence[str]] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> MessageExamination:
    """Send the test message directly by a route or a failover (an outbox would only queue it).

    `offered` are the logins that each route's server was seen to offer, for the advice.
    """
    message = EmailMessage(MESSAGE_SUBJECT, MESSAGE_BODY, sender, list(recipients))
    links = _options_of_routes(alias)
    offered = offered or {}
    began_at = clock()
    try:
        count = mailers[alias].send_messages([message])
        error = "" if count or count is None else f"{alias} took no message and did not say why"
    except DeliveryError as raised:
        error = str(raised)
    except Exception as raised:  # noqa: BLE001 - any code of anybody's may be behind this
        error = f"{type(raised).__name__}: {raised}"
    seconds = clock() - began_at
    report = getattr(message, "delivery", None)
    explanations: Sequence[Explanation] = ()
    refused_by: Sequence[str] = ()
    if isinstance(report, DeliveryReport):
        took = {one.route for one in report.recipients.values()} if not error else set()
        # What the same route took at a second try is what tries are for; it is in the report.
        failures = {
            (attempt.route, attempt.failure.cause): attempt.failure
            for attempt in report.attempts
            if attempt.failure is not None and attempt.route not in took
        }
        refused_by = list(dict.fromkeys(route for route, _ in failures)) if not error else ()
        explanations = [
            explain_failure(failure, options=links.get(route), offered=offered.get(route, ()))
            for (route, _), failure in failures.items()
        ]
    return MessageExamination(
        recipient=", ".join(recipients),
        is_sent=not error,
        seconds=seconds,
        report=report if isinstance(report, DeliveryReport) else None,
        explanations=tuple(explanations),
        refused_by=tuple(refused_by),
        error=error,
    )


def _options_of_routes(alias: str) -> dict[str, SMTPOptions]:
    """Return the options of each of this package's routes, by its name in reports."""
    found: dict[str, SMTPOptions] = {}
    for route in routes_of(alias):
        if route.kind is not MailerKind.SMTP:
            continue
        options = smtp_reading(route).options
        if options is None:  # it cannot be built, and is passed over
            continue
        found[options.route] = options
        if options.fallback is not None:
            found["fallback"] = options.fallback
    return found
