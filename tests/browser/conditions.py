"""Every condition that a verdict tells of, made on the site of `tests.browser.site`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from typing import Any

from django.test import override_settings
from django.utils import timezone

from reliable_email.classification import Cause, Failure, Scope, classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.policy import Effect, decide
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.delivery.submission import Priority
from reliable_email.models import IncomingHold, OutboxRecipient, RouteState, Worker
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.incoming import hold_incoming
from reliable_email.records import dataclass
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.store.memory.route_state import database_store, reset
from reliable_email.store.questions.filters import Filter
from reliable_email.views.parts.route_lines import find_route
from reliable_email.views.route_acts import Verb, do
from tests.browser.site import MAILERS, SMTP
from tests.outbox.acts import hold
from tests.views.letters import letter, queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One of them.

    Attributes:
        make: makes it, on the site of a bad day.
        tells: words of the template that tells it, which the verdict is made of.
        german: what is read of it on the page.
        mailers, settings: what the site is set up with for it.
    """

    make: Callable[[], None]
    tells: str
    german: str
    mailers: Callable[[dict[str, Any]], None] | None = None
    settings: Mapping[str, Any] | None = None

    @contextmanager
    def there(self) -> Iterator[None]:
        """The condition, and the settings for it."""
        mailers = deepcopy(MAILERS)
        if self.mailers is not None:
            self.mailers(mailers)
        with override_settings(MAILERS=mailers, **(self.settings or {})):
            self.make()
            yield


def quiet() -> None:
    """Everything arrived."""
    OutboxRecipient.objects.exclude(state="accepted").delete()
    Worker.objects.filter(name="mail-2:977").delete()


def pause(*aliases: str, by: str = "ada") -> None:
    """A person stops routes."""
    quiet()
    for alias in aliases:
        route = find_route(alias)
        assert route is not None
        do(Verb.PAUSE, route, actor=by, reason="der Anbieter hat eine Störung" if by else "")


def pause_namelessly() -> None:
    """Some earlier version did."""
    quiet()
    route = find_route("gmail")
    assert route is not None
    database_store().pause(route, by="")


def refuse(alias: str, reply: str, stage: Stage) -> None:
    """A server closes the route by its answer."""
    tell(alias, classify(parse_reply(reply), stage=stage, provider=alias))


def tell(alias: str, failure: Failure, effect: Effect | None = None) -> None:
    """A failure that the route has met."""
    route = find_route(alias)
    assert route is not None
    database_store().tell(route, RouteEvent(failure=failure, effect=effect or decide(failure).effect))


def close_for(cause: Cause | None, *aliases: str, detail: str = "what was said of it") -> None:
    """Routes are closed for a cause, whatever the policy says of one failure."""
    quiet()
    for alias in aliases:
        failure = Failure(
            cause=cause or Cause.UNCLASSIFIED, scope=Scope.ROUTE, permanent=True, certain=True, detail=detail
        )
        tell(alias, failure, Effect.OPEN)


def close_without_a_word() -> None:
    """The evidence and the cause were lost, or come from another version."""
    close_for(Cause.SYSTEM_TEMPORARY, "gmail", detail="")
    _rewrite(reason=None, evidence="")


def _rewrite(**values: object) -> None:
    row = RouteState.objects.get(alias="gmail")
    RouteState.objects.filter(alias="gmail").update(breaker=row.breaker | values, version=row.version + 1)
    reset()


def close_wordlessly() -> None:
    """A connection that was only cut."""
    close_for(Cause.DISCONNECTED, "gmail")
    _rewrite(evidence="")


def close_for_a_while_that_is_over() -> None:
    """The next message tries it."""
    close_for(Cause.CONNECT_FAILED, "gmail")
    _rewrite(until=1.0, asked_until=0.0, needs_person=False)


def close_both() -> None:
    """Both logins are refused."""
    quiet()
    for alias in ("gmail", "sendgrid"):
        refuse(alias, "535 5.7.8 Username and Password not accepted.", Stage.AUTH)


def use_up() -> None:
    """The day's quota is gone, and mail waits."""
    quiet()
    queue("waits@example.com")
    for alias in ("gmail", "sendgrid"):
        refuse(alias, "550 5.4.5 Daily user sending limit exceeded.", Stage.MAIL)


def limited(mailers: dict[str, Any]) -> None:
    """Ten a day, by one route alone."""
    mailers["routes"]["OPTIONS"]["using"] = ["gmail"]
    mailers["gmail"]["OPTIONS"]["quota"] = "10/day"


def spend(count: int = 10) -> None:
    """The own quota is gone."""
    quiet()
    route = find_route("gmail")
    assert route is not None
    assert database_store().reserve(route, count, priority=Priority.HIGH)


def spend_while_mail_waits() -> None:
    """And somebody waits for it."""
    spend()
    queue("waits@example.com")


def hold_all() -> None:
    """A bad deploy."""
    quiet()
    hold_incoming(Filter(), actor="ada", reason="falsche Preise im Newsletter")
    queue("waits1@example.com", "waits2@example.com")
    hold(Filter(states=("queued",)), actor="ada", reason="falsche Preise im Newsletter")


def hold_some() -> None:
    """Nobody said why."""
    quiet()
    hold_incoming(Filter(mailers=["routes"], priorities=[2]), actor="ada")
    assert IncomingHold.objects.count() == 1


def lose_workers() -> None:
    """Nobody delivers what is due."""
    quiet()
    queue("waits@example.com")
    OutboxRecipient.objects.filter(state="queued").update(due_at=timezone.now() - timedelta(hours=3))
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=2))


def never_start_workers() -> None:
    """Nor ever did."""
    lose_workers()
    Worker.objects.all().delete()


def fall_behind() -> None:
    """A worker is there, and does not get to it."""
    quiet()
    queue("waits@example.com")
    OutboxRecipient.objects.filter(state="queued").update(due_at=timezone.now() - timedelta(hours=3))


def doubt(count: int = 1) -> None:
    """What servers may have taken."""
    quiet()
    _put(count, "unknown", cause="outcome_unknown", unknowns=1, settled_at=timezone.now() - timedelta(hours=1))


def park(count: int = 1) -> None:
    """What waits for a person."""
    quiet()
    _put(count, "parked", cause="sender_not_verified")


def _put(count: int, state: str, **values: Any) -> None:
    queue(*(f"waits{number}@example.com" for number in range(count)))
    OutboxRecipient.objects.filter(state="queued").update(state=state, due_at=None, **values)


def forsake() -> None:
    """A copy of the database from another environment."""
    quiet()
    options = QueueOptions(mailer="routes", using="default", environment="staging")
    enqueue([build_submission(letter("waits@example.com"))], options)
    OutboxRecipient.objects.filter(state="queued").update(due_at=timezone.now() - timedelta(hours=3))


def _with_newsletter(mailers: dict[str, Any]) -> None:
    mailers["newsletter"] = deepcopy(mailers["default"])
    mailers["newsletter"]["OPTIONS"]["using"] = "bulk"
    mailers["bulk"] = deepcopy(mailers["sendgrid"])


def _only_shown(mailers: dict[str, Any]) -> None:
    mailers["default"] = {"BACKEND": "django.core.mail.backends.console.EmailBackend"}


def _unbuildable(mailers: dict[str, Any]) -> None:
    mailers["gmail"]["BACKEND"] = "anymail.backends.not_there.EmailBackend"
    mailers["gmail"]["OPTIONS"] = {}


def _in_the_clear(mailers: dict[str, Any]) -> None:
    mailers["gmail"] = {
        "BACKEND": SMTP,
        "OPTIONS": {"host": "smtp.example.com", "port": 25, "tls": "none", "username": "shop", "password": "x"},
    }


def _loops(mailers: dict[str, Any]) -> None:
    mailers["routes"]["OPTIONS"]["using"] = ["gmail", "nosuch"]


CONDITIONS: dict[str, Condition] = {
    "healthy": Condition(make=quiet, tells="", german="IN ORDNUNG"),
    "paused": Condition(
        make=lambda: pause("gmail"), tells="is paused by %(who)s", german="der Weg 'gmail' ist pausiert, von ada"
    ),
    "paused-by-nobody": Condition(
        make=pause_namelessly,
        tells="is paused by an operator",
        german="der Weg 'gmail' ist von einem Menschen pausiert",
    ),
    "all-paused": Condition(
        make=lambda: pause("gmail", "sendgrid"), tells="is paused by %(who)s", german="ist pausiert, von ada"
    ),
    "closed": Condition(
        make=close_both, tells="is closed: %(cause)s (%(evidence)s)", german="der Weg 'gmail' ist geschlossen"
    ),
    "closed-without-words": Condition(
        make=close_wordlessly, tells="is closed: %(cause)s", german="der Weg 'gmail' ist geschlossen: "
    ),
    "closed-unexplained": Condition(
        make=close_without_a_word, tells="the route %(route)s is closed", german="der Weg 'gmail' ist geschlossen"
    ),
    "on-trial": Condition(
        make=close_for_a_while_that_is_over,
        tells="and the next message tries it again",
        german="seine Zeit ist um, und die",
    ),
    "newsletter": Condition(
        make=lambda: close_for(Cause.AUTH_FAILED, "bulk"),
        mailers=_with_newsletter,
        tells="no mail goes out by the mailer",
        german="newsletter",
    ),
    "unbuilt": Condition(
        make=quiet, mailers=_unbuildable, tells="cannot be built: %(error)s", german="kann nicht gebaut werden"
    ),
    "shown": Condition(make=quiet, mailers=_only_shown, tells="only shows or stores messages", german="'default'"),
    "misconfigured": Condition(make=quiet, mailers=_loops, tells="", german="nosuch"),
    "in-the-clear": Condition(make=quiet, mailers=_in_the_clear, tells="", german="EINGESCHRÄNKT"),
    "quota": Condition(
        make=use_up, tells="is closed: %(cause)s (%(evidence)s)", german="der Weg 'gmail' ist geschlossen"
    ),
    "own-quota": Condition(make=spend, mailers=limited, tells="has used up its quota of the last", german="gmail"),
    "waits-for-quota": Condition(
        make=spend_while_mail_waits,
        mailers=limited,
        tells="wait: the quota of %(routes)s is used up; it goes on at %(moment)s",
        german="gmail",
    ),
    "held": Condition(
        make=hold_all,
        tells="is held by %(who)s: %(reason)s",
        german="neue Nachrichten (alle) werden angehalten, von ada",
    ),
    "held-for-no-reason": Condition(make=hold_some, tells="is held by %(who)s", german="werden angehalten, von ada"),
    "no-worker": Condition(
        make=lose_workers,
        tells="messages are due and no worker was seen for %(time)s",
        german="Nachrichten sind fällig, und seit 2 h wurde kein Worker gesehen",
    ),
    "never-a-worker": Condition(
        make=never_start_workers,
        tells="messages are due and no worker was seen within a day",
        german="Nachrichten sind fällig",
    ),
    "behind": Condition(
        make=fall_behind, tells="the oldest message has been due for %(time)s", german="die älteste Nachricht"
    ),
    "unknown": Condition(make=doubt, tells="1 recipient has an unknown outcome", german="ist der Ausgang unbekannt"),
    "unknowns": Condition(
        make=lambda: doubt(3), tells="%(count)s recipients have an unknown outcome", german="3 Empfängern"
    ),
    "parked": Condition(make=park, tells="1 recipient is parked", german="1 Empfänger"),
    "several-parked": Condition(make=lambda: park(3), tells="%(count)s recipients are parked", german="3 Empfänger"),
    "forsaken": Condition(make=forsake, tells="messages of the environment %(name)s are due", german="staging"),
    "bad-day": Condition(
        make=lambda: None, tells="1 recipient has an unknown outcome", german="ist der Ausgang unbekannt"
    ),
} | {
    f"closed-for-{cause.value.replace('_', '-')}": Condition(
        make=lambda cause=cause: close_for(cause, "gmail"),  # type: ignore[misc]
        tells="is closed: %(cause)s (%(evidence)s)",
        german="der Weg 'gmail' ist geschlossen",
    )
    for cause in MEANINGS
}
# Who sees a page has its database; and a site that is asked by `test_email` alone tells of workers that are missing.
ELSEWHERE = {
    "the outbox has no tables in the database %(database)s, so messages cannot be queued",
    "the outbox's database %(database)s does not answer (%(error)s)",
    "messages are queued by an outbox, and no worker was seen within a day",
    "messages are queued by an outbox, and no worker was seen for %(time)s",
    "messages of the mailer %(mailer)s (%(priorities)s) wait: the quota of %(routes)s is used up",
}
