"""The routes as the page shows them: in use or not and why, what is left of their quotas, how quick they are."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reliable_email.backends.routes import DEFAULT_ALIAS, all_mailers
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.backends.unbuilt import without_remedy
from reliable_email.delivery import breaker, quota
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.route import Route
from reliable_email.delivery.submission import Priority
from reliable_email.mailers import mailers
from reliable_email.monitoring.findings import instant
from reliable_email.monitoring.route_health import RouteCondition, condition, site_routes
from reliable_email.outbox.keyring import Keyring, configured_keyring
from reliable_email.outbox.operations.letters import open_reply
from reliable_email.providers import Quota
from reliable_email.records import dataclass, replace
from reliable_email.smtp.stages import Stage
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.recent import RouteActivity, route_activity
from reliable_email.store.questions.route_history import Histogram, OpeningStory, latencies, openings
from reliable_email.templatetags.details import in_own_words
from reliable_email.templatetags.numbers import span, thousands
from reliable_email.views.parts.closings import Closings, closings
from reliable_email.views.parts.evidence import Explained, explained

_NOTHING = RouteActivity()
_OPENINGS = 200  # of all routes together
_WINDOWS = {
    60: _("minute"),
    3600: _("hour"),
    86400: _("24 hours"),
    7 * 86400: _("7 days"),
    30 * 86400: _("30 days"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLine:
    """One limit of a route.

    Attributes:
        limit: what is used up at most: the configured one, or a lower one that the provider's words have taught.
        left: what messages of priority high may still use.
        left_for_bulk: what bulk mail may still use.
        runs_out_at: at the pace of the last quarter of the window; None where nothing was used lately.
        is_soon: it runs out before the window has passed.
    """

    window: str
    unit: str
    limit: int
    used: int
    left: int
    left_for_bulk: int
    runs_out_at: datetime | None
    is_soon: bool
    is_learned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLine:
    """The duration of one stage: upper bounds of a histogram, infinite beyond the last of them."""

    stage: str
    count: int
    p50_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLine:
    """One route.

    Attributes:
        mailers: who sends by it.
        summary: who is spoken to, how, as whom.
        state, badge: in a word, and its class.
        told: what that means, a sentence.
        reason: the cause for which it is closed, or who paused it and why.
        meaning, remedy, happens: of the cause; see `Explained`.
        places: for each mailer that chooses among several routes, as which of how many this one is asked.
        since, until: instants of that state.
        evidence: in whose words.
        senders: domains of senders that it refuses, and until when.
        limits: what it has taught: sizes and counts, in words.
        stages: how long each took, in the order of SMTP, since the tables were made.
    """

    alias: str
    mailers: tuple[str, ...]
    provider: str
    summary: str
    state: str
    badge: str
    told: str
    is_paused: bool
    is_closed: bool
    reason: str = ""
    meaning: str = ""
    remedy: str = ""
    happens: str = ""
    places: tuple[tuple[str, int, int], ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    evidence: str = ""
    senders: tuple[tuple[str, datetime | None], ...] = ()
    limits: tuple[str, ...] = ()
    quotas: tuple[QuotaLine, ...] = ()
    activity: RouteActivity = _NOTHING
    stages: tuple[StageLine, ...] = ()
    closings: Closings | None = None


def route_lines() -> list[RouteLine]:
    """Every route of the site, in the mailers' order.

    Raises:
        InvalidMailer, or what somebody else's backend raises: a mailer cannot be built.
    """
    activity, keyring = route_activity(), configured_keyring()
    stages, closed = _stage_lines(), _closings()
    return [
        replace(
            _line(condition(route), names, _opened(activity.get(route.alias, _NOTHING), keyring)),
            stages=stages.get(route.alias, ()),
            closings=closed.get(route.alias),
        )
        for route, names in site_route_mailers()
    ]


def route_line(route: Route, names: tuple[str, ...], using: str | None = None) -> RouteLine:
    """One route without its latest messages and its stages: what is remembered of it alone."""
    return _line(condition(route, using), names, _NOTHING)


def _closings() -> dict[str, Closings | None]:
    found: dict[str, list[OpeningStory]] = defaultdict(list)
    for one in openings(newest=_OPENINGS):
        found[one.route].append(one)
    return {route: closings(several, timezone.now()) for route, several in found.items()}


def _stage_lines() -> dict[str, tuple[StageLine, ...]]:
    order = {stage.value: number for number, stage in enumerate(Stage)}
    found: dict[str, list[Histogram]] = defaultdict(list)
    for one in latencies(outbox_database()):
        if one.stage in order and one.count:
            found[one.route].append(one)
    return {
        route: tuple(
            StageLine(stage=one.stage, count=one.count, p50_seconds=one.within(0.5), p95_seconds=one.within(0.95))
            for one in sorted(several, key=lambda one: order[one.stage])
        )
        for route, several in found.items()
    }


def find_route(alias: str) -> Route | None:
    """The route of this name; None where there is none."""
    return next((route for route, _ in site_route_mailers() if route.alias == alias), None)


def providers_by_route() -> dict[str, str | None]:
    """Return the provider of each route; empty if a mailer cannot be built."""
    try:
        return {route.alias: route.provider for route, _ in site_route_mailers()}
    except Exception:  # noqa: BLE001 - any code of anybody's may be behind a mailer; the routes' page says so
        return {}


def site_route_mailers() -> Iterator[tuple[Route, tuple[str, ...]]]:
    """Each route once, also those that cannot be built, with the mailers that send by it."""
    found: dict[str, tuple[Route, list[str]]] = {}
    for name, routes in sorted(site_routes().items(), key=lambda item: item[0] != DEFAULT_ALIAS):
        for route in routes:
            found.setdefault(route.alias, (route, []))[1].append(name)
    return ((route, tuple(names)) for route, names in found.values())


def _opened(activity: RouteActivity, keyring: Keyring) -> RouteActivity:
    """Return the activity with replies decrypted, if the key is here."""
    return replace(
        activity,
        replies=tuple(
            replace(one, reply=open_reply(one.reply, one.encryption_key, keyring)) for one in activity.replies
        ),
    )


def _line(known: RouteCondition, names: tuple[str, ...], activity: RouteActivity) -> RouteLine:
    state, route = known.breaker, known.route
    places = _places(route.alias)
    word, badge, told = _state(known, is_standby=bool(places) and all(place > 1 for _, place, _ in places))
    is_out = state.phase is not Phase.CLOSED
    meaning = _explained(known) if is_out else Explained()
    return RouteLine(
        alias=route.alias,
        mailers=names,
        provider=route.provider or "",
        summary=_summary(route),
        state=word,
        badge=badge,
        told=told,
        is_paused=state.phase is Phase.PAUSED,
        is_closed=is_out,
        reason=_reason(known) if is_out else "",
        meaning=meaning.meaning,
        remedy=in_own_words(without_remedy(route.build_error)[1]) if route.build_error else meaning.remedy,
        happens=meaning.happens,
        places=places,
        since=instant(state.opened_at) if is_out else None,
        until=_until(known),
        evidence=state.evidence if is_out else "",
        senders=tuple(
            (domain, instant(until)) for domain, until in sorted(state.closed_senders.items()) if until > known.now
        ),
        limits=tuple(_limits(known)),
        quotas=tuple(_quota(known, one) for one in route.quotas),
        activity=activity,
    )


def _explained(known: RouteCondition) -> Explained:
    """The cause's meaning; the evidence names stage and reply, for the rule that knows these words."""
    place, _, reply = known.breaker.evidence.partition(": ")
    return explained(known.breaker.reason or "", place.removeprefix("at "), reply, provider=known.route.provider)


def _places(alias: str) -> tuple[tuple[str, int, int], ...]:
    """The place of a route in each mailer's order of preference; none where a mailer has no other."""
    return tuple(
        (name, order.index(alias) + 1, len(order))
        for name, routes in site_routes().items()
        if alias in (order := [one.alias for one in routes]) and len(order) > 1
    )


def _state(known: RouteCondition, *, is_standby: bool) -> tuple[str, str, str]:
    state = known.breaker
    if known.route.build_error:
        return "cannot be built", "bad", in_own_words(without_remedy(known.route.build_error)[0])
    match state.phase:
        case Phase.PAUSED:
            who = state.paused_by or gettext("an operator")
            words = gettext("Paused by %(who)s. No message uses it until it is resumed.")
            return "paused", "warn", words % {"who": who}
        case Phase.HALF_OPEN:
            return (
                "on trial",
                "warn",
                gettext("One message is trying it now; the others wait for the result."),
            )
        case Phase.OPEN if known.is_on_trial:
            return "on trial", "warn", gettext("Its pause is over: the next message tries it.")
        case Phase.OPEN if state.needs_person:
            words = gettext("Needs attention: correct its configuration. Until then it is only probed now and then.")
            return "closed", "bad", words
        case Phase.OPEN:
            return "closed", "bad", gettext("It is used again automatically when a probe succeeds.")
    if known.used_up is not None:
        return "used up", "bad", gettext("A quota is used up; its messages wait or take another route.")
    if state.slow_until > known.now:
        return "slowed down", "warn", gettext("It was used too often, and pauses.")
    if state.failures:
        tries = breaker.FAILURES_TO_OPEN - state.failures
        words = gettext("Its last %(failed)s tries failed; %(more)s more close it for a while.")
        return "in use", "good", words % {"failed": state.failures, "more": max(tries, 1)}
    if is_standby:
        return "in use", "good", gettext("It stands by: messages take it when the routes before it cannot be used.")
    return "in use", "good", gettext("Messages go by it.")


def _reason(known: RouteCondition) -> str:
    state = known.breaker
    return state.paused_by if state.phase is Phase.PAUSED else state.reason or ""


def _until(known: RouteCondition) -> datetime | None:
    state = known.breaker
    if state.phase is Phase.OPEN and state.until > known.now:
        return instant(state.until)
    if state.phase is Phase.CLOSED and state.slow_until > known.now:
        return instant(state.slow_until)
    return None


def _limits(known: RouteCondition) -> Iterator[str]:
    size = breaker.max_message_bytes(known.breaker, now=known.now)
    if size is not None:
        yield gettext("messages of at most %(size)s bytes") % {"size": thousands(size)}
    count = breaker.max_recipients(known.breaker, now=known.now)
    if count is not None:
        yield gettext("at most %(count)s recipients at once") % {"count": thousands(count)}


def _quota(known: RouteCondition, one: Quota) -> QuotaLine:
    learned = known.ledger.limits.get(one.window_seconds, one.limit)
    is_learned = known.ledger.limits_until.get(one.window_seconds, 0.0) > known.now and learned < one.limit
    left = quota.left(known.ledger, one, now=known.now, priority=Priority.HIGH)
    runs_out_at = quota.runs_out_at(known.ledger, one, now=known.now) if left else None
    return QuotaLine(
        window=str(_WINDOWS.get(one.window_seconds) or span(one.window_seconds)),
        unit=one.unit,
        limit=learned if is_learned else one.limit,
        used=quota.used(known.ledger, one, now=known.now),
        left=left,
        left_for_bulk=quota.left(known.ledger, one, now=known.now, priority=Priority.BULK),
        runs_out_at=instant(runs_out_at) if runs_out_at is not None else None,
        is_soon=runs_out_at is not None and runs_out_at < known.now + one.window_seconds,
        is_learned=is_learned,
    )


def _summary(route: Route) -> str:
    if route.build_error:
        return gettext("cannot be built")
    entries = all_mailers()
    entry = entries.get(route.alias) or entries[DEFAULT_ALIAS]
    if route.is_foreign:
        return entry.backend
    backend = mailers[entry.alias]
    if not isinstance(backend, ReliableSMTPBackend):
        return entry.backend
    options = backend.options
    if options.route != route.alias and options.fallback is not None:
        options = options.fallback
    server, _and, user = options.summary().partition(", login as ")
    return gettext("%(server)s, login as %(user)s") % {"server": server, "user": user} if user else server
